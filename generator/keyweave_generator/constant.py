"""Values that YAML has no word for: decimals, dates, times and uuids, read from text and written as Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias
from uuid import UUID

from .literal import literal
from .model import Field

Constant: TypeAlias = Decimal | datetime | date | time | UUID

MOST_DIGITS: Final = 1000
"""Digits of a decimal whose field declares none; the runtime has the same limit."""

CONSTANTS: Final[Mapping[str, str]] = {
    "decimal": "a decimal such as '1.50'",
    "date": "a date such as '2026-01-31'",
    "time": "a time such as '08:30:00'",
    "uuid": "a uuid of 36 characters",
}
"""The types whose constants are text, with what the text has to be."""

_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,1000}(\.[0-9]{1,1000})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOMENT: Final = re.compile(rf"{_DATE.pattern}[T ]{_TIME.pattern}(Z|[-+][0-9]{{2}}:[0-9]{{2}})")


def constant(type_name: str, text: str) -> Constant | None:
    """The value of a type that a text means, also of a datetime; None if it is none."""
    try:
        if type_name == "decimal" and _DECIMAL.fullmatch(text):
            return Decimal(text)
        if type_name == "date" and _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if type_name == "time" and _TIME.fullmatch(text):
            return time.fromisoformat(text)
        if type_name == "uuid" and _UUID.fullmatch(text):
            return UUID(text)
        if type_name == "datetime" and _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, InvalidOperation):
        pass
    return None


def origin(value: Constant) -> tuple[str, str]:
    """The module and the name of the class of a constant."""
    kind = type(value)
    return ("decimal" if kind is Decimal else "uuid" if kind is UUID else "datetime"), kind.__name__


def python(value: Constant, name: str) -> str:
    """A constant as Python; `name` is that of its class."""
    if isinstance(value, Decimal | UUID):
        return f"{name}({literal(str(value))})"
    if isinstance(value, datetime):
        parts = [value.year, value.month, value.day, value.hour, value.minute, value.second]
        parts += [value.microsecond] if value.microsecond else []
        return f"{name}({', '.join(map(str, parts))}, tzinfo=UTC)"
    if isinstance(value, date):
        return f"{name}({value.year}, {value.month}, {value.day})"
    parts = [value.hour, value.minute, value.second, value.microsecond]
    while len(parts) > 2 and not parts[-1]:
        parts.pop()
    return f"{name}({', '.join(map(str, parts))})"


def fits(value: Decimal, field: Field) -> bool:
    """Whether a decimal is within the limits of its field."""
    text = format(value.copy_abs(), "f")
    whole, _, fraction = text.partition(".")
    digits, places = len(whole.lstrip("0")), len(fraction.rstrip("0"))
    if field.places is not None and places > field.places:
        return False
    if digits + (places if field.places is None else field.places) > (field.digits or MOST_DIGITS):
        return False
    return (field.min is None or value >= field.min) and (field.max is None or value <= field.max)
