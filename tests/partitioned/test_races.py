"""Races on one key or unique value into different partitions, step by step: what `tools.simulate.partitions` found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.changes.change import replacement
from keyweave.commit.commit import commit
from keyweave.effects import ConnectionFailure, Flow, Send, Sleep
from keyweave.errors import (
    AlreadyExistsError,
    NotFoundError,
    OutcomeUnknownError,
    TransactionConflictError,
    UniqueViolationError,
    ValidationError,
)
from keyweave.exchange.apply import Sending
from keyweave.exchange.together import together
from keyweave.homes.claim import claim, fence, find_home
from keyweave.homes.home import Homed
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.model.record import memory_of
from keyweave.store.durability import parse_durability
from tests.over import opened_store
from tests.partitioned.estate import Estate, estate, opened
from tests.scripted import Scripted
from tests.servers.running import server_url
from tests.write.test_crowd import behind_another


@pytest.fixture
def world() -> Iterator[Estate]:
    with opened(ksuid()) as found:
        for name in ("a", found.others("a"), neighbour(found, "a")):
            found.account(name)
        yield found


@pytest.fixture
def other(world: Estate) -> Iterator[Estate]:
    """The same namespace in another process."""
    with opened(world.context.keyspace.namespace.tenant) as found:
        yield found


def neighbour(world: Estate, account: str) -> str:
    """The name of another account in the same partition."""
    here = world.partition(account).index
    names = map("near{}".format, range(99))
    return next(name for name in names if world.partition(name).index == here)


@pytest.mark.parametrize("where", ["other partition", "same partition"])
def test_a_row_that_another_process_deleted_may_come_back_with_another_value(
    world: Estate, other: Estate, where: str
) -> None:
    """What this process remembers of the row, and what the record remembers, is outdated."""
    account = world.others("a") if where == "other partition" else neighbour(world, "a")
    deal = world.store.deals.create(world.deal("d", "a", code="c"))
    other.store.deals.delete("d")
    assert world.store.deals.upsert(world.deal("d", account)).account_id == account
    assert other.store.deals.get("d").account_id == account
    other.store.deals.delete("d")
    deal.account_id = account
    assert world.store.deals.upsert(deal).account_id == account
    assert other.store.deals.get("d").account_id == account
    assert world.settle() == 0
    assert world.store.check().clean


@pytest.mark.parametrize("where", ["other partition", "same partition"])
def test_a_row_that_is_there_keeps_its_value(world: Estate, other: Estate, where: str) -> None:
    account = world.others("a") if where == "other partition" else neighbour(world, "a")
    deal = world.store.deals.create(world.deal("d", "a"))

    def move(row: Any) -> None:
        row.account_id = account

    for store in (world.store, other.store):
        with pytest.raises(ValidationError, match="decides the partition"):
            store.deals.upsert(world.deal("d", account))
        with pytest.raises(ValidationError, match="decides the partition"):
            store.deals.change("d", move)
        (error,) = store.deals.upsert_many([world.deal("d", account)])
        assert isinstance(error, ValidationError)
    deal.account_id = account
    with pytest.raises(ValidationError, match="decides the partition"):
        world.store.deals.upsert(deal)
    assert other.store.deals.get("d").account_id == "a"


@pytest.mark.parametrize("where", ["other partition", "same partition"])
def test_a_function_changes_the_row_as_it_is(world: Estate, other: Estate, where: str) -> None:
    """This process remembers a row with another value, which is gone."""
    account = world.others("a") if where == "other partition" else neighbour(world, "a")
    world.store.deals.create(world.deal("d", "a"))
    other.store.deals.delete("d")

    def set_account(row: Any) -> None:
        row.account_id = account

    with pytest.raises(NotFoundError):
        world.store.deals.change("d", set_account)
    world.store.deals.create(world.deal("e", "a"))
    other.store.deals.delete("e")
    other.store.deals.create(world.deal("e", account))
    assert world.store.deals.change("e", set_account).account_id == account


def test_rows_of_one_call_are_written_in_their_order_whatever_their_partitions(world: Estate) -> None:
    elsewhere = world.others("a")
    first, second, third = world.store.deals.create_many(
        [world.deal("d", "a", code="x"), world.deal("d", elsewhere), world.deal("e", elsewhere, code="x")]
    )
    assert first.account_id == "a"
    assert isinstance(second, AlreadyExistsError)
    assert isinstance(third, UniqueViolationError)
    _, first, second = world.store.deals.create_many(
        [world.deal("h", "a"), world.deal("g", elsewhere), world.deal("g", "a")]
    )
    assert first.account_id == elsewhere
    assert isinstance(second, AlreadyExistsError)
    first, second = world.store.deals.upsert_many(
        [world.deal("f", elsewhere, code="y"), world.deal("f", "a", code="z")]
    )
    assert first.account_id == elsewhere
    assert isinstance(second, ValidationError)
    away = next(
        name
        for name in map("away{}".format, range(99))
        if world.partition(name) is not world.partition("one")
    )
    one, two = world.store.accounts.create_many(
        [estate().Account(id="one", email="Same@x"), estate().Account(id=away, email="same@X")]
    )
    assert one.email == "Same@x"
    assert isinstance(two, UniqueViolationError)


def interfered(world: Estate, flow: Flow[Any], before_apply: Callable[[], None]) -> Any:
    """Run a flow, and do something before it first sends a plan."""
    scripts = world.context.scripts
    plans = {scripts["apply"].sha, scripts["apply"].text}
    pending, answer = [before_apply], None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = None
        if isinstance(effect, Send):
            if pending and any(word in plans for command in effect.commands for word in command[1:2]):
                pending.pop()()
            answer = world.store._session.shell.channel.exchange(effect.commands)


def test_callers_that_write_together_read_their_homes_again(world: Estate) -> None:
    """Another process fences the home after it was claimed. The plan that is refused is not sent again as it was."""
    entity = world.context.package.entities["Deal"]
    there = world.context.at(world.partition("a"))
    record = world.deal("d", "a", code="c")
    change = replacement(there.codec(entity), record, None, there.codec(entity).prepare(record, None))
    thing = Homed(entity, "", "d")

    def fenced() -> None:
        home = world.store._session.run(find_home(world.context, thing))
        assert world.store._session.run(fence(world.context, thing, home)) is True

    sending = Sending()
    assert interfered(world, commit(there, [change], trailer=sending), fenced) is None
    assert world.store.deals.get("d").code == "c"


def test_a_caller_that_sends_on_a_plan_with_outdated_homes_claims_them_again(world: Estate) -> None:
    """The one that sent it first was interrupted before the answer."""
    entity = world.context.package.entities["Deal"]
    there = world.context.at(world.partition("a"))
    record = world.deal("d", "a")
    change = replacement(there.codec(entity), record, None, there.codec(entity).prepare(record, None))
    thing, sending = Homed(entity, "", "d"), Sending()
    first, answer = commit(there, [change], trailer=sending), None
    while sending.attempt is None:
        effect = first.send(answer)
        if sending.attempt is None:
            assert isinstance(effect, Send)
            answer = world.store._session.shell.channel.exchange(effect.commands)
    with pytest.raises(KeyboardInterrupt):
        first.throw(KeyboardInterrupt)
    home = world.store._session.run(find_home(world.context, thing))
    assert world.store._session.run(fence(world.context, thing, home)) is True
    assert world.store._session.run(commit(there, [change], trailer=sending)) is None
    assert world.store.deals.get("d").account_id == "a"


def test_a_claim_without_time_for_a_pause_is_a_conflict(world: Estate) -> None:
    """The deadline is no error of a connection."""
    entity = world.context.package.entities["Deal"]
    scripted = Scripted(attempts=5)
    object.__setattr__(scripted.context, "keyspace", world.context.keyspace)
    homes = iter(range(1, 9))

    def play() -> Any:
        flow, answer = claim(scripted.context, Homed(entity, "", "d"), place_of("a")), None
        there = (world.partition("a").index + 1) % 8
        while True:
            effect = flow.send(answer)
            if isinstance(effect, Sleep):
                flow.throw(ConnectionFailure("deadline", "the deadline has passed", sent=False))
            assert isinstance(effect, Send)
            script = effect.commands[0][1]
            claimed = script == scripted.context.scripts["claim_home"].sha
            answer = [[b"HOME", f"{there} {next(homes)}".encode()]] if claimed else [1]

    with pytest.raises(TransactionConflictError, match="its home changed in all 3 attempts"):
        play()


def test_flows_that_pause_at_the_same_time_go_on_at_their_own(world: Estate) -> None:
    scripted, order = Scripted(), []

    def paused(name: str, seconds: float) -> Flow[str]:
        yield Sleep(seconds)
        order.append((name, scripted.time.now - 100))
        yield Send((("PING",),))
        return name

    flows = [paused("late", 2.0), paused("soon", 0.5), paused("also late", 2.0)]
    found = scripted.run(together(scripted.context, flows), [[b"PONG"], [b"PONG", b"PONG"]])
    assert found == ["late", "soon", "also late"]
    assert order == [("soon", 0.5), ("late", 2.0), ("also late", 2.0)]


def test_a_caller_that_has_left_is_in_no_plan_that_its_error_does_not_know(world: Estate) -> None:
    """Its plan was refused because a home was fenced meanwhile. The next plan of the others is without it, so its outcome is that of the first."""

    async def main() -> tuple[Any, Any, Any]:
        namespace = world.context.keyspace.namespace.tenant
        opening = opened_store(
            estate().aio, "aio", server_url(), namespace=namespace, deadline=0.9, sweep_every=0
        )
        async with await opening as store:
            await store.deals.create(world.deal("d", "a", worth=1))
            channel = store.session.shell.channel
            apply = store.session.context.scripts["apply"]
            gate, exchange = asyncio.Event(), channel.exchange

            async def held(commands: Any, *more: Any) -> Any:
                if any(word in (apply.sha, apply.text) for command in commands for word in command[1:2]):
                    channel.exchange = exchange
                    await gate.wait()
                return await exchange(commands, *more)

            def first(row: Any) -> None:
                row.code = "c"

            def second(row: Any) -> None:
                channel.exchange = held
                row.worth = 2

            def change(function: Any) -> Any:
                return store.deals.change("d", function, account_id="a")

            there = store.session.context.at(world.partition("a"))
            tasks = await behind_another(there, ("Deal", "d"), change, first, second, pause=0.3)
            error: Any
            (error,) = await asyncio.gather(tasks[0], return_exceptions=True)
            thing = Homed(world.context.package.entities["Deal"], "code", "c")
            home = world.store._session.run(find_home(world.context, thing))
            assert world.store._session.run(fence(world.context, thing, home)) is True
            gate.set()
            written = await tasks[1]
            assert (written.code, written.worth) == (None, 2)
            return error, await store.outcome(error), await store.deals.get("d", account_id="a")

    error, settled, row = asyncio.run(asyncio.wait_for(main(), 30))
    assert isinstance(error, OutcomeUnknownError)
    assert settled.applied is False
    assert (row.code, row.worth) == (None, 2)


def test_the_outcome_of_a_plan_that_is_sent_on_is_known_before_its_homes_are_confirmed(world: Estate) -> None:
    """The ledger may have room for another plan by then, so callers that have left could not ask it any more."""
    entity = world.context.package.entities["Deal"]
    there = world.context.at(world.partition("a")).on_level(parse_durability("disk"))
    record = world.store.deals.create(world.deal("d", "a", worth=1))
    record.worth = 2
    stored = memory_of(record)
    change = replacement(there.codec(entity), record, stored, there.codec(entity).prepare(record, stored))
    channel, sending = world.store._session.shell.channel, Sending()
    first, answer = commit(there, [change], trailer=sending), None
    while sending.attempt is None:
        effect = first.send(answer)
        if sending.attempt is None:
            assert isinstance(effect, Send)
            answer = channel.exchange(effect.commands)
    with pytest.raises(KeyboardInterrupt):
        first.throw(KeyboardInterrupt)
    known: list[bool | None] = []

    def watched() -> Flow[Any]:
        second, answer = commit(there, [change], trailer=sending), None
        while True:
            try:
                effect = second.send(answer)
            except StopIteration as stop:
                return stop.value
            known.append(sending.fate.applied)
            assert isinstance(effect, Send)
            answer = yield Send(effect.commands)

    assert world.store._session.run(watched()) is None
    assert known[0] is None
    assert known[1:] and set(known[1:]) == {True}
