"""Rules about checks. A check applies when a row is written, not when it is read."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Category, Change, Effect, Level, Side
from .pairs import CheckPair, EntityPair, added
from .rule import rule


@rule(
    "CHECK_ADDED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "An entity that may have rows gets a check.",
    Effect(
        code="A write that breaks it raises CheckViolationError.",
        data="A stored row that breaks it can be read, but not written until it is corrected.",
        deploy="Old code writes rows that break it.",
        action="Correct the rows that break it, at the latest when they are written.",
    ),
)
def check_added(pair: EntityPair) -> Iterator[Change]:
    """Yield each check that is new."""
    for check in added(pair.old.checks, pair.new.checks):
        message = f"check {check.name} is new: {check.rule.source}"
        yield pair.change(Side.NEW, ("checks", check.name), check.name, message)


@rule(
    "CHECK_REMOVED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A check is removed or renamed.",
    Effect(
        code="A write that would break it is accepted.",
        data="Rows may appear that other code does not expect.",
        deploy="Old code reads such a row, and refuses to write it.",
        action="Review the code that relies on the rule.",
    ),
)
def check_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield each check that is gone."""
    for check in added(pair.new.checks, pair.old.checks):
        message = f"check {check.name} is removed: {check.rule.source}"
        yield pair.change(Side.OLD, ("checks", check.name), check.name, message)


@rule(
    "CHECK_CHANGED",
    CheckPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A check has another rule. Its text does not show whether it is stricter.",
    Effect(
        code="Writes that were accepted are refused, or the reverse.",
        data="A stored row that breaks it can be read, but not written until it is corrected.",
        deploy="Old and new code accept different rows.",
        action="If it is stricter, correct the rows that break it, at the latest when they are written.",
    ),
)
def check_changed(pair: CheckPair) -> Iterator[Change]:
    """Yield a rule whose text differs, that uses a set whose members differ, or that is evaluated in another way."""
    old, new = pair.entity.owner.now_in(pair.old.rule.source), " ".join(pair.new.rule.source.split())
    moved = pair.entity.moved_set(new)
    message = ""
    if old != new:
        message = f"check {pair.new.name} was: {old}; it is now: {new}"
    elif moved:
        message = f"check {pair.new.name} uses {moved}, which has other members"
    elif pair.entity.owner.means_another(pair.old.rule, pair.new.rule):
        message = f"check {pair.new.name} reads the same and means something else: {new}"
    if message:
        path = ("checks", pair.new.name, "rule")
        yield pair.entity.change(Side.NEW, path, pair.new.name, message)
