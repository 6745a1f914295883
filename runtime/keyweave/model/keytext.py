"""Field values as key text: one string per value, and different strings for different values of a field's type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from keyweave.errors import ValidationError
from keyweave.model.moment import duration_micros, to_micros

_KINDS: Final[dict[str, type]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": float,
    "bytes": bytes,
    "datetime": datetime,
    "timedelta": timedelta,
}


def key_text(value: object, kind: str = "") -> str:
    """The text of a field's value in keys and claims.

    Args:
        value: str (enums included), bool, int, datetime (aware), timedelta or bytes.
        kind: name of the type that the field has. Without it values of different types may share a text.

    Raises:
        ValidationError: a value of another type, a naive datetime, or text that is not valid Unicode.
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
    raise ValidationError(f"a {type(value).__name__} cannot be looked up", rule="key text")


def check_kind(value: object, kind: str, *, entity: str = "", field: str | None = None) -> None:
    """Refuse a value that a field of this kind cannot have; looking for it would find nothing, or another value.

    Raises:
        ValidationError: the value is of another type, None included.
    """
    if not isinstance(value, _KINDS[kind]) or (kind != "bool" and isinstance(value, bool)):
        where = f"{entity}.{field}: " if field else ""
        rule = f"expected {kind}, got {type(value).__name__}"
        raise ValidationError(f"{where}{rule}", entity=entity, field=field, rule=rule)


def check_filters(entity: str, kinds: Mapping[str, str], filters: Mapping[str, Any]) -> None:
    """Refuse filters that name no field to search by, or whose value is of another type than the field.

    Raises:
        ValidationError: names the field.
    """
    for name, value in filters.items():
        if name not in kinds:
            raise ValidationError(
                f"{entity}: no field {name!r} to filter by", entity=entity, field=name, rule="filter"
            )
        check_kind(value, kinds[name], entity=entity, field=name)


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
