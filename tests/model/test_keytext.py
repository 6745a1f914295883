"""Key text: different values of one field never share one, and values of another type are refused."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compozy_store import Status
from keyweave.errors import ValidationError
from keyweave.model.exact import decimal_score
from keyweave.model.keytext import check_value, key_text

MOMENT = datetime(2020, 1, 1, tzinfo=UTC)
TEXTS = [
    ("str", "a", "a"),
    ("str", Status.FAILED, "FAILED"),
    ("bool", True, "true"),
    ("int", -5, "-5"),
    ("bytes", b"\0k", "006b"),
    ("datetime", MOMENT, "1577836800000000"),
    ("timedelta", timedelta(seconds=1), "1000000"),
    ("Decimal", Decimal("1.50"), "1.5"),
    ("date", date(2020, 1, 1), "2020-01-01"),
    ("time", time(8, 30), "08:30:00"),
    ("UUID", UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
]


@pytest.mark.parametrize(("kind", "value", "text"), TEXTS)
def test_a_value_of_its_kind_has_a_text(kind: str, value: Any, text: str) -> None:
    assert key_text(value, kind) == key_text(value) == text


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TEXTS])
@pytest.mark.parametrize("value", [*(value for _, value, _ in TEXTS), None, [], 1.5])
def test_a_value_of_another_kind_is_refused(kind: str, value: Any) -> None:
    if any(each == kind and type(other) is type(value) for each, other, _ in TEXTS):
        return
    with pytest.raises(ValidationError):
        key_text(value, kind)


@pytest.mark.parametrize("value", ["\ud800", datetime(2020, 1, 1)])  # noqa: DTZ001 - no time zone, on purpose
def test_what_cannot_be_stored_cannot_be_looked_up(value: Any) -> None:
    with pytest.raises(ValidationError):
        key_text(value, type(value).__name__)


FINITE = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=12)


@given(FINITE, FINITE)
def test_decimals_have_one_text_if_and_only_if_they_are_equal(one: Decimal, other: Decimal) -> None:
    assert (key_text(one) == key_text(other)) is (one == other)
    assert Decimal(key_text(one)) == one
    assert key_text(Decimal(f"{one:f}0")) == key_text(one)


@pytest.mark.parametrize("text", ["0", "-0", "0.00", "-0.0E+5", "1E+3", "1000", "100E-5", "1E-7"])
def test_the_text_of_a_decimal_has_no_exponent(text: str) -> None:
    found = key_text(Decimal(text))
    assert Decimal(found) == Decimal(text)
    assert set(found) <= {*"0123456789."}


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "1E+1000", "1E-1001"])
def test_a_decimal_that_cannot_be_stored_has_no_text(text: str) -> None:
    with pytest.raises(ValidationError):
        key_text(Decimal(text), "Decimal")


def test_a_time_with_a_zone_has_no_text() -> None:
    with pytest.raises(ValidationError):
        key_text(time(8, tzinfo=UTC), "time")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=2))
def test_a_score_of_fifteen_digits_gives_the_decimal_back(value: Decimal) -> None:
    score = decimal_score(value)
    assert Decimal(repr(score)) == value
    assert math.copysign(1, score) == 1 or value < 0


def test_a_value_names_the_field_that_is_wrong_and_never_itself() -> None:
    assert check_value("a", "str", entity="User", field="email") == "a"
    assert check_value(5, "float", entity="User", field="score") == 5.0
    assert type(check_value(5, "Decimal", entity="User", field="price")) is Decimal
    naive: Any = datetime(2020, 1, 1)  # noqa: DTZ001 - no time zone, on purpose
    for value, kind in (
        ("planted", "int"),
        (None, "str"),
        (float("nan"), "float"),
        (10**400, "float"),
        (naive, "datetime"),
        (time(8, tzinfo=UTC), "time"),
        (Decimal("NaN"), "Decimal"),
        (1.5, "Decimal"),
        (datetime(2020, 1, 1, tzinfo=UTC), "date"),
        ("\ud800", "str"),
    ):
        with pytest.raises(ValidationError) as caught:
            check_value(value, kind, entity="User", field="age")
        assert (caught.value.entity, caught.value.field) == ("User", "age")
        assert "planted" not in str(caught.value)
