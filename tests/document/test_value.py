"""Values of single fields, and which fields have numbers, also of types that the schema language has later."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from keyweave.document.value import check_value, field_types
from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.model.record import Record


class Price(Record, kw_only=True):
    """A row with a number of each kind."""

    id: str
    amount: Annotated[Decimal, msgspec.Meta()]
    rate: float | None = None
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    open: bool = True
    name: str | None = None


PRICE: Entity[Any] = Entity(
    name="Price",
    group="g",
    record=Price,
    key="id",
    partition_by="id",
    known=frozenset(),
    entries=lambda record, other=None: [],
    check=lambda record: None,
    places=lambda keys, record, other=None: ([], []),
)


def test_which_fields_have_numbers() -> None:
    numbers = {name: each.number for name, each in field_types(PRICE).items()}
    assert numbers == {
        "id": None,
        "amount": Decimal,
        "rate": float,
        "count": int,
        "open": None,
        "name": None,
    }


@pytest.mark.parametrize(
    ("name", "value"), [("amount", Decimal("1.10")), ("rate", None), ("rate", 1), ("count", 0)]
)
def test_what_fits(name: str, value: Any) -> None:
    check_value(PRICE, name, value)


@pytest.mark.parametrize(("name", "value"), [("amount", "1.1"), ("amount", None), ("count", -1), ("open", 1)])
def test_what_does_not_fit(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        check_value(PRICE, name, value)
    assert caught.value.field == name
