"""Every kind of call while some partitions have given rows to their twins and have not removed them yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.errors import NotFoundError, StoreUnavailableError
from keyweave.exchange.doubling import observed
from keyweave.exchange.handshake import handshake, learn_numbers
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from tests.partitioned.estate import Estate, opened
from tests.repartition.midway import leave_unfinished
from tests.repartition.test_grow import NAMES, check_whole, contents, filled, run


@pytest.fixture(params=[1, 2, 8])
def world(request: pytest.FixtureRequest) -> Iterator[Estate]:
    """Partitions with rows, half of which have been doubled, or the only one; nothing is removed yet."""
    number: int = request.param
    namespace = ksuid()
    for made in filled(namespace, number):
        before = contents(made)
        with opened(namespace) as command:
            leave_unfinished(command.store, "deals", 2 * number, max(1, number // 2))
        made.store._session.shell.run(learn_numbers(made.context))
        assert made.context.keyspace.doublings
        assert contents(made) == before
        yield made
        with opened(namespace) as command:
            run(command, 2 * number)
        made.store._session.shell.run(learn_numbers(made.context))
        check_whole_but_deals(made, 2 * number)


def check_whole_but_deals(world: Estate, number: int) -> None:
    assert world.store.check().clean
    assert world.context.keyspace.numbers == {"deals": number}
    for partition in world.context.keyspace.partitions():
        assert world.ask("EXISTS", partition.changed) == 0


def moved(world: Estate) -> list[str]:
    """Keys whose rows have moved to a twin; what they were is still in the partition."""
    keyspace = world.context.keyspace
    (doubling,) = keyspace.doublings.values()
    places = {name: place_of(name) & (doubling.target - 1) for name in NAMES}
    return [
        f"{name}.0" for name in NAMES if places[name] >= doubling.half and doubling.has_rows(places[name])
    ]


def test_several_rows_are_read_written_and_deleted_at_once(world: Estate) -> None:
    deals, keys = world.store.deals, [f"{name}.0" for name in NAMES]
    rows = deals.get_many([*keys, "none"])
    assert [row and row.id for row in rows] == [*keys, None]
    assert [row and row.id for row in deals.get_many([*keys, "none"], account_id=NAMES[0])] == [
        key if key == keys[0] else None for key in [*keys, "none"]
    ]
    for row in rows[:-1]:
        row.worth += 100
    assert [row.worth for row in deals.save_many(rows[:-1])] == [100] * len(keys)
    made = [world.deal(f"{name}.9", name, code=f"n{name}") for name in NAMES]
    assert [row.id for row in deals.create_many(made)] == [row.id for row in made]
    assert [row.id for row in deals.upsert_many(made)] == [row.id for row in made]
    assert deals.delete_many([*keys, "none"], account_id=NAMES[1]) == [key == keys[1] for key in keys] + [
        False
    ]
    assert deals.delete_many([row.id for row in made]) == [True] * len(made)
    assert deals.get_many(keys)[2].worth == 100


def test_a_row_that_was_deleted_is_not_found_where_it_was_before(world: Estate) -> None:
    deals, keys = world.store.deals, moved(world)
    assert keys
    for key in keys:
        code = deals.get(key).code
        deals.delete(key)
        assert deals.find(key) is None
        assert not deals.exists(key)
        assert deals.get_many([key]) == [None]
        assert deals.discard(key) is False
        assert deals.find_by_code(code) is None
        assert deals.find(key, account_id=key.partition(".")[0]) is None
        with pytest.raises(NotFoundError):
            world.store.transact(lambda transaction, key=key: transaction.deals.get_for_update(key))
    assert deals.all().count() == 2 * len(NAMES) - len(keys)


def test_a_transaction_commits_only_if_a_row_is_there_wherever_it_has_moved(world: Estate) -> None:
    deals, keys = world.store.deals, moved(world)

    def steps(transaction: Any, key: str, **given: str) -> None:
        transaction.deals.require(key, **given)
        name = key.partition(".")[0]
        transaction.deals.create(world.deal(f"{key}.new", name))

    for key in [f"{name}.0" for name in NAMES]:
        value = {"account_id": key.partition(".")[0]}
        for given in ({}, value):
            world.store.transact(lambda tx, key=key, given=given: steps(tx, key, **given))
            deals.delete(f"{key}.new")
            world.store.transact(lambda tx, key=key, given=given: tx.deals.require(key, **given))
    for key in keys:
        deals.delete(key)
        for given in ({}, {"account_id": key.partition(".")[0]}):
            with pytest.raises(NotFoundError):
                world.store.transact(lambda tx, key=key, given=given: steps(tx, key, **given))
            with pytest.raises(NotFoundError):
                world.store.transact(lambda tx, key=key, given=given: tx.deals.require(key, **given))
        assert deals.find(f"{key}.new") is None


def test_a_key_that_was_deleted_is_given_to_a_row_of_each_partition(world: Estate) -> None:
    deals = world.store.deals
    for key in moved(world):
        code = deals.get(key).code
        for name in NAMES:
            deals.delete(key)
            made = deals.create(world.deal(key, name, code=code, worth=7))
            assert deals.get(key).to_dict() == deals.get_by_code(code).to_dict() == made.to_dict()
            assert deals.get(key, account_id=name).account_id == name
        deals.delete(key)
        assert deals.find(key) is None
    assert world.store.check().clean


def test_a_home_that_an_interrupted_insert_left_finds_no_row_that_has_moved(world: Estate) -> None:
    keyspace = world.context.keyspace
    deals = world.store.deals
    for key in moved(world):
        name = key.partition(".")[0]
        (doubling,) = keyspace.doublings.values()
        deals.delete(key)
        before = place_of(name) ^ doubling.half  # a value that would be where the row was
        homes = keyspace.partition("deals", key).homes("Deal", "")
        world.ask("HSET", homes, key, f"{before} 1")
        assert deals.find(key) is None
        assert deals.get_many([key]) == [None]
        with pytest.raises(NotFoundError):
            world.store.transact(lambda transaction, key=key: transaction.deals.require(key))
        world.ask("HDEL", homes, key)


@pytest.mark.parametrize("writes", [False, True])
def test_a_row_that_moves_and_is_deleted_after_it_was_required_is_missing(writes: bool) -> None:
    """The store knows of no doubling when its transaction begins. What the row was is still in the partition."""
    namespace = ksuid()
    for world in filled(namespace, 2):
        _require_a_row_that_moves(world, namespace, writes)
        with opened(namespace) as command:
            run(command, 4)


def _require_a_row_that_moves(world: Estate, namespace: str, writes: bool) -> None:
    name = next(each for each in NAMES if place_of(each) & 3 == 2)
    near = next(each for each in NAMES if each != name and place_of(each) & 1 == 0)
    runs: list[int] = []

    def steps(transaction: Any) -> None:
        runs.append(1)
        transaction.accounts.require(name)
        if len(runs) == 1:
            with opened(namespace) as command:
                leave_unfinished(command.store, "deals", 4, 2)
                command.store.accounts.delete(name)
            world.store._session.shell.run(learn_numbers(world.context))
        if writes:
            transaction.deals.create(world.deal("new", near))

    with pytest.raises(NotFoundError):
        world.store.transact(steps)
    assert len(runs) == 2
    assert world.store.deals.find("new") is None


def test_numbers_that_were_read_in_part_are_not_relied_on() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        keyspace, shell = world.context.keyspace, world.store._session.shell
        for to, number in ((4, 1), (16, 4)):
            before = keyspace.numbers, keyspace.doublings
            with opened(namespace) as command:
                leave_unfinished(command.store, "deals", to, number)
            with pytest.raises(StoreUnavailableError):
                shell.run(broken_off(learn_numbers(world.context)))
            assert (keyspace.numbers, keyspace.doublings) == before
            shell.run(learn_numbers(world.context))
            assert {group: each.target for group, each in keyspace.doublings.items()} == {"deals": to}


def broken_off(flow: Flow[None]) -> Flow[None]:
    """A flow whose second exchange is not answered."""
    effect = next(flow)
    effect = flow.send((yield effect))
    with pytest.raises(StoreUnavailableError) as error:
        flow.throw(StoreUnavailableError("away"))
    raise error.value


def test_a_store_whose_opening_was_interrupted_opens_when_the_number_has_grown() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace) as late:
            fresh = late.context
            object.__setattr__(fresh.state, "known", 0.0)  # as if its first handshake had not come to its end
            assert fresh.keyspace.numbers == {"deals": 2}
            with opened(namespace) as command:
                run(command, 8)
            late.store._session.shell.run(handshake(fresh))
            assert fresh.keyspace.numbers == {"deals": 8}
            assert late.store.deals.get("a1.1").id == "a1.1"
        world.store._session.shell.run(learn_numbers(world.context))
        check_whole(world, 8)


def test_what_some_masters_answered_is_not_relied_on_without_the_others(world: Estate) -> None:
    """Whether the rows of a partition have moved is answered behind what it is asked for."""
    context = world.context
    partition = context.keyspace.partition("deals", NAMES[0])
    met: list[ConnectionFailure] = []

    def reading() -> Flow[None]:
        try:
            yield Send((("GET", partition.document("Deal", f"{NAMES[0]}.0")),))
        except ConnectionFailure as failure:
            met.append(failure)

    flow = observed(context.amid(context.keyspace.doublings), reading())
    effect = next(flow)
    assert isinstance(effect, Send)
    assert len(effect.commands) == 2
    with pytest.raises(StopIteration):
        flow.throw(ConnectionFailure("closed", "away", sent=True, answers={0: b"{}"}))
    assert [(failure.sent, dict(failure.answers)) for failure in met] == [(True, {})]
