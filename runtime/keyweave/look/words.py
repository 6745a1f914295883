"""Words to values: what a person types for an entity, a field or a value, in the types of the schema.

A word that does not fit is a `ValidationError` that names what would fit, and the nearest name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import Any, Final, get_args
from uuid import UUID

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.entity import Entity, Package

_KINDS: Final[dict[str, tuple[type, str]]] = {
    "str": (str, "text"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bytes": (bytes, "base64"),
    "datetime": (datetime, "a moment such as 2026-01-31T12:00:00Z"),
    "timedelta": (timedelta, "a duration such as P1DT2H, in ISO 8601"),
    "Decimal": (Decimal, "a number such as 12.50"),
    "date": (date, "a date such as 2026-01-31"),
    "time": (time, "a time such as 12:30:00"),
    "UUID": (UUID, "a UUID"),
}
"""The Python type of each kind of field, and how its values are typed."""

_BARE: Final = ("bool", "int", "float")
"""The kinds whose values are bare words in JSON. Of other kinds a bare number is a mistake: a year would be seconds."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `known`, or every name when there are few, or nothing."""
    names = {each.casefold(): each for each in known}
    near = get_close_matches(name[:80].casefold(), list(names), n=1, cutoff=0.5)
    if near:
        return f"; did you mean {names[near[0]]!r}?"
    return f"; there are: {', '.join(sorted(names.values()))}" if 0 < len(names) <= 30 else ""


def entity_named(package: Package, name: str) -> Entity[Any]:
    """Return an entity by its name, in upper or lower case.

    Raises:
        ValidationError: there is none of that name.
    """
    folded = {each.casefold(): each for each in package.entities}
    found = folded.get(name.casefold())
    if found is None:
        rule = f"no entity {name!r}{nearest(name, package.entities)}"
        raise ValidationError(rule, entity=name, rule="entity")
    return package.entities[found]


def field_value(entity: Entity[Any], field: str, word: str) -> Any:
    """Return a word as a value by which a field is looked up; of a list field, as one of its elements.

    Raises:
        ValidationError: there is no such field to look up by, it is secret, or it cannot have the value.
    """
    require_field(entity, field)
    members = members_of(entity, field)
    if members:
        if word not in members:
            raise _refused(entity, field, f"no value {word!r}{nearest(word, members)}")
        return members[word]
    kind = entity.filters[field].removeprefix("list[").removesuffix("]")
    type_, how = _KINDS[kind]
    try:
        return msgspec.convert(word, type_, strict=kind not in _BARE)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise _refused(entity, field, f"{word!r} does not fit; write {how}") from None


def require_field(entity: Entity[Any], field: str) -> None:
    """Check that rows may be looked up by a field.

    Raises:
        ValidationError: there is no such field, or it is secret. Asking for parts of a secret would disclose it.
    """
    if field in entity.record.__secret_fields__:
        raise _refused(entity, field, "the field is secret, so rows cannot be looked up by it here")
    if field not in entity.filters:
        rule = f"no field {field!r} to look up by{nearest(field, entity.filters)}"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, field=field, rule="filter")


def members_of(entity: Entity[Any], field: str) -> dict[str, Any]:
    """Return the members of a field's enum by their values; empty for a field of another type."""
    found = {each.name: each.type for each in msgspec.structs.fields(entity.record)}
    enum = _enum_in(found[field])
    return {str(each.value): each for each in enum} if enum is not None else {}


def key_of_words(entity: Entity[Any], words: list[str]) -> str:
    """Return the id of a row from the words of its key: one, or one for each part of a composite key.

    Raises:
        ValidationError: there are more or fewer words, or one does not fit its field.
    """
    names = entity.key_fields
    if len(words) != len(names):
        rule = f"the key has {_parts(len(names))}, {', '.join(names)}; got {len(words)}"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, rule="key")
    values = [field_value(entity, name, word) for name, word in zip(names, words, strict=True)]
    return entity.stored_key(tuple(values) if entity.parts else values[0])


def _enum_in(type_: Any) -> type[Enum] | None:
    """Return the enum in a field's type: `Status`, `Status | None`, `list[Status]` or with limits."""
    if isinstance(type_, type) and issubclass(type_, Enum):
        return type_
    return next((enum for each in get_args(type_) if (enum := _enum_in(each)) is not None), None)


def _parts(number: int) -> str:
    return "one part" if number == 1 else f"{number} parts"


def _refused(entity: Entity[Any], field: str, rule: str) -> ValidationError:
    return ValidationError(f"{entity.name}.{field}: {rule}", entity=entity.name, field=field, rule=rule)
