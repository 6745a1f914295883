"""Doubling the partitions of a group: nothing is lost, doubled or out of order, whenever it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.errors import ConfigurationError
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.repartition.double import repartition
from keyweave.sync.shell import Shell
from tests.partitioned.estate import Estate, estate, opened

NAMES = [f"a{number}" for number in range(6)]


class Interrupted(BaseException):
    """The process that repartitions has ended."""


def filled(namespace: str, number: int) -> Iterator[Estate]:
    with opened(namespace, partitions={"deals": number}) as world:
        for name in NAMES:
            world.account(name)
            for each in range(2):
                world.store.deals.create(world.deal(f"{name}.{each}", name, code=f"c{name}{each}", worth=each))
            world.store.lines.create(estate().Line(account_id=name, number=1, text=name))
        yield world


def contents(world: Estate) -> dict[str, Any]:
    """Everything that callers see, in order."""
    store = world.store
    return {
        "accounts": [row.to_dict() for row in store.accounts.all().list()],
        "deals": [row.to_dict() for row in store.deals.all().list()],
        "pages": [row.id for page in store.deals.by_state(estate().State.OPEN).batches(5) for row in page],
        "lines": [row.to_dict() for row in store.lines.all().list()],
        "keys": [store.deals.get(f"{name}.1").id for name in NAMES],
        "codes": [store.deals.get_by_code(f"c{name}1").id for name in NAMES],
        "emails": [store.accounts.get_by_email(f"{name}@x").id for name in NAMES],
        "count": store.deals.all().count(),
    }


def run(
    world: Estate,
    to: int,
    between: Callable[[int], None] | None = None,
    until: int | None = None,
) -> int:
    """Repartition, and return the number of exchanges. `between` acts before each; it ends before the one with the number `until`."""
    flow = repartition(world.context, "deals", to, lambda stage: None, lease=-1.0, plan_life=-6.0)
    shell: Shell = world.store._session.shell
    sent = 0

    def counted() -> Any:
        nonlocal sent
        answer: Any = None
        try:
            while True:
                effect = flow.send(answer)
                if between is not None:
                    between(sent)
                if until is not None and sent >= until:
                    raise Interrupted
                sent += 1
                answer = yield effect
        except StopIteration as stop:
            return stop.value

    shell.run(counted())
    return sent


def check_whole(world: Estate, number: int) -> None:
    assert world.store.check().clean
    assert world.context.keyspace.numbers == {"deals": number}
    for name in NAMES:
        assert world.homes()[f"Deal.:{name}.1"] == place_of(name)
    for partition in world.context.keyspace.partitions():
        assert world.ask("EXISTS", partition.changed) == 0
        clock = world.ask("GET", partition.clock)
        assert clock is None or clock.isdigit()


@pytest.mark.parametrize(("number", "to"), [(1, 2), (1, 4), (4, 8), (4, 16)])
def test_a_group_is_doubled_with_everything_in_it(number: int, to: int) -> None:
    namespace = ksuid()
    for world in filled(namespace, number):
        before = contents(world)
        with opened(namespace) as command:
            run(command, to)
        world.store._session.shell.run(learn(world))
        assert contents(world) == before
        check_whole(world, to)
        world.store.deals.create(world.deal("new", "a1", code="new"))
        assert world.store.deals.get_by_code("new").id == "new"


def learn(world: Estate) -> Any:
    from keyweave.exchange.handshake import learn_numbers

    return learn_numbers(world.context)


@pytest.mark.parametrize(("number", "to"), [(8, 4), (8, 12), (8, 2048)])
def test_a_number_that_a_group_cannot_get_is_refused(number: int, to: int) -> None:
    with opened(ksuid(), partitions={"deals": number}) as world:
        with pytest.raises(ConfigurationError):
            run(world, to)
        assert world.ask("HGET", world.context.keyspace.at("deals", 0).schema, "doubling") is None
