"""Key text: different values of one field never share one, and values of another type are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compozy_store import Status
from keyweave.errors import ValidationError
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


def test_a_value_names_the_field_that_is_wrong_and_never_itself() -> None:
    assert check_value("a", "str", entity="User", field="email") == "a"
    assert check_value(5, "float", entity="User", field="score") == 5.0
    naive: Any = datetime(2020, 1, 1)  # noqa: DTZ001 - no time zone, on purpose
    for value, kind in (
        ("planted", "int"),
        (None, "str"),
        (float("nan"), "float"),
        (naive, "datetime"),
        ("\ud800", "str"),
    ):
        with pytest.raises(ValidationError) as caught:
            check_value(value, kind, entity="User", field="age")
        assert (caught.value.entity, caught.value.field) == ("User", "age")
        assert "planted" not in str(caught.value)
