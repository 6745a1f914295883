"""Compact JSON: what a document stores of a record, without the fields that equal their defaults.

A record encodes with every field, because applications send it to others. The store encodes a copy whose class leaves
defaults out, and names members as documents do. A set is stored as a sorted list, so equal records have equal documents.
"""

from __future__ import annotations

from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from keyweave.model.record import Record, Value

HEAD_WORDS: Final = frozenset({"revision", "created", "expires", "op"})
"""Names of the members of every document's head. A field of such a name is stored under the name that `stored_name` gives."""

_encode: Final = msgspec.json.Encoder().encode

_TWINS: Final[dict[type, tuple[type, tuple[str, ...], tuple[str, ...]]]] = {}
"""For each record type the class that encodes it without defaults, the fields that hold record types or sets, and those that
hold record types."""


def compact_json(value: Any) -> bytes:
    """Return the JSON of a value as documents store it.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: it cannot be encoded.
    """
    return _encode(compact(value))


def compact(value: Any) -> Any:
    """Return a value that encodes as it is stored: copies in place of records and sets, at any depth of lists and maps.

    Raises:
        TypeError: the elements of a set cannot be ordered, so they are not of one type.
    """
    kind = type(value)
    known = _TWINS.get(kind)
    if known is None:
        if kind is list:
            return [compact(each) for each in value]
        if kind is dict:
            return {name: compact(each) for name, each in value.items()}
        if kind is set or kind is frozenset:
            return sorted(value) if len(value) > 1 else value
        if not isinstance(value, Value):
            return value
        twin_of(kind)
        known = _TWINS[kind]
    twin, changed, _ = known
    copy = value.__copy__()
    for name in changed:
        setattr(copy, name, compact(getattr(copy, name)))
    copy.__class__ = twin
    return copy


def stored_name(field: str) -> str:
    """Return the name of the member of a document that holds a field of an entity."""
    return f"@{field}" if field in HEAD_WORDS else field


def record_fields(kind: type[Value]) -> tuple[str, ...]:
    """Return the names of the fields of a record type that hold record types, also in lists and maps."""
    twin_of(kind)
    return _TWINS[kind][2]


def twin_of(kind: type[Value]) -> tuple[type, tuple[str, ...]]:
    """Return the class that encodes a record type without defaults, and the fields that `compact` has to change."""
    if kind not in _TWINS:
        _TWINS[kind] = _twin(kind)
    twin, changed, _ = _TWINS[kind]
    return twin, changed


def _twin(kind: type[Value]) -> tuple[type, tuple[str, ...], tuple[str, ...]]:
    hints = get_type_hints(kind)
    # A field that is declared again keeps its place, so objects can change between the two classes.
    again = [
        (each.name, each.type, _stored_field(each))
        for each in msgspec.structs.fields(kind)
        if each.name in HEAD_WORDS and issubclass(kind, Record)
    ]
    twin = msgspec.defstruct(kind.__name__, again, bases=(kind,), omit_defaults=True, kw_only=True)
    records = tuple(name for name in kind.__struct_fields__ if _holds(hints[name], Value))
    sets = tuple(name for name in kind.__struct_fields__ if _holds(hints[name], set))
    return twin, tuple(dict.fromkeys((*records, *sets))), records


def _stored_field(field: msgspec.structs.FieldInfo) -> Any:
    default: Any = {"default": field.default, "default_factory": field.default_factory}
    return msgspec.field(**default, name=stored_name(field.name))


def _holds(hint: Any, kind: type) -> bool:
    """Return whether values of a type are of a kind, or hold such values in lists, maps or sets."""
    own = get_origin(hint) or hint
    if isinstance(own, type) and issubclass(own, kind):
        return True
    return any(_holds(part, kind) for part in get_args(hint))
