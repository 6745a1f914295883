"""Compact JSON: what a document stores of a record, without the fields that equal their defaults.

A record encodes with every field, because applications send it to others. The store encodes a copy whose class differs in
one thing only: it leaves defaults out.
"""

from __future__ import annotations

from typing import Any, Final, get_args, get_type_hints

import msgspec

from keyweave.model.record import Value

_encode: Final = msgspec.json.Encoder().encode

_TWINS: Final[dict[type, tuple[type, tuple[str, ...]]]] = {}
"""For each record type the class that encodes it without defaults, and the fields that hold record types."""


def compact_json(value: Any) -> bytes:
    """Return the JSON of a value as documents store it.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: it cannot be encoded.
    """
    return _encode(compact(value))


def compact(value: Any) -> Any:
    """Return a value that encodes without defaults: copies in place of records, at any depth of lists and maps."""
    kind = type(value)
    known = _TWINS.get(kind)
    if known is None:
        if kind is list:
            return [compact(each) for each in value]
        if kind is dict:
            return {name: compact(each) for name, each in value.items()}
        if not isinstance(value, Value):
            return value
        known = twin_of(kind)
    twin, nested = known
    copy = value.__copy__()
    for name in nested:
        setattr(copy, name, compact(getattr(copy, name)))
    copy.__class__ = twin
    return copy


def record_fields(kind: type[Value]) -> tuple[str, ...]:
    """Return the names of the fields of a record type that hold record types, also in lists and maps."""
    return twin_of(kind)[1]


def twin_of(kind: type[Value]) -> tuple[type, tuple[str, ...]]:
    """Return the class that encodes a record type without defaults, and the fields that hold record types."""
    if kind not in _TWINS:
        _TWINS[kind] = _twin(kind)
    return _TWINS[kind]


def _twin(kind: type[Value]) -> tuple[type, tuple[str, ...]]:
    twin = msgspec.defstruct(kind.__name__, (), bases=(kind,), omit_defaults=True)
    hints = get_type_hints(kind)
    return twin, tuple(name for name in kind.__struct_fields__ if _holds_records(hints[name]))


def _holds_records(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, Value):
        return True
    return any(_holds_records(part) for part in get_args(hint))
