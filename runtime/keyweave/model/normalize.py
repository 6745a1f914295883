"""Steps of generated `normalize` functions, and what they do to values by which rows are looked up.

A step modifies a record in place and returns whether it changed anything.
"""

from __future__ import annotations

from typing import TypeVar

from keyweave.model.record import Value

T = TypeVar("T")


def trim(record: Value, name: str) -> bool:
    """Strip white space from both ends of a text field."""
    value = getattr(record, name)
    if value is None:
        return False
    stripped = value.strip()
    if stripped == value:
        return False
    setattr(record, name, stripped)
    return True


def trimmed(value: T) -> T:
    """Return a value by which rows are looked up as a trimmed field stores it; what is no text is returned as it is."""
    return value.strip() if isinstance(value, str) else value  # type: ignore[return-value]


def fill_zero(record: Value, name: str, value: int | float) -> bool:
    """Set a number field to a derived value if the field is zero."""
    if getattr(record, name) != 0 or value == 0:
        return False
    setattr(record, name, value)
    return True


def compact(text: str) -> str:
    """Return text for comparisons that ignore case and white space."""
    return "".join(text.split()).lower()
