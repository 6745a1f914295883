"""A value is stored if reading gives it back: moments are compared as moments, and every way into a document is checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from keyweave.errors import ValidationError
from keyweave.model.fidelity import MAX_DEPTH, nesting, same_value
from tests.harness import FLAVOURS, Harness, harness
from tests.till import till

NEW_YORK = ZoneInfo("America/New_York")
AMBIGUOUS = [
    datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK),
    datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK),
    datetime(2024, 3, 10, 2, 30, tzinfo=NEW_YORK),
    datetime(2024, 3, 10, 2, 30, fold=1, tzinfo=NEW_YORK),
    datetime(2024, 4, 7, 1, 45, fold=1, tzinfo=ZoneInfo("Australia/Lord_Howe")),
]
"""Moments in a fold or a gap of their zone. Python calls them unequal to the same moment in any other zone."""


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"fidelity-{request.param}", module=till()) as opened:
        yield opened


def sale(key: str = "s", **more: Any) -> Any:
    return till().Sale(id=key, **more)


def line(sku: str = "a", **more: Any) -> Any:
    return till().Line(sku=sku, **more)


def nested(depth: int) -> Any:
    """Lists and maps in turns, `depth` of them."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("moment", AMBIGUOUS, ids=str)
def test_a_moment_in_a_fold_or_a_gap_is_stored_as_this_moment(stores: Harness, moment: datetime) -> None:
    instant = moment.astimezone(UTC)
    row = stores.do(stores.db.sales.create(sale(due=moment, lines=[line(sold_at=moment)])))
    assert row.due is moment
    loaded = stores.do(stores.db.sales.get("s"))
    assert (loaded.due, loaded.lines[0].sold_at) == (instant, instant)
    row.note = "n"
    stores.do(stores.db.sales.save(row))
    stores.do(stores.db.sales.upsert(row))
    stores.do(stores.db.sales.change("s", lambda found: setattr(found, "due", moment)))
    merged = stores.do(stores.db.sales.merge_lines("s", [line(sold_at=moment)]))
    assert merged.lines[0].sold_at == instant
    assert stores.do(stores.db.check()).clean


@pytest.mark.parametrize("moment", AMBIGUOUS, ids=str)
def test_a_moment_in_a_fold_or_a_gap_is_found(stores: Harness, moment: datetime) -> None:
    stores.do(stores.db.sales.create(sale(due=moment, seen=moment)))
    sales = stores.db.sales
    for value in (moment, moment.astimezone(UTC)):
        assert [row.id for row in stores.do(sales.by_due(value).page())] == ["s"]
        assert stores.do(sales.by_due(value).count()) == 1
        assert [row.id for row in stores.do(sales.by_due(value).list())] == ["s"]


def test_touching_compares_moments_and_not_the_clocks_on_the_wall(stores: Harness) -> None:
    """At the end of daylight saving time the later moment has the earlier time of day."""
    before = datetime(2024, 11, 3, 1, 50, tzinfo=NEW_YORK)
    after = datetime(2024, 11, 3, 1, 10, fold=1, tzinfo=NEW_YORK)

    def steps(tx: Any) -> Any:
        yield tx.sales.create(sale(seen=before))
        yield tx.sales.touch_seen("s", after)

    stores.transact(steps)
    assert stores.do(stores.db.sales.get("s")).seen == after.astimezone(UTC)
    revision = stores.do(stores.db.sales.get("s"))._keyweave.revision
    stores.do(stores.db.sales.touch_seen("s", after))
    assert stores.do(stores.db.sales.get("s"))._keyweave.revision == revision


def test_equal_times_of_day_in_a_fold_are_two_moments() -> None:
    first, second = AMBIGUOUS[:2]
    assert first == second
    assert [first] != [first.astimezone(UTC)]
    assert same_value([{"a": first}], [{"a": first.astimezone(UTC)}])
    assert not same_value([{"a": first}], [{"a": second.astimezone(UTC)}])


