"""What a filter implies: a partial view is used only if it has every row of the filter, by brute force over small domains."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from keyweave.model.entity import Condition
from keyweave.read.implied import CONTAINS, STARTS, implied, implies

DOMAINS: dict[str, list[Any]] = {
    "int": [-2, -1, 0, 1, 2, 3],
    "float": [-1.5, -0.0, 0.1, 0.30000000000000004, 2.0**53, 1e300],
    "decimal": [Decimal(each) for each in ("-1", "0.1", "0.10", "0.3", "9007199254740993", "1E+3")],
    "date": [date(2023, 12, 31), date(2024, 1, 1), date(2024, 2, 29), date(2024, 3, 1)],
    "time": [time(0, 0), time(0, 0, 0, 1), time(8, 30), time(23, 59, 59, 999999)],
    "datetime": [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in range(4)],
    "duration": [timedelta(microseconds=each) for each in (-1, 0, 1, 10**12)],
    "uuid": [UUID(int=each) for each in (0, 1, 2**64, 2**127)],
    "bool": [True, False],
    "enum": ["draft", "live", "sold", "Live"],
    "string": ["", "a", "ab", "aé", "a\uffff", "a\U0001f600", "b", "B"],
}
"""Values by the type of a field, near each other where a comparison could go wrong."""

EXACT = ["==", "!=", "in", "not in", "is null", "is not null"]
ORDERED = ["<", "<=", ">", ">="]


def holds(value: Any, condition: Condition) -> bool:
    """Whether a condition holds, written anew: three-valued logic as in a WHERE clause."""
    operator, values = condition.operator, condition.values
    if operator == "is null":
        return value is None
    if value is None:
        return False
    found: dict[str, Callable[[], Any]] = {
        "is not null": lambda: True,
        "==": lambda: value == values[0],
        "!=": lambda: value != values[0],
        "in": lambda: any(value == each for each in values),
        "not in": lambda: not any(value == each for each in values),
        "<": lambda: value < values[0],
        "<=": lambda: value <= values[0],
        ">": lambda: value > values[0],
        ">=": lambda: value >= values[0],
        STARTS: lambda: value[: len(values[0])] == values[0],
    }
    return bool(found[operator]())


def draw(chance: random.Random, kind: str, *, filters: bool) -> Condition:
    ordered = kind not in ("bool", "enum")
    operators = EXACT + (ORDERED if ordered else []) + ([STARTS] if filters and kind == "string" else [])
    operator = chance.choice(operators)
    if operator.endswith("null"):
        return Condition("f", operator)
    number = chance.randint(1, 3) if operator.endswith("in") else 1
    return Condition("f", operator, tuple(chance.choices(DOMAINS[kind], k=number)))


def between(kind: str, value: Sequence[Any]) -> list[Any]:
    """A domain with values between and around the drawn ones, so that an open end is not taken for a closed one."""
    more: dict[str, Callable[[Any], Any]] = {
        "int": lambda each: each + 1,
        "float": lambda each: each + 1e-9,
        "decimal": lambda each: each + Decimal("0.0000001"),
        "date": lambda each: each + timedelta(days=1),
        "datetime": lambda each: each + timedelta(microseconds=1),
        "duration": lambda each: each + timedelta(microseconds=1),
        "uuid": lambda each: UUID(int=each.int + 1),
        "string": lambda each: each + "0",
    }
    step = more.get(kind)
    return [None, *value, *([step(each) for each in value] if step is not None else [])]


@pytest.mark.parametrize("kind", DOMAINS)
def test_a_row_of_the_filter_satisfies_what_it_implies(kind: str) -> None:
    chance = random.Random(f"implied {kind}")
    rows = between(kind, DOMAINS[kind])
    claimed = false = 0
    for _ in range(6000):
        known = [draw(chance, kind, filters=True) for _ in range(chance.randint(1, 3))]
        wanted = draw(chance, kind, filters=False)
        found = [value for value in rows if all(holds(value, each) for each in known)]
        if implies(known, wanted):
            claimed += 1
            assert all(holds(value, wanted) for value in found), (known, wanted)
        elif found and all(holds(value, wanted) for value in found):
            false += 1
    assert claimed > 500
    # Small domains make implications that only this domain has; most of the others are found.
    assert false < 3 * claimed


F, G = "f", "g"


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ([Condition(F, "==", (3,))], Condition(F, ">", (2,))),
        ([Condition(F, "in", (3, 4))], Condition(F, "in", (4, 3, 5))),
        ([Condition(F, "is null")], Condition(F, "is null")),
        ([Condition(F, ">=", (3,)), Condition(F, "<=", (5,))], Condition(F, "<", (6,))),
        ([Condition(F, ">=", (3,))], Condition(F, ">=", (3,))),
        ([Condition(F, ">=", (3,))], Condition(F, "!=", (2,))),
        ([Condition(F, ">=", (3,)), Condition(F, "<=", (3,))], Condition(F, "==", (3,))),
        ([Condition(F, "!=", (3,))], Condition(F, "!=", (3,))),
        ([Condition(F, "!=", (3,))], Condition(F, "is not null")),
        ([Condition(F, ">", (3,)), Condition(F, "!=", (9,))], Condition(F, "not in", (1, 9))),
        ([Condition(F, STARTS, ("ab",))], Condition(F, ">=", ("ab",))),
        ([Condition(F, STARTS, ("ab",))], Condition(F, "<", ("b",))),
        ([Condition(F, CONTAINS, ("a",))], Condition(F, "is not null")),
    ],
)
def test_what_is_implied(known: list[Condition], wanted: Condition) -> None:
    assert implies(known, wanted)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ([], Condition(F, "is not null")),
        ([Condition(F, "==", (3,))], Condition(F, "is null")),
        ([Condition(F, "is null")], Condition(F, "!=", (3,))),
        ([Condition(F, "is not null")], Condition(F, "!=", (3,))),
        ([Condition(F, ">=", (3,))], Condition(F, ">", (3,))),
        ([Condition(F, "in", (3, 4))], Condition(F, "==", (3,))),
        ([Condition(F, "<=", (5,))], Condition(F, ">=", (3,))),
        ([Condition(F, STARTS, ("ab",))], Condition(F, "<", ("abc",))),
        ([Condition(F, CONTAINS, ("a",))], Condition(F, "==", ("a",))),
    ],
)
def test_what_is_not_implied(known: list[Condition], wanted: Condition) -> None:
    assert not implies(known, wanted)


def test_conditions_of_another_field_imply_nothing() -> None:
    known = [Condition(F, "==", (1,)), Condition(G, "is null")]
    assert implied(known, [Condition(F, "<", (2,)), Condition(G, "is null")])
    assert not implied(known, [Condition(F, "<", (2,)), Condition(G, "<", (2,))])
    assert implied(known, [])
