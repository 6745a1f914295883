"""A row that comes back and is freed again, while another writer still removes what was left of the earlier one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.effects import Command
from keyweave.expiry import sweep as sweep_flows
from keyweave.expiry.forget import forget_rows
from keyweave.write.save import create
from tests.depot import depot
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness, watched

OPTIONS: dict[str, Any] = {"retention": {"Ticket": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def add_freed(stores: Harness, code: str) -> None:
    """Insert a closed ticket, and wait until the server has freed it."""
    stores.do(stores.db.tickets.create(depot().Ticket(id="t", code=code, state=depot().State.CLOSED)))
    place = stores.db.session.context.keyspace.partition("goods").document("Ticket", "t")
    limit = time.monotonic() + 10
    while stores.send(("EXISTS", place)) != [0]:
        assert time.monotonic() < limit
        time.sleep(0.001)


def meetings(flavour: str) -> Iterator[tuple[Harness, Harness, int]]:
    """Two clients of an empty namespace with one freed ticket, and 1, 2, 3, ...; the caller ends it."""
    moment = 0
    while True:
        moment += 1
        with (
            harness(flavour, f"again-{flavour}-{moment}", module=depot(), **OPTIONS) as stores,
            harness("sync", stores, module=depot(), **OPTIONS) as other,
        ):
            add_freed(stores, "old")
            yield stores, other, moment


def test_a_sweep_leaves_nothing_of_a_row_that_comes_back_at_any_time_and_is_freed_again(flavour: str) -> None:
    """Each of the two rows has a unique value of its own, which only the entry in the expiry set leads to."""
    moment, over = 0, False
    for stores, other, moment in meetings(flavour):
        over = True

        def come_back(number: int, _: tuple[Command, ...], other: Harness = other, at: int = moment) -> None:
            nonlocal over
            if number == at:
                over = False
                add_freed(other, "new")

        context = stores.db.session.context
        stores.do(stores.db.session.run(watched(stores, sweep_flows.sweep(context), come_back)))
        stores.do(stores.db.sweep())
        assert stores.contents() == {}
        if over:
            break
    assert moment > 4


def test_an_insert_leaves_nothing_of_a_row_that_comes_back_at_any_time_and_is_freed_again(
    flavour: str,
) -> None:
    """An insert under the key of a freed row forgets that row first."""
    moment, over = 0, False
    for stores, other, moment in meetings(flavour):
        over = True

        def come_back(number: int, _: tuple[Command, ...], other: Harness = other, at: int = moment) -> None:
            nonlocal over
            if number == at and is_free(other):
                over = False
                add_freed(other, "new")

        ticket = depot().Ticket(id="t", code="last", state=depot().State.OPEN)
        run_insert(stores, ticket, come_back)
        stores.do(stores.db.tickets.delete("t"))
        assert stores.contents() == {}
        if over:
            break
    assert moment > 4


def is_free(stores: Harness) -> bool:
    """Whether there is no document under the key."""
    place = stores.db.session.context.keyspace.partition("goods").document("Ticket", "t")
    return stores.send(("EXISTS", place)) == [0]


def run_insert(stores: Harness, ticket: Any, before: Callable[[int, tuple[Command, ...]], None]) -> None:
    """Insert a ticket, calling `before` ahead of each exchange."""
    context = stores.db.session.context
    flow = create(context, context.package.entities["Ticket"], ticket)
    stores.do(stores.db.session.run(watched(stores, flow, before)))


def answered(stores: Harness, effect: Any) -> list[Any]:
    """Carry out the one effect that forgetting has."""
    return stores.send(*effect.commands)


def test_two_callers_that_continue_a_search_do_not_disturb_each_other() -> None:
    """An operation had no time to complete it, so the next ones continue it: here two at once, from each exchange on."""
    for moment in range(1, 12):
        with harness("sync", f"shared-{moment}", module=depot(), **OPTIONS) as stores:
            add_freed(stores, "old")
            context = stores.db.session.context
            partition = context.keyspace.partition("goods")

            def forgetting(context: Any = context, partition: Any = partition) -> Any:
                return forget_rows(context, partition, [("Ticket", "t")])

            given_up = forgetting()
            effect = given_up.send(None)
            for _ in range(2):
                effect = given_up.send(answered(stores, effect))
            given_up.close()

            slow, removed = forgetting(), []
            effect = slow.send(None)
            try:
                for _ in range(moment):
                    effect = slow.send(answered(stores, effect))
                removed.append(stores.do(stores.db.session.run(forgetting())))
                while True:
                    effect = slow.send(answered(stores, effect))
            except StopIteration as stop:
                removed.append(stop.value)
            assert sum(removed) == 1
            assert stores.do(stores.db.check()).clean
