"""Rules about references and trees. A reference is checked when it is written, and followed when its target is deleted."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.model import Reference

from .finding import Category, Change, Effect, Level, Side
from .of_generation import BACKFILL
from .pairs import EntityPair, ReferencePair
from .rule import rule


def _added(pair: EntityPair) -> list[Reference]:
    before = {*pair.now(each.field for each in pair.old.references)}
    return [each for each in pair.new.references if each.field not in before]


def _removed(pair: EntityPair) -> list[Reference]:
    after = {each.field for each in pair.new.references}
    return [each for each in pair.old.references if pair.now((each.field,))[0] not in after]


@rule(
    "REFERENCE_ADDED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A field becomes a reference.",
    Effect(
        code="Writing a reference to a row that does not exist raises ReferenceViolationError. "
        "Deleting the other row cascades, or is refused.",
        data="Stored references are not checked; some may refer to rows that do not exist.",
        deploy="Old code writes references unchecked, and deletes without cascade.",
        action="Deploy everywhere, build the view that finds the rows if it is new, then check.",
        commands=(*BACKFILL, "keyweave check"),
    ),
)
def reference_added(pair: EntityPair) -> Iterator[Change]:
    """Yield each reference that is new."""
    for each in _added(pair):
        message = f"{each.field} now refers to {each.entity}, {each.on_delete.value} on delete"
        yield pair.change(Side.NEW, ("references", each.field), each.field, message)


@rule(
    "REFERENCE_REMOVED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A field is no longer a reference.",
    Effect(
        code="Nothing checks that the other row exists. Deleting it leaves these rows.",
        data="Rows stay when the row that they refer to is deleted.",
        deploy="Old code continues to check and to cascade.",
        action="Make sure that other code deletes the rows.",
    ),
)
def reference_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield each reference that is gone."""
    for each in _removed(pair):
        message = f"{each.field} no longer refers to {each.entity}"
        yield pair.change(Side.OLD, ("references", each.field), each.field, message)


@rule(
    "REFERENCE_TARGET_CHANGED",
    ReferencePair,
    Category.SEMANTIC,
    Level.ERROR,
    "A reference has another target entity.",
    Effect(
        code="Writing a key of the old entity raises ReferenceViolationError.",
        data="Stored values are keys of the old entity: they refer to no row, or to a row that happens to have the same key.",
        deploy="Old and new code refuse each other's references.",
        action="Add a field with the new reference, and remove the old one.",
    ),
)
def reference_target_changed(pair: ReferencePair) -> Iterator[Change]:
    """Yield the two entities."""
    if pair.old.entity != pair.new.entity:
        yield _change(pair, "entity", f"referred to {pair.old.entity} and refers to {pair.new.entity}")


@rule(
    "REFERENCE_ON_DELETE_CHANGED",
    ReferencePair,
    Category.SEMANTIC,
    Level.WARNING,
    "Deleting the row that is referred to has another effect.",
    Effect(
        code="A delete that was refused now deletes these rows too, or the reverse.",
        deploy="The effect of a delete depends on which code runs it.",
        action="Review every delete of the other entity.",
    ),
)
def reference_on_delete_changed(pair: ReferencePair) -> Iterator[Change]:
    """Yield the two actions."""
    if pair.old.on_delete is not pair.new.on_delete:
        old, new = pair.old.on_delete.value, pair.new.on_delete.value
        yield _change(pair, "on_delete", f"on_delete was {old} and is {new}")


@rule(
    "REFERENCE_VIA_CHANGED",
    ReferencePair,
    Category.INDEX,
    Level.WARNING,
    "Another view finds the rows that refer to a deleted one.",
    Effect(
        code="Deletes read the other view.",
        data="Rows that the other view misses are not found by a delete.",
        deploy="Old and new code read different views.",
        action="Build the view before rows are deleted.",
        commands=BACKFILL,
    ),
)
def reference_via_changed(pair: ReferencePair) -> Iterator[Change]:
    """Yield the two views."""
    if pair.old.via != pair.new.via:
        yield _change(pair, "via", f"used the view {pair.old.via} and uses {pair.new.via}")


def _change(pair: ReferencePair, key: str, message: str) -> Change:
    field = pair.new.field
    return pair.entity.change(Side.NEW, ("references", field, key), field, f"reference {field} {message}")


@rule(
    "HIERARCHY_ADDED",
    EntityPair,
    Category.SAFE,
    Level.INFO,
    "An entity becomes a tree.",
    Effect(code="Gets a method that reads the tree under a row."),
)
def hierarchy_added(pair: EntityPair) -> Iterator[Change]:
    """Yield the new tree."""
    if pair.old.hierarchy is None and pair.new.hierarchy is not None:
        yield pair.change(Side.NEW, ("hierarchy",), "", f"is now a tree by {pair.new.hierarchy.parent}")


@rule(
    "HIERARCHY_REMOVED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "An entity is no longer a tree.",
    Effect(
        code="The method that reads the tree under a row is gone.", action="Change the code that calls it."
    ),
)
def hierarchy_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield the lost tree."""
    if pair.old.hierarchy is not None and pair.new.hierarchy is None:
        yield pair.change(Side.OLD, ("hierarchy",), "", f"is no longer a tree by {pair.old.hierarchy.parent}")


@rule(
    "HIERARCHY_CHANGED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "The tree of an entity uses another field or another view.",
    Effect(
        code="The method that reads the tree finds other rows.",
        deploy="Old and new code read different trees.",
        action="Review the code that reads the tree. Build the view before.",
        commands=BACKFILL,
    ),
)
def hierarchy_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield the two trees; a renamed field is the same."""
    old, new = pair.old.hierarchy, pair.new.hierarchy
    if old is None or new is None:
        return
    if (*pair.now((old.parent,)), old.via) != (new.parent, new.via):
        message = f"the tree was by {old.parent} via {old.via} and is by {new.parent} via {new.via}"
        yield pair.change(Side.NEW, ("hierarchy",), "", message)
