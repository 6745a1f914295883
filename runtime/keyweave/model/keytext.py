"""Field values as key text: one string per value, and different strings for different values of one field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from keyweave.errors import ValidationError
from keyweave.model.exact import DecimalLimits, decimal_text
from keyweave.model.moment import duration_micros, to_micros

_KINDS: Final[dict[str, type]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": float,
    "bytes": bytes,
    "datetime": datetime,
    "timedelta": timedelta,
    "Decimal": Decimal,
    "date": date,
    "time": time,
    "UUID": UUID,
}
_NARROWER: Final[dict[str, type]] = {"int": bool, "date": datetime}
"""Types that Python derives from another one, and that are no values of its fields."""

_any_decimal: Final = DecimalLimits().problem


def key_text(value: object, kind: str = "") -> str:
    """Return the text of a field's value in keys and claims.

    Args:
        value: str (including enum members), bool, int, datetime (aware), timedelta, bytes, Decimal, date, time (naive)
            or UUID. Equal decimals have one text.
        kind: name of the field's type. Without it, values of different types may have the same text.

    Raises:
        ValidationError: the value has another type, is a naive datetime, a time with a time zone or a decimal that is not
            finite, or is not valid Unicode text.
    """
    if kind:
        check_kind(value, kind)
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return str(to_micros(value))
    if isinstance(value, timedelta):
        return str(duration_micros(value))
    if isinstance(value, Decimal):
        rule = _any_decimal(value)
        if rule:
            raise ValidationError(f"{rule}; another one cannot be looked up", rule=rule)
        return decimal_text(value)
    if isinstance(value, UUID):
        return str(value)
    if (isinstance(value, date) and not isinstance(value, datetime)) or (
        isinstance(value, time) and value.tzinfo is None
    ):
        return value.isoformat()
    raise ValidationError(f"a {type(value).__name__} cannot be looked up", rule="key text")


def value_of(text: str, kind: str) -> Any:
    """Return the value whose key text is `text`, for the kinds that keys of rows can have: `str`, `int` and `UUID`."""
    return {"str": str, "int": int, "UUID": UUID}[kind](text)


def check_kind(value: object, kind: str, *, entity: str = "", field: str | None = None) -> None:
    """Check that a field of this kind can have the value; a lookup of any other finds nothing, or another value.

    Raises:
        ValidationError: the value is None or has another type.
    """
    if not isinstance(value, _KINDS[kind]) or isinstance(value, _NARROWER.get(kind, ())):
        where = f"{entity}.{field}: " if field else ""
        rule = f"expected {kind}, got {type(value).__name__}"
        raise ValidationError(f"{where}{rule}", entity=entity, field=field, rule=rule)


def check_filters(
    entity: str, kinds: Mapping[str, str], nullable: Collection[str], filters: Mapping[str, Any]
) -> None:
    """Check that each filter names a searchable field and that its value has the field's type.

    None asks for null, so it is a value of the fields in `nullable` only.

    Raises:
        ValidationError: one does not; the error names the field.
    """
    for name, value in filters.items():
        if name not in kinds:
            raise ValidationError(
                f"{entity}: no field {name!r} to filter by", entity=entity, field=name, rule="filter"
            )
        if value is not None or name not in nullable:
            check_kind(value, kinds[name], entity=entity, field=name)


def checked_text(value: object) -> str:
    """Return `value` if it is text that can be stored.

    Raises:
        ValidationError: it is not a string, or it contains a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValidationError(f"expected a string, got a {type(value).__name__}", rule="str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("text with a lone surrogate cannot be stored", rule="unicode") from None
    return value
