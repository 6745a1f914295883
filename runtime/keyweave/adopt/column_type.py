"""The type of a column becomes the type of a field: what it is, how its values are read, and what is lost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from keyweave.adopt.catalog import Column, SqlType
from keyweave.adopt.design import DECIDED, LOST, Note
from keyweave.adopt.yaml import writable

SHORT_INTS: Final = {"int2", "int4"}
_FLOATS: Final = {"float4", "float8"}
_TEXTS: Final = {"text", "varchar", "bpchar", "name", "char", "citext"}
_SIMPLE: Final = {
    "bool": "bool",
    "date": "date",
    "time": "time",
    "timestamptz": "datetime",
    "timestamp": "datetime",
    "interval": "duration",
    "uuid": "uuid",
    "bytea": "bytes",
    "json": "json",
    "jsonb": "json",
}
AS_TEXT: Final = frozenset(
    "inet cidr macaddr macaddr8 xml bit varbit money point line lseg box path polygon circle tsvector tsquery hstore ltree "
    "timetz oid regclass regtype regproc pg_lsn xid xid8 tid cid int2vector oidvector jsonpath".split()
)
"""Types without a twin, whose text says everything."""

MOST_EXACT: Final = 18
"""Digits of a numeric without places that an int holds."""


_DIGITS: Final = Note(LOST, "digits of fractions in JSON beyond those of a double: such a row is reported")


@dataclass(slots=True)
class FieldType:
    """What a column becomes: attributes of the field, how values are read, and the notes."""

    attributes: dict[str, Any]
    kind: str
    notes: list[Note] = field(default_factory=list)


def field_type(column: Column, *, as_text: Collection[str], enum: str | None) -> FieldType | None:
    """Return the type of a field for a column; None for a type of which nothing is known.

    Args:
        column: the column.
        as_text: names of further types that are kept as text.
        enum: name of the schema's enum for a column of an enum type; None if its labels cannot be one.
    """
    type_ = column.type
    found = _scalar(type_, as_text, enum)
    if found is None:
        return None
    if type_.domain:
        found.notes.append(
            Note(DECIDED, f"the domain {type_.domain} is written out: it is {type_.shown} here")
        )
    if type_.array:
        found = _list_of(found)
    return found


def key_type(column: Column, found: FieldType, *, composite: bool) -> FieldType:
    """Return the type of a field that identifies rows, or refers to one: an int, uuid or text; a part also an enum."""
    type_ = column.type
    base = found.attributes["type"]
    if base in ("int", "uuid") or (composite and (base == "string" or found.kind == "enum")):
        return found
    if base == "string":
        note = Note(
            LOST, "an empty text: a key has at least one character; a row with an empty one is reported"
        )
        return FieldType({**found.attributes, "type": _text_key(composite)}, found.kind, [*found.notes, note])
    if type_.name == "numeric" and not type_.array and 0 < type_.precision <= MOST_EXACT and type_.scale == 0:
        note = Note(
            DECIDED,
            f"{type_.shown} without places is an int here, because it identifies a row or refers to one",
        )
        return FieldType({"type": "int"}, "int", [note])
    if found.kind == "enum":
        note = Note(LOST, f"the values of {type_.shown}: a key is text")
        return FieldType({"type": _text_key(composite)}, "string", [note])
    note = Note(
        LOST, f"the type {type_.shown}: a key is an int, uuid or text, so this one is the text of the value"
    )
    return FieldType({"type": _text_key(composite)}, "text", [note])


def _text_key(composite: bool) -> str:
    """The type of a text that identifies rows: a part of a key may be empty."""
    return "string" if composite else "id"


def _scalar(type_: SqlType, as_text: Collection[str], enum: str | None) -> FieldType | None:
    name = type_.name
    if type_.kind == "e":
        if enum is not None:
            note = Note(LOST, f"the order of the values of {type_.shown}: an enum here has none")
            return FieldType({"type": enum}, "enum", [note])
        note = Note(LOST, f"the values of {type_.shown}: one of them cannot be a value of an enum here")
        return FieldType({"type": "string"}, "string", [note])
    if type_.kind == "c":
        return FieldType(
            {"type": "json"}, "composite", [Note(LOST, f"the types of the members of {type_.shown}")]
        )
    if type_.kind in ("r", "m"):
        return _text(type_)
    if name in SHORT_INTS or name == "int8":
        return FieldType({"type": "int"}, "int")
    if name in _FLOATS:
        return FieldType({"type": "float"}, "float")
    if name == "numeric":
        return _decimal(type_)
    if name in _TEXTS:
        return _string(type_)
    if name in _SIMPLE:
        return _simple(type_)
    if name in AS_TEXT or {name, type_.shown, type_.shown.rpartition(".")[2]} & set(as_text):
        return _text(type_)
    return None


def _simple(type_: SqlType) -> FieldType:
    kind = _SIMPLE[type_.name]
    found = FieldType({"type": kind}, kind)
    if type_.name == "timestamp":
        found.kind = "local"
        found.notes = [Note(DECIDED, "timestamp without time zone: taken as UTC")]
    elif type_.name == "interval":
        found.notes = [
            Note(LOST, "months of an interval: a duration has days and less; a row with months is reported"),
            Note(DECIDED, "a day of an interval is 24 hours"),
        ]
    elif type_.name == "json":
        found.notes = [
            _DIGITS,
            Note(LOST, "the text of json: white space, and all but the last of equal names"),
        ]
    elif type_.name == "jsonb":
        found.notes = [_DIGITS]
    return found


def _decimal(type_: SqlType) -> FieldType:
    if not type_.precision:
        note = Note(DECIDED, "numeric without limits: up to 1,000 digits; a number with more is reported")
        return FieldType({"type": "decimal"}, "decimal", [note])
    digits, places = type_.precision, max(0, type_.scale)
    notes = []
    if type_.scale < 0:
        digits -= type_.scale
        notes = [Note(LOST, f"{type_.shown}: values are not rounded to {10 ** -type_.scale:,}")]
    elif type_.scale > type_.precision:
        digits = type_.scale
        notes = [Note(LOST, f"{type_.shown}: larger fractions are accepted")]
    if digits > 1000:
        notes.append(
            Note(LOST, f"{type_.shown}: a decimal has up to 1,000 digits; one with more is reported")
        )
        return FieldType({"type": "decimal"}, "decimal", notes)
    return FieldType({"type": "decimal", "digits": digits, "places": places}, "decimal", notes)


def _string(type_: SqlType) -> FieldType:
    found = FieldType({"type": "string"}, "string")
    if type_.length:
        found.attributes["max_length"] = type_.length
    if type_.name == "bpchar":
        found.notes = [
            Note(
                LOST,
                f"{type_.shown}: spaces at the end, which PostgreSQL ignores; values come without them, and here they count",
            )
        ]
    elif type_.name == "citext":
        found.notes = [Note(LOST, "citext: only unique constraints ignore case")]
    return found


def _text(type_: SqlType) -> FieldType:
    return FieldType(
        {"type": "string"},
        "text",
        [Note(LOST, f"the type {type_.shown}: its operators; the field is the text of the value")],
    )


def _list_of(found: FieldType) -> FieldType:
    attributes = {"type": "list", "of": found.attributes["type"]}
    notes = [
        note for note in found.notes if note.kind == LOST or "UTC" in note.text or "24 hours" in note.text
    ]
    limits = [f"{key} {value}" for key, value in found.attributes.items() if key != "type"]
    if limits:
        notes.append(Note(LOST, f"limits of the elements: {', '.join(limits)}"))
    notes.append(Note(LOST, "arrays with null elements, or of several dimensions: such a row is reported"))
    kind = "composite_list" if found.kind == "composite" else f"list:{found.kind}"
    return FieldType(attributes, kind, notes)


def enum_values(values: Collection[str]) -> bool:
    """Return whether texts can be the values of an enum."""
    return bool(values) and all(value and len(value) <= 200 and writable(value) for value in values)
