"""Values of single fields, checked without a record: what a caller gives is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, get_type_hints

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.model.exact import Find, finder
from keyweave.model.fidelity import MAX_DEPTH, TOO_DEEP, deeper_than, same_value
from keyweave.model.message import without_value
from keyweave.model.record import Record

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field.

    Attributes:
        decoder: decodes JSON into values of the field, and refuses what breaks its type or limits.
        number: the class of its numbers, or None when it has no numbers.
        problem: finds what decoding does not check, or None.
    """

    decoder: msgspec.json.Decoder[Any]
    number: type | None
    problem: Find | None


def field_types(entity: Entity[Any]) -> Mapping[str, FieldType]:
    """Return the type of each field of an entity."""
    record: type[Record] = entity.record
    return _field_types(record)


@lru_cache(maxsize=1024)
def _field_types(record: type[Record]) -> Mapping[str, FieldType]:
    hints = get_type_hints(record, include_extras=True)
    return {
        field.name: FieldType(
            msgspec.json.Decoder(field.type), _number_of(field.type), finder(hints[field.name])
        )
        for field in msgspec.structs.fields(record)
    }


def _number_of(annotation: Any) -> type | None:
    """Return int, float or Decimal for a type that is a number, or a number or None."""
    described = msgspec.inspect.type_info(annotation)
    types = described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
    found = [each for each in types if not isinstance(each, msgspec.inspect.NoneType)]
    numbers: dict[type, type] = {
        msgspec.inspect.IntType: int,
        msgspec.inspect.FloatType: float,
        msgspec.inspect.DecimalType: Decimal,
    }
    return numbers.get(type(found[0])) if len(found) == 1 else None


def check_settable(entity: Entity[Any], name: str) -> None:
    """Check that a caller may set a field.

    Raises:
        ValidationError: there is no such field, it is the key, or the store sets it.
    """
    if name in entity.key_fields:
        raise refused_field(entity, name, "the key of a stored row cannot change; create another row", "key")
    if name in entity.managed:
        raise refused_field(entity, name, "the store sets this field", "managed")
    if name not in entity.record.__struct_fields__:
        raise ValidationError(
            f"{entity.name}: no field {name!r}", entity=entity.name, field=name, rule="no such field"
        )


def check_value(entity: Entity[Any], name: str, value: Any) -> None:
    """Check that a field can have a value.

    Raises:
        ValidationError: the value breaks the field's type or limits, or would be read back as another value.
    """
    type_ = field_types(entity)[name]
    found = type_.problem(value) if type_.problem is not None else None
    if found is not None:
        path, rule = found
        raise refused_field(entity, name + path, rule)
    try:
        text = _encode(value)
        read = type_.decoder.decode(text)
    except msgspec.ValidationError as error:
        rule, _, path = without_value(str(error)).partition(" - at `$")
        raise refused_field(entity, f"{name}{path.rstrip('`')}", rule) from None
    except RecursionError:
        raise refused_field(entity, name, TOO_DEEP) from None
    except UnicodeError:
        raise refused_field(
            entity, name, "text with a lone surrogate cannot be stored as UTF-8", "unicode"
        ) from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise refused_field(entity, name, str(error)) from None
    if name not in entity.enums and not same_value(value, read):
        rule = f"a {type(value).__name__} would be read back as another value"
        raise refused_field(entity, name, rule)
    if deeper_than(text, MAX_DEPTH):
        raise refused_field(entity, name, TOO_DEEP)


def refused_field(entity: Entity[Any], name: str, text: str, rule: str = "") -> ValidationError:
    """Return the error for a field that breaks a rule; `rule` is the text unless it has a name of its own."""
    return ValidationError(f"{entity.name}.{name}: {text}", entity=entity.name, field=name, rule=rule or text)
