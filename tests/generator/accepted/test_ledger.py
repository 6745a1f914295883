"""A ledger: decimals, dates, times, uuids and sets come back as they were given, are looked up, ordered, checked and merged."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from keyweave.errors import CheckViolationError, UniqueViolationError, ValidationError
from keyweave.model.record import memory_of
from tests.generator.accepted.stage import Stage

CASE = "ledger"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
LEAP = date(2024, 2, 29)
AT = time(12, 30, 15, 1)
ONE, TWO = UUID(int=1), UUID(int=2)


def names(given: Any) -> str:
    """The id of a parameter: sets have another order in every process."""
    return "-".join(given) if isinstance(given, dict) else str(given)


def line(stage: Stage, **more: Any) -> Any:
    given = {"account": ONE, "day": LEAP, "at": AT, "amount": Decimal("1.10"), "fee": Decimal("0.1")}
    return stage.package.Line(**{**given, **more})


def entry(stage: Stage, key: str = "1", **more: Any) -> Any:
    """An entry with a value in every field."""
    ledger = stage.package
    given = {
        "id": key,
        "day": LEAP,
        "at": AT,
        "booked_on": LEAP,
        "closes": time(0),
        "account": ONE,
        "batch": UUID(int=int(key)),
        "amount": Decimal(f"{key}.50"),
        "rate": Decimal("0.1000000000000000000000000000000001"),
        "posted_at": NOON,
        "tags": {"red", "blue", "é"},
        "ids": {"b", "a"},
        "numbers": {10, 9, -1},
        "floats": {0.5, -0.5},
        "decimals": {Decimal(10), Decimal("9.5")},
        "flags": {True, False},
        "moments": {NOON, NOON - timedelta(days=1)},
        "dates": {LEAP, date(1, 1, 1)},
        "times": {AT, time.max},
        "durations": {timedelta(1), timedelta(-1)},
        "uuids": {TWO, ONE},
        "blobs": {b"b", b"a"},
        "sides": {ledger.Side.DEBIT, ledger.Side.CREDIT},
        "prices": [Decimal("1.5"), Decimal("1.50")],
        "days": [LEAP],
        "opening": [AT, time.min],
        "parties": [ONE, ONE],
        "sets": [{3, 2}, set()],
        "price_of": {"a": Decimal("-0.00")},
        "day_of": {"a": date.max},
        "time_of": {"a": time.max},
        "party_of": {"a": TWO},
        "tags_of": {"a": {"y", "x"}},
        "lines": [line(stage)],
        "main": line(stage, tags={"b", "a"}, sides={ledger.Side.DEBIT}),
    }
    return ledger.Entry(**{**given, **more})


def stored(stage: Stage, key: str) -> Any:
    """The document of a row, as JSON."""
    memory = memory_of(stage.entries.get(key))
    assert memory is not None and memory.document is not None
    return json.loads(memory.document)


def test_a_ledger_at_work(stage: Stage) -> None:
    first, second = entry(stage), entry(stage, "2", day=date(2024, 3, 1))
    stage.create(first, second)
    for record in (first, second):
        stage.visit(record)
        stage.write_again(record)
    assert stage.entries.get("1").rate == first.rate
    assert [row.id for row in stage.entries.by_account(ONE)] == ["2", "1"]
    with pytest.raises(UniqueViolationError):
        stage.entries.create(entry(stage, "3", amount=Decimal("1.5"), batch=None))
    merged = stage.entries.merge_lines("1", [line(stage, rate=Decimal("0.1"), amount=Decimal("2.2"))])
    assert (merged.lines[0].amount, merged.lines[0].fee) == (Decimal("3.30"), Decimal("0.2"))
    assert stage.entries.touch_posted_at("1") is True
    assert stage.check().clean
    stage.remove(stage.entries.get("1"), second)
    stage.finish()


def test_a_set_is_stored_as_a_sorted_list(stage: Stage) -> None:
    stage.entries.create(entry(stage))
    document = stored(stage, "1")
    assert document["tags"] == ["blue", "red", "é"]
    assert document["numbers"] == [-1, 9, 10]
    assert document["decimals"] == ["9.5", "10"]
    assert document["sides"] == ["credit", "debit"]
    assert (document["sets"], document["tags_of"]) == ([[2, 3], []], {"a": ["x", "y"]})
    assert (document["main"]["tags"], document["blobs"]) == (["a", "b"], ["YQ==", "Yg=="])
    assert document["amount"] == "1.50"
    assert document["day"] == "2024-02-29"
    assert document["at"] == "12:30:15.000001"
    assert document["account"] == str(ONE)


def test_equal_decimals_are_one_value(stage: Stage) -> None:
    stage.entries.create(entry(stage, amount=Decimal("10.5")))
    for text in ("10.50", "10.5", "1.05E+1"):
        assert [row.id for row in stage.entries.by_amount(Decimal(text))] == ["1"]
        assert stage.entries.get_by_amount(ONE, Decimal(text)).id == "1"
    assert stage.entries.by_amount(Decimal("10.51")).count() == 0


def test_decimals_of_fifteen_digits_are_ordered_exactly(stage: Stage) -> None:
    amounts = [Decimal("999999999999.98"), Decimal("999999999999.99"), Decimal("-0.01"), Decimal(0)]
    drawn = random.Random(7)
    amounts += {Decimal(drawn.randrange(-(10**7), 10**13)).scaleb(-2) for _ in range(30)}
    for number, amount in enumerate(amounts):
        stage.entries.create(entry(stage, str(number), amount=amount))
    found = [row.amount for row in stage.entries.by_day(LEAP).reverse()]
    assert found == sorted(amounts)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": Decimal("1.999")}, "amount"),
        ({"amount": Decimal("12345678901234.5")}, "amount"),
        ({"amount": Decimal(-1000000)}, "amount"),
        ({"amount": Decimal("1000000000000.01")}, "amount"),
        ({"amount": Decimal("NaN")}, "amount"),
        ({"amount": Decimal("sNaN")}, "amount"),
        ({"amount": Decimal("-Infinity")}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": 1}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": None}, "amount"),
        ({"rate": Decimal("1E+1000")}, "rate"),
        ({"rate": Decimal("1E-1001")}, "rate"),
        ({"prices": [Decimal(1), Decimal("inf")]}, "prices[1]"),
        ({"price_of": {"a": 1.0}}, "price_of[...]"),
        ({"decimals": {Decimal("NaN")}}, "decimals[...]"),
        ({"day": NOON}, "day"),
        ({"day": "2024-02-29"}, "day"),
        ({"at": time(12, tzinfo=UTC)}, "at"),
        ({"opening": [time(1, tzinfo=UTC)]}, "opening[0]"),
        ({"account": str(ONE)}, "account"),
        ({"tags": ["red"]}, "tags"),
        ({"tags": {"a", "b", "c", "d", "e", "f"}}, "tags"),
        ({"ids": {""}}, "ids[0]"),
        ({"numbers": {1, "a"}}, None),
    ],
    ids=names,
)
def test_what_does_not_fit_is_refused(stage: Stage, change: dict[str, Any], field: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        stage.entries.create(entry(stage, **change))
    assert caught.value.field == field
    assert stage.entries.find("1") is None


def test_a_line_inside_is_checked_too(stage: Stage) -> None:
    for change in ({"main": line(stage, amount=Decimal("0.001"))}, {"lines": [line(stage, fee=0.1)]}):
        with pytest.raises(ValidationError) as caught:
            stage.entries.create(entry(stage, **change))
        assert caught.value.field in ("main.amount", "lines[0].fee")
    stage.entries.create(entry(stage))
    with pytest.raises(ValidationError) as caught:
        stage.entries.merge_lines("1", [line(stage, fee=Decimal("NaN"))])
    assert caught.value.field == "lines[].fee"


def test_merging_is_exact(stage: Stage) -> None:
    """Python's own context would round each of the sums to 28 digits."""
    tiny, large = Decimal("0.00000000000000000000000000001"), Decimal(12345678901234567890)
    left = line(stage, fee=tiny, tags={"a"}, last_at=None, first_day=LEAP)
    right = line(stage, fee=large, tags={"b"}, last_at=AT, first_day=date(2024, 1, 1))
    stage.entries.create(entry(stage, lines=[left]))
    (merged,) = stage.entries.merge_lines("1", [right]).lines
    assert merged.fee == Decimal("12345678901234567890.00000000000000000000000000001")
    assert (merged.tags, merged.last_at, merged.first_day) == ({"a", "b"}, AT, date(2024, 1, 1))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"day": date(1999, 12, 31)}, "whole_year"),
        ({"at": time(23, 59, 59, 500000)}, "office_hours"),
        ({"account": UUID(int=0)}, "not_the_root"),
        ({"amount": Decimal("0.10")}, "exact"),
        ({"amount": Decimal("7.1")}, "exact"),
        ({"discount": Decimal(1000000000000000000000000000000000000)}, "exact"),
        ({"posted_at": datetime(2019, 12, 31, 23, tzinfo=UTC)}, "not_before"),
        ({"booked_on": date(2001, 1, 1)}, "not_before"),
        ({"tags": {"a", "b", "c", "d"}}, "few_tags"),
    ],
    ids=names,
)
def test_every_check_is_made(stage: Stage, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(CheckViolationError) as caught:
        stage.entries.create(entry(stage, **change))
    assert caught.value.rule == rule


def test_checks_compute_exactly(stage: Stage) -> None:
    """Rounded to 28 digits, both discounts give the largest value that the check allows."""
    limit = "500000.125"
    stage.entries.create(entry(stage, discount=Decimal(limit), amount=Decimal(0)))
    with pytest.raises(CheckViolationError):
        stage.entries.create(
            entry(stage, "2", account=TWO, discount=Decimal(limit + "0" * 30 + "1"), amount=Decimal(0))
        )


def test_defaults_are_of_the_type(stage: Stage) -> None:
    plain = stage.package.Line(account=ONE, day=LEAP, at=AT, amount=Decimal(1))
    assert (plain.rate, plain.last_day, plain.first_at) == (Decimal("0.10"), date(2026, 1, 31), time(8, 30))
    assert (plain.ref, plain.tags, plain.sides) == (ONE, set(), None)
    other = stage.package.Line(account=ONE, day=LEAP, at=AT, amount=Decimal(1))
    plain.tags.add("a")
    assert other.tags == set()


def test_a_view_with_wrong_arguments_is_refused(stage: Stage) -> None:
    for method, value in (
        ("by_day", NOON),
        ("by_day", "2024-02-29"),
        ("by_amount", 1.5),
        ("by_amount", Decimal("NaN")),
        ("by_at", time(1, tzinfo=UTC)),
        ("by_account", str(ONE)),
    ):
        with pytest.raises(ValidationError):
            getattr(stage.entries, method)(value).list()
