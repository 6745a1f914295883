"""A market: keys of several fields, and ties that break by the parts of keys and by numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from keyweave.errors import (
    AlreadyExistsError,
    NotFoundError,
    ReferenceViolationError,
    UniqueViolationError,
    ValidationError,
)
from keyweave.exchange.ask import ask
from keyweave.query import one_of
from tests.generator.accepted.stage import Stage

CASE = "market"
SOON = datetime(2124, 2, 29, 12, tzinfo=UTC)


def market(stage: Stage, number: int, **more: Any) -> Any:
    return stage.package.Market(**{"number": number, "size": 5, **more})


def stall(stage: Stage, number: int, label: str, **more: Any) -> Any:
    """A stall with a value in every field."""
    given = {
        "keeper": f"keeper of {label}",
        "day": stage.package.Weekday.TUE,
        "width": Decimal("2.50"),
        "visits": 3,
        "tags": {"fish", "ice"},
        "notes": [stage.package.Note(line=1, text="a")],
        "seen_at": SOON,
    }
    return stage.package.Stall(market=number, label=label, **{**given, **more})


def fee(stage: Stage, **more: Any) -> Any:
    given = {"by": stage.package.Weekday.MON, "wait": "a!b", "function": "", "at": 7, "paid": True}
    return stage.package.Fee(**{**given, **more})


def test_a_market_at_work(stage: Stage) -> None:
    root, part = market(stage, 10, part_of=None), market(stage, 9, part_of=10)
    stage.markets.create(root)
    stage.create(part)
    stage.visit(part)
    stage.write_again(part)
    assert stage.markets.tree(10) == [root, stage.markets.get(9)]
    one, other = stall(stage, 9, "A 1"), stall(stage, 9, "A!1")
    stage.create(one, other)
    stage.visit(one)
    stage.write_again(one)
    stage.visit(part)
    visited = stage.stalls.merge_notes(9, "A 1", [stage.package.Note(line=2), stage.package.Note(line=1)])
    assert [(note.line, note.text) for note in visited.notes] == [(1, "a"), (2, "")]
    later = SOON + timedelta(days=1)
    assert stage.stalls.touch_seen_at(9, "A 1", later) is True
    assert stage.stalls.touch_seen_at(9, "B", later) is False
    assert stage.stalls.get(9, "A 1").seen_at == later
    due = fee(stage)
    stage.create(due)
    stage.visit(due)
    stage.write_again(due)
    stage.remove(stage.stalls.get(9, "A!1"), stage.fees.get(*stage.arguments_of(due)))
    stage.remove(stage.markets.get(10))
    assert stage.stalls.find(9, "A 1") is None
    stage.finish()


def test_the_parts_of_a_key_never_run_together(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))
    texts = ["a", "a!", '"', '"a', "!", " ", "\n", "a:b", "%3A", "é", 'a!"', "ab"]
    given = {(left, right, at) for left in texts for right in ("", *texts[:6]) for at in (-1, 10, 9)}
    key = (stage.package.Weekday.MON, UUID(int=1))
    rows = [fee(stage, field=key[1], wait=left, function=right, at=at) for left, right, at in sorted(given)]
    assert stage.fees.create_many(rows) == rows
    found = {(row.wait, row.function, row.at) for row in stage.fees.by_paid(True)}
    assert found == given
    for parts in found:
        row = stage.fees.get(*key, *parts)
        assert (row.wait, row.function, row.at) == parts


def test_many_keys_are_tuples_and_results_stand_in_place(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))
    rows = [stall(stage, 1, label) for label in "abc"]
    assert stage.stalls.create_many(rows) == rows
    assert stage.stalls.get_many([(1, "b"), (2, "b"), (1, " a ")]) == [rows[1], None, rows[0]]
    assert stage.stalls.by_market(1).keys() == [(1, "c"), (1, "b"), (1, "a")]
    assert stage.stalls.where(visits=3, day="tue", width=Decimal("2.5")).keys() == [
        (1, "c"),
        (1, "b"),
        (1, "a"),
    ]
    assert stage.stalls.delete_many([(1, "b"), (1, "z")]) == [True, False]
    refused, made = stage.stalls.create_many([rows[0], stall(stage, 1, "d")])
    assert isinstance(refused, AlreadyExistsError) and refused.key == (1, "a")
    assert made.label == "d"


def test_a_query_by_all_parts_needs_no_view_and_by_some_it_does(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))
    rows = [stall(stage, 1, label) for label in "abc"]
    stage.stalls.create_many(rows)
    one = stage.stalls.where(market=1, label="b", visits=3)
    assert (one.explain().access, one.list()) == ("key", [rows[1]])
    several = stage.stalls.where(market=one_of(1, 2), label=one_of("a", "b", "z"))
    assert (several.explain().access, several.list()) == ("key", [rows[1], rows[0]])
    assert stage.stalls.where(market=1).explain().access == "view"
    assert stage.stalls.where(label="a").list() == [rows[0]]
    wait = stage.fees.where(wait="a!b").explain
    with pytest.raises(ValidationError):
        wait()


def test_ties_break_by_the_numbers_of_keys(stage: Stage) -> None:
    numbers = [5, 10, 9, -1, -10, 100, 0, -2, 99, 1000]
    for number in numbers:
        stage.markets.create(market(stage, number))
    assert stage.markets.by_size().keys() == sorted(numbers, reverse=True)
    assert stage.markets.by_size().reverse().keys() == sorted(numbers)
    assert [row.number for row in stage.markets.by_size().reverse().page(3).rows] == [-10, -2, -1]
    sorted_here = stage.markets.where(number=one_of(*numbers)).order_by("size")
    assert [row.number for row in sorted_here] == sorted(numbers, reverse=True)


def test_ties_break_by_the_parts_of_keys_one_after_another(stage: Stage) -> None:
    for number in (2, 10):
        stage.markets.create(market(stage, number))
    labels = ["a", "a!", "a b", "ab", "é", "Z"]
    keys = sorted((number, label) for number in (2, 10) for label in labels)
    for number, label in reversed(keys):
        stage.stalls.create(stall(stage, number, label, keeper=label))
    tuesday = stage.stalls.by_day(stage.package.Weekday.TUE)
    assert tuesday.keys() == keys[::-1]
    assert tuesday.reverse().keys() == keys
    seen, cursor = [], None
    while True:
        page = tuesday.page(5, cursor)
        seen += [(row.market, row.label) for row in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == keys[::-1]


def test_the_parts_of_a_stored_key_cannot_change(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))
    stage.stalls.create(stall(stage, 1, "a"))
    row = stage.stalls.get(1, "a")
    row.label = "b"
    calls: list[Callable[[], Any]] = [
        lambda: stage.stalls.save(row),
        lambda: stage.stalls.change(1, "a", _relabel),
        lambda: stage.stalls.update(1, "a", label="b"),
    ]
    for call in calls:
        with pytest.raises(ValidationError) as caught:
            call()
        assert (caught.value.field, caught.value.rule) == ("label", "key")
    assert stage.stalls.get(1, "a").label == "a"


def test_errors_name_the_key_as_it_was_given(stage: Stage) -> None:
    stage.markets.create(market(stage, 42))
    stage.stalls.create(stall(stage, 42, "a!"))
    calls: list[tuple[Any, Any, tuple[Any, ...]]] = [
        (NotFoundError, stage.stalls.get, (42, "b")),
        (NotFoundError, stage.stalls.delete, (42, "b")),
        (NotFoundError, lambda *key: stage.stalls.update(*key, visits=1), (42, "b")),
        (NotFoundError, lambda *key: stage.stalls.increment(*key, "visits"), (42, "b")),
        (AlreadyExistsError, lambda *key: stage.stalls.create(stall(stage, *key)), (42, "a!")),
        (
            UniqueViolationError,
            lambda *key: stage.stalls.create(stall(stage, *key, keeper="keeper of a!")),
            (42, "c"),
        ),
        (ReferenceViolationError, lambda *key: stage.stalls.create(stall(stage, *key)), (7, "c")),
        (ValidationError, lambda *key: stage.stalls.create(stall(stage, *key, visits="x")), (42, "c")),
    ]
    for kind, call, key in calls:
        with pytest.raises(kind) as caught:
            call(*key)
        assert caught.value.key == key
        assert f"Stall {key!r}" in str(caught.value)
    with pytest.raises(NotFoundError) as missing:
        stage.fees.get(stage.package.Weekday.MON, UUID(int=1), "w", "f", 3)
    assert missing.value.key == ("mon", str(UUID(int=1)), "w", "f", 3)
    with pytest.raises(NotFoundError, match="Market '-5'") as absent:
        stage.markets.get(-5)
    assert absent.value.key == "-5"


def test_what_is_no_key_is_refused_before_anything_is_sent(stage: Stage) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: stage.stalls.get("1", "a"),
        lambda: stage.stalls.get(1, 2),
        lambda: stage.stalls.exists(True, "a"),
        lambda: stage.stalls.get_many([1]),
        lambda: stage.stalls.get_many([(1,)]),
        lambda: stage.stalls.delete_many([(1, "a", "b")]),
        lambda: stage.stalls.get(1, "\ud800"),
        lambda: stage.fees.find("mon", "x", "w", "f", 3),
    ]
    for call in calls:
        with pytest.raises(ValidationError):
            call()
    with pytest.raises(ValidationError, match="expected a key of 2 parts: market, label"):
        stage.stalls.get_many([(1,)])


def test_a_transaction_sees_its_own_rows(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))

    def blocking(tx: Any) -> Any:
        tx.stalls.create(stall(stage, 1, "a"))
        tx.stalls.create(stall(stage, 1, "b"))
        tx.stalls.increment(1, "a", "visits", 4)
        tx.stalls.delete(1, "b")
        return tx.stalls.by_market(1).keys(), tx.stalls.get_for_update(1, "a"), tx.stalls.find(1, "b")

    async def waiting(tx: Any) -> Any:
        await tx.stalls.create(stall(stage, 1, "a"))
        await tx.stalls.create(stall(stage, 1, "b"))
        await tx.stalls.increment(1, "a", "visits", 4)
        await tx.stalls.delete(1, "b")
        keys = await tx.stalls.by_market(1).keys()
        return keys, await tx.stalls.get_for_update(1, "a"), await tx.stalls.find(1, "b")

    asyncio = type(stage.store).__module__.endswith(".aio")
    keys, found, gone = stage.wait_for(stage.store.transact(waiting if asyncio else blocking))
    assert (keys, found.visits, gone) == ([(1, "a")], 7, None)
    assert stage.stalls.get(1, "a").visits == 7


def test_a_part_that_the_record_makes_stands_in_the_key(stage: Stage) -> None:
    due = fee(stage)
    assert due.field.version == 7
    stage.fees.create(due)
    with pytest.raises(AlreadyExistsError):
        stage.fees.create(due)


def test_an_entry_that_names_no_row_is_left_out_of_keys(stage: Stage) -> None:
    stage.markets.create(market(stage, 1))
    stage.stalls.create(stall(stage, 1, "a"))
    context, run = stage.store.session.context, stage.store.session.run
    (partition,) = context.keyspace.partitions()
    view = partition.view("Stall", "by_market", ("a1",))
    stage.wait_for(run(ask(context, (("ZADD", view, "1", "a1!a!b", "2", "5", "3", "a1!b c"),))))
    assert stage.stalls.by_market(1).keys() == [(1, "a")]
    assert stage.stalls.by_market(1).list() == [stage.stalls.get(1, "a")]
    stage.wait_for(run(ask(context, (("ZREM", view, "a1!a!b", "5", "a1!b c"),))))


def test_the_id_of_a_row_gives_its_key_back(stage: Stage) -> None:
    for record in (market(stage, -42), stall(stage, 10, 'a "b" !'), fee(stage)):
        entity = stage.entity_of(record)
        assert entity.key_value(entity.key_of(record)) == stage.key_of(record)
    assert stage.package.PACKAGE.entities["Stall"].key_of(stall(stage, 42, "New York")) == 'b42!New"`York'


def _relabel(row: Any) -> None:
    row.label = "b"
