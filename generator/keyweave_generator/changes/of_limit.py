"""Rules about the values that a field accepts, and how they are changed. Limits apply to readers too, not only to writers."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from keyweave_generator.model import Field

from .finding import Category, Change, Effect, Level
from .pairs import FieldPair
from .rule import rule
from .type_relation import Relation, relation
from .wording import value_text

_LEAST = ("min", "min_length")
_MOST = ("max", "max_length")


class _Move(enum.Enum):
    TIGHTENED = "tightened"
    LOOSENED = "loosened"
    RESTATED = "restated"


def _limit(field: Field, name: str) -> Any:
    """The limit that applies, including the limit of the type."""
    value: Any = getattr(field, name)
    if name == "min_length":
        return max(value or 0, 1 if field.type.name == "id" else 0)
    return value


def _moves(pair: FieldPair) -> Iterator[tuple[str, _Move]]:
    """The limits that differ, and how. A type that cannot read the old one has another finding."""
    if relation(pair.owner.schema, pair.old, pair.new) is Relation.OTHER:
        return
    for name in ("min_length", "max_length") if _is_decimal(pair) else (*_LEAST, *_MOST):
        if getattr(pair.old, name) == getattr(pair.new, name):
            continue
        old, new = _limit(pair.old, name), _limit(pair.new, name)
        if old == new:
            yield name, _Move.RESTATED
        elif new is not None and (old is None or (new > old if name in _LEAST else new < old)):
            yield name, _Move.TIGHTENED
        else:
            yield name, _Move.LOOSENED


def _is_decimal(pair: FieldPair) -> bool:
    return pair.old.type.name == pair.new.type.name == "decimal"


def _decimal_moves(pair: FieldPair) -> Iterator[tuple[Change, bool]]:
    """The limits of a decimal that differ, each with whether it excludes values that were accepted."""
    if not _is_decimal(pair):
        return
    for name in ("digits", "places", "min", "max"):
        old, new = getattr(pair.old, name), getattr(pair.new, name)
        if old == new:
            continue
        least = name == "min"
        tighter = new is not None and (old is None or (new > old if least else new < old))
        # Places take room from the digits before the point.
        tighter = tighter or (name == "places" and pair.old.digits == pair.new.digits and new is not None)
        text = f"{name} was {value_text(old)} and is {value_text(new)}"
        yield pair.change(name, text), tighter


def _changes(pair: FieldPair, wanted: _Move) -> Iterator[Change]:
    for name, move in _moves(pair):
        if move is wanted:
            old, new = value_text(getattr(pair.old, name)), value_text(getattr(pair.new, name))
            yield pair.change(name, f"{name} was {old} and is {new}")


@rule(
    "FIELD_LIMIT_TIGHTENED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "A field accepts fewer values: min, max, min_length or max_length.",
    Effect(
        code="Writing a value beyond the limit raises ValidationError.",
        data="A stored row beyond the limit cannot be read: CorruptDocumentError.",
        deploy="Rows that old code writes may not be readable by new code.",
        action="Make every stored value and every writer fit. Then ignore this with that reason. "
        "Or keep the limit and add a check, which applies only to writers.",
    ),
)
def field_limit_tightened(pair: FieldPair) -> Iterator[Change]:
    """Yield each limit that excludes more."""
    yield from _changes(pair, _Move.TIGHTENED)


@rule(
    "FIELD_LIMIT_LOOSENED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A field accepts more values: min, max, min_length or max_length.",
    Effect(
        deploy="Old code cannot read a row beyond its own limit: CorruptDocumentError.",
        action="Deploy everywhere before anything writes such a value.",
    ),
)
def field_limit_loosened(pair: FieldPair) -> Iterator[Change]:
    """Yield each limit that excludes less."""
    yield from _changes(pair, _Move.LOOSENED)


@rule(
    "FIELD_LIMIT_RESTATED",
    FieldPair,
    Category.SAFE,
    Level.INFO,
    "A limit that already applied is written out, or the reverse.",
)
def field_limit_restated(pair: FieldPair) -> Iterator[Change]:
    """Yield each limit that excludes what it did before."""
    yield from _changes(pair, _Move.RESTATED)


@rule(
    "FIELD_DECIMAL_NARROWED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A decimal accepts fewer values: digits, places, min or max. More places with as many digits leave fewer before the point.",
    Effect(
        code="Writing a value beyond the limit raises ValidationError.",
        data="A stored row beyond the limit is read as it is; the next write of the row is refused until the value fits.",
        deploy="Old code writes rows that new code cannot write back.",
        action="Make every stored value and every writer fit.",
    ),
)
def field_decimal_narrowed(pair: FieldPair) -> Iterator[Change]:
    """Yield each limit that excludes more."""
    yield from (change for change, tighter in _decimal_moves(pair) if tighter)


@rule(
    "FIELD_DECIMAL_WIDENED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A decimal accepts more values: digits, places, min or max.",
    Effect(
        deploy="Old code reads a row beyond its own limit, and cannot write it back.",
        action="Deploy everywhere before anything writes such a value.",
    ),
)
def field_decimal_widened(pair: FieldPair) -> Iterator[Change]:
    """Yield each limit that excludes less."""
    yield from (change for change, tighter in _decimal_moves(pair) if not tighter)


@rule(
    "FIELD_PATTERN_CHANGED",
    FieldPair,
    Category.STORAGE,
    Level.ERROR,
    "A field gets a pattern, or another one.",
    Effect(
        code="Writing a value that does not match raises ValidationError.",
        data="A stored row that does not match cannot be read: CorruptDocumentError.",
        deploy="Old and new code may not be able to read each other's rows.",
        action="Make every stored value and every writer match. Then ignore this with that reason.",
    ),
)
def field_pattern_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the new pattern."""
    if pair.new.pattern is not None and pair.old.pattern != pair.new.pattern:
        old, new = value_text(pair.old.pattern), value_text(pair.new.pattern)
        yield pair.change("pattern", f"the pattern was {old} and is {new}")


