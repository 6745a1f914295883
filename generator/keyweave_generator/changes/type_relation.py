"""Whether values that were stored as one type can be read as another."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from keyweave_generator.model import Field, RecordType, Schema, TypeKind, TypeRef

from .pairs import SchemaPair

_EXACT = 2**53
"""Integers up to here are exact as floats."""

_PLAIN = {"string", "id", "int", "float", "bool", "json"}


class Relation(enum.Enum):
    """How a new type reads what an old one wrote."""

    SAME = "the same values under the same name"
    RENAMED = "the same values under another name"
    WIDER = "all old values, and more"
    NARROWER = "some old values"
    OTHER = "old values not at all, or with another meaning"


def relation(pair: SchemaPair, old: Field, new: Field) -> Relation:
    """How the type of `new` reads values of `old`."""
    exact = all(isinstance(bound, int) and abs(bound) <= _EXACT for bound in (old.min, old.max))
    return _relation(pair, old.type, new.type, exact=exact)


def _relation(pair: SchemaPair, old: TypeRef, new: TypeRef, *, exact: bool) -> Relation:
    if old == new:
        return Relation.SAME
    if old.of is not None and new.of is not None and old.kind is new.kind:
        return _relation(pair, old.of, new.of, exact=False)
    if old.kind is TypeKind.SET and new.kind is TypeKind.LIST and old.of == new.of:
        return Relation.WIDER
    if new.name == "json":
        return Relation.WIDER if _is_plain(old, pair.old) else Relation.OTHER
    if old.name == "json":
        return Relation.NARROWER if _is_plain(new, pair.new) else Relation.OTHER
    if old.kind is TypeKind.RECORD and new.kind is TypeKind.RECORD:
        same = _record(pair.old, old).fields == _record(pair.new, new).fields
        return Relation.RENAMED if same else Relation.OTHER
    if old.name == "int" and new.name == "float":
        return Relation.WIDER if exact else Relation.OTHER
    return _text_relation(_values(pair.old, old), _values(pair.new, new))


def _text_relation(old: frozenset[str] | str | None, new: frozenset[str] | str | None) -> Relation:
    """How kinds of text read each other: a set of enum values is in `id`, which is in `string`."""
    if old is None or new is None:
        return Relation.OTHER
    if isinstance(old, frozenset) and isinstance(new, frozenset):
        if old == new:
            return Relation.RENAMED
        return Relation.WIDER if old < new else Relation.NARROWER if old & new else Relation.OTHER
    width: Mapping[str, int] = {"id": 1, "string": 2}
    before = width[old] if isinstance(old, str) else 0
    after = width[new] if isinstance(new, str) else 0
    return Relation.WIDER if before < after else Relation.NARROWER


def _values(schema: Schema, type_: TypeRef) -> frozenset[str] | str | None:
    if type_.kind is TypeKind.ENUM:
        return frozenset(next(each for each in schema.enums if each.name == type_.name).values)
    return type_.name if type_.name in ("string", "id") else None


def _record(schema: Schema, type_: TypeRef) -> RecordType:
    return next(each for each in schema.records if each.name == type_.name)


def _is_plain(type_: TypeRef, schema: Schema) -> bool:
    """Return whether values are stored as plain JSON, not as text in a format of their own."""
    if type_.of is not None:
        return _is_plain(type_.of, schema)
    if type_.kind is TypeKind.RECORD:
        return all(_is_plain(field.type, schema) for field in _record(schema, type_).fields)
    return type_.kind is TypeKind.ENUM or type_.name in _PLAIN
