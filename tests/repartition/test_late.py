"""What a repartition sends may arrive again, and later than what it sent behind it: its connection was cut, and it sent it once more."""

from __future__ import annotations

from typing import Any

import pytest

from keyweave.effects import Command, Flow, Send
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.repartition.grow import repartition
from keyweave.sync.shell import Shell
from tests.partitioned.estate import Estate, opened
from tests.repartition.test_grow import NAMES, Actor, aware, check_whole, contents, filled, learn

Exchange = tuple[Command, ...]


def recorded(world: Estate, to: int, lag: int = 0, before: Any = None) -> list[Exchange]:
    """Repartition, and return what was sent. With a lag, each exchange arrives again in front of the one that is so many behind it."""
    flow = repartition(world.context, "deals", to, lambda stage: None, lease=-1.0, plan_life=-6.0)
    sent: list[Exchange] = []

    def late() -> Any:
        answer: Any = None
        try:
            while True:
                effect = flow.send(answer)
                if type(effect) is Send:
                    if before is not None:
                        before(len(sent))
                    if lag and len(sent) >= lag:
                        yield Send(sent[-lag])
                    sent.append(tuple(effect.commands))
                answer = yield effect
        except StopIteration as stop:
            return stop.value

    shell: Shell = world.store._session.shell
    shell.run(late())
    return sent


def again(commands: Exchange) -> Flow[list[Any]]:
    return (yield Send(commands))


@pytest.mark.parametrize("number", [1, 2])
def test_what_arrives_when_everything_is_over_changes_nothing(number: int) -> None:
    namespace = ksuid()
    for world in filled(namespace, number):
        shell: Shell = world.store._session.shell
        with opened(namespace) as command:
            sent = recorded(command, 2 * number)
        shell.run(learn(world))
        for at, name in enumerate(NAMES):  # each key and code is in another partition now, if there is one
            other = NAMES[at - 1]
            world.store.deals.delete(f"{name}.0")
            world.store.deals.create(world.deal(f"{name}.0", other, code=f"c{name}0", worth=9))
        expected = contents(world)
        for exchange in sent:
            shell.run(again(exchange))
            assert contents(world) == expected
        shell.run(learn(world))
        check_whole(world, 2 * number)
        assert place_of(NAMES[0]) in world.homes().values()
        with opened(namespace) as command:
            more = recorded(command, 4 * number)
            for exchange in (*sent, *more):
                shell.run(again(exchange))
        shell.run(learn(world))
        assert contents(world) == expected
        check_whole(world, 4 * number)


@pytest.mark.parametrize("lag", [1, 2, 5, 12])
@pytest.mark.parametrize("number", [1, 2])
def test_what_arrives_again_later_changes_nothing(number: int, lag: int) -> None:
    namespace = ksuid()
    for world in filled(namespace, number):
        actor = Actor(world)
        with opened(namespace) as command:
            recorded(command, 2 * number, lag, aware(world, actor))
        world.store._session.shell.run(learn(world))
        actor.compare()
        assert world.store.check().clean
        assert world.context.keyspace.numbers == {"deals": 2 * number}


def test_what_was_sent_for_an_earlier_doubling_does_not_disturb_the_next_one() -> None:
    namespace = ksuid()
    for world in filled(namespace, 1):
        shell: Shell = world.store._session.shell
        with opened(namespace) as command:
            first = recorded(command, 2)
        shell.run(learn(world))
        expected = contents(world)

        def disturbing(number: int, shell: Shell = shell, first: list[Exchange] = first) -> None:
            shell.run(again(first[number % len(first)]))

        with opened(namespace) as command:
            recorded(command, 4, before=disturbing)
        shell.run(learn(world))
        assert contents(world) == expected
        check_whole(world, 4)
