"""Refusing records that cannot be stored: the error names the field and the rule, and never the value."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.model.fidelity import MAX_DEPTH, TOO_DEEP, deeper_than, same_value
from keyweave.model.message import without_value

_encode: Final = msgspec.json.Encoder().encode


def refuse_error(entity: Entity[Any], record: Any, error: Exception) -> NoReturn:
    """Refuse a record that cannot be encoded, or whose JSON cannot be read back."""
    text = without_value(str(error))
    if isinstance(error, msgspec.ValidationError):
        rule, _, path = text.partition(" - at `$.")
        refuse_field(entity, path.rstrip("`").removeprefix("@") or None, rule)
    for name in type(record).__struct_fields__:
        try:
            _encode(getattr(record, name))
        except UnicodeEncodeError:
            refuse_field(entity, name, "text with a lone surrogate cannot be stored as UTF-8")
        except RecursionError:
            refuse_field(entity, name, TOO_DEEP)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as cause:
            refuse_field(entity, name, str(cause))
    refuse_field(entity, None, text if not isinstance(error, RecursionError) else TOO_DEEP)


def refuse_changed(entity: Entity[Any], record: Any, snapshot: Any) -> NoReturn:
    """Refuse values that JSON decodes as other values, such as a string in a field of bytes or a datetime."""
    for name in type(record).__struct_fields__:
        given = getattr(record, name)
        if not same_value(given, getattr(snapshot, name)):
            plain = "plain JSON" if name in entity.json else "of the field's type"
            refuse_field(
                entity, name, f"not {plain}: a {type(given).__name__} would be read back as another value"
            )
    refuse_field(entity, None, "it would be read back as another value")


def refuse_depth(entity: Entity[Any], record: Any, before: Any) -> None:
    """Refuse values that are nested too deeply, except for those that the store holds already."""
    for name in type(record).__struct_fields__:
        value = getattr(record, name)
        if deeper_than(_encode(value), MAX_DEPTH):
            if before is None or not same_value(value, getattr(before, name)):
                refuse_field(entity, name, TOO_DEEP)


def refuse_field(entity: Entity[Any], field: str | None, rule: str) -> NoReturn:
    """Raise the `ValidationError` for a field; None for the row as a whole."""
    where = f"{entity.name}.{field}" if field else entity.name
    # The cause may quote the value, and a traceback would print it.
    raise ValidationError(f"{where}: {rule}", entity=entity.name, field=field, rule=rule) from None
