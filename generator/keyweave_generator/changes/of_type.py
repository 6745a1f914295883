"""Rules about the type of a field: whether new code can read what old code stored, and the reverse."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Category, Change, Effect, Level
from .pairs import FieldPair
from .rule import rule
from .type_relation import Relation, relation
from .wording import type_text


def _changes(pair: FieldPair, wanted: Relation) -> Iterator[Change]:
    if relation(pair.owner.schema, pair.old, pair.new) is wanted:
        yield pair.change(
            "type", f"the type was {type_text(pair.old.type)} and is {type_text(pair.new.type)}"
        )


@rule(
    "FIELD_TYPE_CHANGED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "The new type cannot read what the old one stored, or reads it with another meaning.",
    Effect(
        code="The field has another type.",
        data="Stored rows cannot be read, or lose their values.",
        deploy="Old and new code cannot read each other's rows.",
        action="Add a field with the new type, copy the values, then remove the old one.",
    ),
)
def field_type_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield types that do not read each other."""
    yield from _changes(pair, Relation.OTHER)


@rule(
    "FIELD_TYPE_NARROWED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "The new type reads only some of the values that the old one allowed.",
    Effect(
        code="The field has another type.",
        data="A row whose value does not fit cannot be read: CorruptDocumentError.",
        deploy="Rows that old code writes may not be readable by new code.",
        action="Make every stored value and every writer fit. Then ignore this with that reason.",
    ),
)
def field_type_narrowed(pair: FieldPair) -> Iterator[Change]:
    """Yield types that became narrower."""
    yield from _changes(pair, Relation.NARROWER)


@rule(
    "FIELD_TYPE_WIDENED",
    FieldPair,
    Category.API,
    Level.WARNING,
    "The new type reads all values of the old one, and allows more.",
    Effect(
        code="The field has another type.",
        data="Stored rows are read as they are.",
        deploy="Old code cannot read a row with a value that its type does not allow: CorruptDocumentError.",
        action="Deploy everywhere before anything writes such a value.",
    ),
)
def field_type_widened(pair: FieldPair) -> Iterator[Change]:
    """Yield types that became wider."""
    yield from _changes(pair, Relation.WIDER)


@rule(
    "FIELD_TYPE_RENAMED",
    FieldPair,
    Category.API,
    Level.WARNING,
    "The type is an enum or record with the same values under another name.",
    Effect(code="The values have another class.", action="Change the code that names it."),
)
def field_type_renamed(pair: FieldPair) -> Iterator[Change]:
    """Yield types that only have another name."""
    yield from _changes(pair, Relation.RENAMED)
