"""Field values as key text: one string per value, and different strings for different values of a field's type."""

from __future__ import annotations

from datetime import datetime, timedelta

from keyweave.errors import ValidationError
from keyweave.moment import duration_micros, to_micros


def key_text(value: object) -> str:
    """The text of a field's value in keys and claims.

    Args:
        value: str (enums included), bool, int, datetime (aware), timedelta or bytes.

    Raises:
        ValidationError: a value of another type, a naive datetime, or text that is not valid Unicode.
    """
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
    raise ValidationError(f"a {type(value).__name__} cannot be looked up", rule="key text")


def checked_text(value: object) -> str:
    """`value`, when it is text that can be stored.

    Raises:
        ValidationError: not a string, or a string with a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValidationError(f"expected a string, got a {type(value).__name__}", rule="str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("text with a lone surrogate cannot be stored", rule="unicode") from None
    return value