@rule(
    "FIELD_PATTERN_REMOVED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A field loses its pattern.",
    Effect(
        deploy="Old code cannot read a row that does not match: CorruptDocumentError.",
        action="Deploy everywhere before anything writes such a value.",
    ),
)
def field_pattern_removed(pair: FieldPair) -> Iterator[Change]:
    """Yield the lost pattern."""
    if pair.old.pattern is not None and pair.new.pattern is None:
        yield pair.change("pattern", f"no longer has a pattern; it was {value_text(pair.old.pattern)}")


@rule(
    "FIELD_TRIM_CHANGED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "White space around a text is removed when it is stored, or no longer removed.",
    Effect(
        code="A write changes the value, or leaves it as it is.",
        data="Stored values stay as they are until the row is written.",
        deploy="Old and new code store the same text differently, so unique values and views may treat them as different.",
        action="Rewrite the rows when no old code runs.",
        commands=("keyweave migrate-documents",),
    ),
)
def field_trim_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.old.trim != pair.new.trim:
        yield pair.change("trim", "is now trimmed" if pair.new.trim else "is no longer trimmed")


@rule(
    "FIELD_DERIVATION_CHANGED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "The value that replaces a zero (`when_zero`) is added, changed or removed.",
    Effect(
        code="A write that leaves the field at zero stores another value.",
        data="Stored values stay as they are; a stored zero is replaced when the row is written.",
        deploy="Old and new code store different values.",
        action="Rewrite the rows if stored zeros have to be replaced.",
        commands=("keyweave migrate-documents",),
    ),
)
def field_derivation_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the two expressions."""
    old = pair.owner.now_in(pair.old.when_zero.source) if pair.old.when_zero else None
    new = " ".join(pair.new.when_zero.source.split()) if pair.new.when_zero else None
    if old != new:
        yield pair.change("when_zero", f"when_zero was {value_text(old)} and is {value_text(new)}")


@rule(
    "FIELD_SECRET_ADDED",
    FieldPair,
    Category.SAFE,
    Level.INFO,
    "A field becomes secret.",
    Effect(code="The value is left out of repr."),
)
def field_secret_added(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.new.secret and not pair.old.secret:
        yield pair.change("secret", "is now secret")


@rule(
    "FIELD_SECRET_REMOVED",
    FieldPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A field is no longer secret.",
    Effect(
        code="The value appears in repr, and so in logs and traces of programs that print records.",
        action="Make sure that the value may be seen.",
    ),
)
def field_secret_removed(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.old.secret and not pair.new.secret:
        yield pair.change("secret", "is no longer secret")
