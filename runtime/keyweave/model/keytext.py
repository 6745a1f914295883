"""Field values as key text: one string per value, and different strings for different values of one field."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from keyweave.errors import ValidationError
from keyweave.model.exact import DecimalLimits, decimal_text
from keyweave.model.moment import duration_micros, to_micros
from keyweave.model.numbering import IntKey, int_id

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
        return int_id(value) if type(value) is IntKey else str(value)
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


def check_kind(value: object, kind: str, *, entity: str = "", field: str | None = None) -> None:
    """Check that a field of this kind can have the value; a lookup of any other finds nothing, or another value.

    Raises:
        ValidationError: the value is None or has another type.
    """
    if not isinstance(value, _KINDS[kind]) or isinstance(value, _NARROWER.get(kind, ())):
        where = f"{entity}.{field}: " if field else ""
        rule = f"expected {kind}, got {type(value).__name__}"
        raise ValidationError(f"{where}{rule}", entity=entity, field=field, rule=rule)


def check_value(value: object, kind: str, *, entity: str, field: str) -> Any:
    """Return a value by which rows are looked up, text as plain text.

    Raises:
        ValidationError: a field of this kind cannot have the value; the error names the field.
    """
    rule = ""
    if type(value) is int and kind in ("float", "Decimal"):
        try:
            value = float(value) if kind == "float" else Decimal(value)
        except OverflowError:
            value, rule = 0.0, "too large for a float"
    check_kind(value, kind, entity=entity, field=field)
    if kind == "str":
        value = str.__str__(value)
        if not value.isascii() and _has_surrogate(value):
            rule = "text with a lone surrogate cannot be stored"
    elif kind == "float" and value != value:
        rule = "NaN equals nothing and has no place in an order"
    elif kind == "datetime" and value.tzinfo is None:  # type: ignore[attr-defined]
        rule = "a datetime needs a time zone"
    elif kind == "time" and value.tzinfo is not None:  # type: ignore[attr-defined]
        rule = "a time has no time zone"
    elif kind == "Decimal":
        rule = _any_decimal(value)
    if rule:
        raise ValidationError(f"{entity}.{field}: {rule}", entity=entity, field=field, rule=rule)
    return value


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def checked_text(value: object) -> str:
    """Return `value` if it is text that can be stored.

    Raises:
        ValidationError: it is not a string, or it contains a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValidationError(f"expected a string, got a {type(value).__name__}", rule="str")
    if not value.isascii() and _has_surrogate(value):
        raise ValidationError("text with a lone surrogate cannot be stored", rule="unicode")
    return value
