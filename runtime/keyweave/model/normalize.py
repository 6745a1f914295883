"""Steps of generated `normalize` functions. Each changes a record in place and tells whether it did."""

from __future__ import annotations

from keyweave.model.record import Value


def trim(record: Value, name: str) -> bool:
    """Strip white space around a text field."""
    value = getattr(record, name)
    if value is None:
        return False
    stripped = value.strip()
    if stripped == value:
        return False
    setattr(record, name, stripped)
    return True


def fill_zero(record: Value, name: str, value: int | float) -> bool:
    """Put a derived value where a number field is zero."""
    if getattr(record, name) != 0 or value == 0:
        return False
    setattr(record, name, value)
    return True


def compact(text: str) -> str:
    """Text for comparison without regard to case and white space."""
    return "".join(text.split()).lower()
