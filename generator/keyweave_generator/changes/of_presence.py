"""Rules about the meaning of a value that is left out: null, a default, or nothing.

Documents leave out nulls, and values that equal the default. So a default is part of what is stored: another
default gives another meaning to every row that leaves the field out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from keyweave_generator.model import Field

from .finding import Category, Change, Effect, Level
from .pairs import FieldPair
from .rule import rule
from .wording import value_text


class Presence(enum.Enum):
    """The meaning of a document without the field."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    DEFAULT = "default"
    MANAGED = "managed"


def presence(field: Field) -> Presence:
    """The meaning of a document without `field`."""
    if field.managed is not None:
        return Presence.MANAGED
    if field.optional:
        return Presence.OPTIONAL
    return Presence.DEFAULT if field.has_default else Presence.REQUIRED


def _became(pair: FieldPair, old: Presence, new: Presence) -> bool:
    return presence(pair.old) is old and presence(pair.new) is new


@rule(
    "FIELD_MADE_OPTIONAL",
    FieldPair,
    Category.API,
    Level.WARNING,
    "A required field becomes optional.",
    Effect(
        code="The type of the field gains None.",
        deploy="Old code cannot read a row in which new code left the value out: CorruptDocumentError.",
        action="Deploy everywhere before anything writes null.",
    ),
)
def field_made_optional(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if _became(pair, Presence.REQUIRED, Presence.OPTIONAL):
        yield pair.change("optional", "was required and is optional")


@rule(
    "FIELD_MADE_REQUIRED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "An optional field becomes required.",
    Effect(
        code="The type of the field loses None, and code that creates a record has to pass it.",
        data="A row in which the value is null cannot be read: CorruptDocumentError.",
        deploy="Rows that old code writes with null cannot be read by new code.",
        action="Give it a value in every row while it is optional. Then ignore this with that reason, or give it a default.",
    ),
)
def field_made_required(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if _became(pair, Presence.OPTIONAL, Presence.REQUIRED):
        yield pair.change("optional", "was optional and is required")


@rule(
    "FIELD_DEFAULT_ADDED",
    FieldPair,
    Category.STORAGE,
    Level.WARNING,
    "A required field gets a default.",
    Effect(
        code="Callers need not pass it.",
        data="Rows that are written from now on leave out a value that equals the default.",
        deploy="Old code cannot read such a row: CorruptDocumentError.",
        action="Stop old code before new code writes.",
    ),
)
def field_default_added(pair: FieldPair) -> Iterator[Change]:
    """Yield the default."""
    if _became(pair, Presence.REQUIRED, Presence.DEFAULT):
        yield pair.change("default", f"now has a default: {value_text(pair.new.default)}")


@rule(
    "FIELD_DEFAULT_REMOVED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "A field loses its default and becomes required.",
    Effect(
        code="Code that creates a record has to pass it.",
        data="Rows leave out a value that equals the default. They can no longer be read: CorruptDocumentError.",
        deploy="Rows that old code writes cannot be read by new code.",
        action="Keep the default.",
    ),
)
def field_default_removed(pair: FieldPair) -> Iterator[Change]:
    """Yield the lost default."""
    if _became(pair, Presence.DEFAULT, Presence.REQUIRED):
        yield pair.change("default", f"no longer has a default; it was {value_text(pair.old.default)}")


@rule(
    "FIELD_DEFAULT_CHANGED",
    FieldPair,
    Category.SEMANTIC,
    Level.ERROR,
    "A field gets another default.",
    Effect(
        code="Callers that do not pass the field store another value.",
        data="Rows leave out a value that equals the default. They read as the new default: stored values change.",
        deploy="Old and new code read different values from the same row.",
        action="Keep the default and pass the value. Or add a field with the new default.",
    ),
)
def field_default_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the two defaults."""
    if _became(pair, Presence.DEFAULT, Presence.DEFAULT) and pair.old.default != pair.new.default:
        old, new = value_text(pair.old.default), value_text(pair.new.default)
        yield pair.change("default", f"the default was {old} and is {new}")


@rule(
    "FIELD_NULL_BECOMES_DEFAULT",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "An optional field becomes required, with a default.",
    Effect(
        code="The type of the field loses None.",
        data="Rows in which the value is null read as the default.",
        deploy="Old code reads null where new code reads or stores the default.",
        action="Review the code that distinguishes null from a value.",
    ),
)
def field_null_becomes_default(pair: FieldPair) -> Iterator[Change]:
    """Yield the default."""
    if _became(pair, Presence.OPTIONAL, Presence.DEFAULT):
        yield pair.change("default", f"was optional and has the default {value_text(pair.new.default)}")


@rule(
    "FIELD_DEFAULT_BECOMES_NULL",
    FieldPair,
    Category.SEMANTIC,
    Level.ERROR,
    "A field loses its default and becomes optional.",
    Effect(
        code="The type of the field gains None.",
        data="Rows leave out a value that equals the default. They read as null: stored values are lost.",
        deploy="Old code reads the default where new code reads null.",
        action="Keep the default. Or add an optional field and copy the values.",
    ),
)
def field_default_becomes_null(pair: FieldPair) -> Iterator[Change]:
    """Yield the lost default."""
    if _became(pair, Presence.DEFAULT, Presence.OPTIONAL):
        yield pair.change("optional", f"had the default {value_text(pair.old.default)} and is optional")


@rule(
    "FIELD_MANAGED_CHANGED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "A field becomes managed, stops being managed, or shows another managed value.",
    Effect(
        code="The store sets the field instead of the caller, or the reverse.",
        data="Managed values are not among a document's fields. A field that becomes managed loses what was stored; "
        "one that was managed is absent from every row.",
        deploy="Old and new code show different values for one row.",
        action="Add a field instead, and copy the values.",
    ),
)
def field_managed_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the two states."""
    if pair.old.managed is not pair.new.managed:
        old, new = _managed_text(pair.old), _managed_text(pair.new)
        yield pair.change("managed", f"was {old} and is {new}")


def _managed_text(field: Field) -> str:
    return f"managed as {field.managed.value}" if field.managed is not None else "not managed"