@pytest.mark.parametrize(
    "changed",
    [
        {"extra": {"x": float("nan")}},
        {"extra": {"x": (1, 2)}},
        {"extra": {1: 2}},
        {"extra": [b"raw"]},
        {"extra": {"x": {1, 2}}},
        {"sold_at": datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=30)))},
        {"extra": nested(MAX_DEPTH + 1)},
        {"extra": nested(3000)},
    ],
    ids=["nan", "tuple", "int-key", "bytes", "set", "offset", "deep", "deeper"],
)
def test_what_would_be_read_back_as_another_value_is_refused_on_every_way(
    stores: Harness, changed: dict[str, Any]
) -> None:
    wrong, sales = line("w", **changed), stores.db.sales
    stores.do(sales.create(sale(lines=[line()])))
    loaded = stores.do(sales.get("s"))
    loaded.lines.append(wrong)

    def within(write: Callable[[Any], Any]) -> Callable[[], Any]:
        def steps(tx: Any) -> Any:
            yield write(tx.sales)

        return lambda: stores.transact(steps)

    ways: list[Callable[[], Any]] = [
        lambda: stores.do(sales.create(sale("t", lines=[wrong]))),
        lambda: stores.do(sales.upsert(sale(lines=[wrong]))),
        lambda: stores.do(sales.save(loaded)),
        lambda: stores.do(sales.change("s", lambda row: row.lines.append(wrong))),
        lambda: stores.do(sales.merge_lines("s", [wrong])),
        lambda: stores.do(sales.merge_lines("s", [line("w"), wrong])),
        within(lambda repository: repository.create(sale("t", lines=[wrong]))),
        within(lambda repository: repository.merge_lines("s", [wrong])),
    ]
    for way in ways:
        with pytest.raises(ValidationError) as caught:
            way()
        assert caught.value.field is not None and caught.value.field.startswith("lines")
    assert stores.do(sales.find("t")) is None
    assert [row.sku for row in stores.do(sales.get("s")).lines] == ["a"]


@pytest.mark.parametrize("field", ["extra", "lines"])
def test_the_depth_of_json_is_a_fixed_number_that_writes_check(stores: Harness, field: str) -> None:
    def holding(depth: int) -> Any:
        return sale(extra=nested(depth)) if field == "extra" else sale(lines=[line(extra=nested(depth - 2))])

    stores.do(stores.db.sales.upsert(holding(MAX_DEPTH)))
    at_depth(400, lambda: stores.do(stores.db.sales.all().page()))
    for depth in (MAX_DEPTH + 1, 600, 750, 900, 5000):
        with pytest.raises(ValidationError) as caught:
            stores.do(stores.db.sales.upsert(holding(depth)))
        assert (caught.value.field, caught.value.rule) == (field, f"nested more than {MAX_DEPTH} levels deep")


def test_brackets_in_text_are_no_levels(stores: Harness) -> None:
    text = '[{"\\' * 5000
    stores.do(stores.db.sales.upsert(sale(note=text, extra={text: [text] * 100})))
    assert stores.do(stores.db.sales.get("s")).extra == {text: [text] * 100}
    stores.do(stores.db.sales.upsert(sale(extra=[[]] * 5000)))


@pytest.mark.parametrize(
    ("text", "depth"),
    [(b"1", 0), (b"[]", 1), (b"[[],{}]", 2), (b'{"a":[{"[[[":"]\\"{"}]}', 3), (b"[" * 900 + b"]" * 900, 900)],
)
def test_nesting_counts_levels(text: bytes, depth: int) -> None:
    assert nesting(text) == depth


def test_a_deep_call_stack_is_no_reason_to_accept_less(stores: Harness) -> None:
    """The bound does not depend on how deep the caller's own calls are."""
    at_depth(400, lambda: stores.do(stores.db.sales.upsert(sale(extra=nested(MAX_DEPTH)))))
    at_depth(400, lambda: stores.do(stores.db.sales.merge_lines("s", [line(extra=nested(MAX_DEPTH - 2))])))


def at_depth(frames: int, call: Callable[[], Any]) -> Any:
    assert frames < sys.getrecursionlimit() - 300
    return call() if frames == 0 else at_depth(frames - 1, call)
