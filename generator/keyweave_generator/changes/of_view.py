"""Rules about views, and the entries of their rows.

Old and new code write the entries of their own schema; `of_generation` keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keyweave_generator.costs import view_cost
from keyweave_generator.model import Expression, Field, TypeKind

from .finding import Category, Change, Effect, Level, Side
from .of_generation import BACKFILL, DROP
from .of_presence import Presence, presence
from .pairs import EntityPair, FieldPair, ViewPair, added
from .rule import rule
from .wording import condition_text, direction_text, fields_text, order_text, selecting_text, value_text


@rule(
    "VIEW_ADDED",
    EntityPair,
    Category.INDEX,
    Level.WARNING,
    "An entity that may have rows gets a view.",
    Effect(
        code="Gets list, iterate, fetch and count methods. They raise ViewNotBuiltError until the view is built.",
        data="Stored rows are not in the view until it is built.",
        deploy="Rows that old code writes are not in the view. Old code leaves its entries alone.",
        action="Deploy everywhere, then build the view.",
        commands=BACKFILL,
    ),
)
def view_added(pair: EntityPair) -> Iterator[Change]:
    """Yield each view that is new, with what it costs."""
    for view in added(pair.old.views, pair.new.views):
        message = f"view {view.name} is new: {fields_text(view.fields)}, ordered by {order_text(view)}"
        yield pair.change(Side.NEW, ("views", view.name), view.name, message, cost=view_cost(pair.new, view))


@rule(
    "VIEW_REMOVED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "A view is removed or renamed.",
    Effect(
        code="Its list, iterate, fetch and count methods are gone.",
        data="Its entries stay on the server and take memory until they are dropped.",
        deploy="New code does not keep the view up to date, so old code that reads it misses rows.",
        action="Stop reading it one release earlier. Deploy everywhere, then drop it.",
        commands=DROP,
    ),
)
def view_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield each view that is gone."""
    for view in added(pair.new.views, pair.old.views):
        yield pair.change(Side.OLD, ("views", view.name), view.name, f"view {view.name} is removed")


@rule(
    "VIEW_FIELDS_CHANGED",
    ViewPair,
    Category.INDEX,
    Level.WARNING,
    "A view has other fields, or the same in another order.",
    Effect(
        code="Its methods take other arguments. They raise ViewNotBuiltError until the view is built.",
        data="Under a new generation, stored rows are not in the view until it is built.",
        deploy="Under a new generation, old code continues with the old keys. Rows that it writes are not in the new ones.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def view_fields_changed(pair: ViewPair) -> Iterator[Change]:
    """Yield the two lists of fields; renamed fields are the same."""
    old_each = pair.entity.now((pair.old.each,)) if pair.old.each is not None else ()
    new_each = (pair.new.each,) if pair.new.each is not None else ()
    same = pair.entity.now(pair.old.fields) == pair.new.fields
    if not same or old_each != new_each:
        old = selecting_text(pair.old.fields, pair.old.each)
        new = selecting_text(pair.new.fields, pair.new.each)
        message = f"view {pair.new.name} was over {old} and is over {new}"
        yield _change(pair, "each" if same else "fields", message)


@rule(
    "VIEW_CONDITION_CHANGED",
    ViewPair,
    Category.INDEX,
    Level.WARNING,
    "A view gets, loses or changes its condition, `where`.",
    Effect(
        code="Other rows are in the view. Its methods raise ViewNotBuiltError until the view is built.",
        data="Under a new generation, stored rows are not in the view until it is built.",
        deploy="Under a new generation, old code continues with the old keys. Rows that it writes are not in the new ones.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def view_condition_changed(pair: ViewPair) -> Iterator[Change]:
    """Yield the two conditions."""
    message = condition_message(pair.entity, pair.old.where, pair.new.where)
    if message:
        yield _change(pair, "where", f"view {pair.new.name} {message}")


@rule(
    "VIEW_ORDER_CHANGED",
    ViewPair,
    Category.INDEX,
    Level.WARNING,
    "A view has another order.",
    Effect(
        code="Pages come in another order. Earlier cursors are refused or skip rows.",
        data="Under a new generation, stored rows are not in the view until it is built.",
        deploy="Under a new generation, old code continues with the old keys. Rows that it writes are not in the new ones.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def view_order_changed(pair: ViewPair) -> Iterator[Change]:
    """Yield the two orders; a renamed field is the same."""
    old, new = pair.old, pair.new
    same = old.order is new.order and pair.entity.now((old.order_field or "",)) == (new.order_field or "",)
    if not same:
        message = f"view {new.name} was ordered by {order_text(old)} and is by {order_text(new)}"
        yield _change(pair, "order", message)


@rule(
    "VIEW_DIRECTION_CHANGED",
    ViewPair,
    Category.API,
    Level.WARNING,
    "A view is read in the other direction.",
    Effect(
        code="Pages begin at the other end. Cursors of earlier pages are refused: InvalidCursorError.",
        data="Entries stay as they are.",
        deploy="A client whose pages come from old and new code gets refused cursors.",
        action="Call reverse() where the former direction is needed, and begin paging anew.",
    ),
)
def view_direction_changed(pair: ViewPair) -> Iterator[Change]:
    """Yield the two directions of one order; another order has a direction of its own."""
    old, new = pair.old, pair.new
    same = old.order is new.order and pair.entity.now((old.order_field or "",)) == (new.order_field or "",)
    if same and old.ascending != new.ascending:
        message = f"view {new.name} was {direction_text(old)} and is {direction_text(new)}"
        yield pair.entity.change(Side.NEW, ("views", new.name, "order"), new.name, message)


@rule(
    "VIEW_ENTRIES_CHANGED",
    ViewPair,
    Category.INDEX,
    Level.WARNING,
    "A field of a view reads differently from stored rows, so the rows have other entries.",
    Effect(
        data="Rows that were stored before are in the view under their old values, or not at all.",
        deploy="Old and new code write different entries for one row.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def view_entries_changed(pair: ViewPair) -> Iterator[Change]:
    """Yield the view once for each of its fields that reads differently, unless it gets a later generation."""
    if pair.new.generation > pair.old.generation:
        return
    new = pair.new
    where = new.where.fields if new.where is not None else ()
    names = dict.fromkeys([*new.fields, *filter(None, (new.order_field, new.each)), *where])
    for field, reason in reread(pair.entity, names):
        yield _change(pair, "fields", f"view {pair.new.name}: {field} {reason}")


def _change(pair: ViewPair, key: str, message: str) -> Change:
    entity = pair.entity
    path = ("views", pair.new.name, key)
    return entity.change(Side.NEW, path, pair.new.name, message, cost=view_cost(entity.new, pair.new))


def condition_message(entity: EntityPair, old: Expression | None, new: Expression | None) -> str:
    """How the condition of an index changed, also by the members of a set; empty if it did not."""
    before = entity.owner.now_in(old.source) if old is not None else None
    after = " ".join(new.source.split()) if new is not None else None
    if before != after:
        return f"was over {condition_text(before)} and is over {condition_text(after)}"
    moved = entity.moved_set(after or "")
    if moved:
        return f"has a condition on {moved}, which has other members"
    if old is not None and new is not None and entity.owner.means_another(old, new):
        return f"has a condition that reads the same and means something else: {after}"
    return ""


def reread(entity: EntityPair, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The fields of `names` that give stored rows other index entries, each with the reason."""
    for name in names:
        pair = entity.field_pair(name)
        reason = (_reason(pair) or _reference_reason(entity, pair)) if pair is not None else ""
        if reason:
            yield name, reason


def _reason(pair: FieldPair) -> str:
    old, new = presence(pair.old), presence(pair.new)
    if _text_kind(pair.old) != _text_kind(pair.new):
        return f"was {pair.old.type.name} and is {pair.new.type.name}, which is written differently in index keys"
    if new is Presence.DEFAULT and old is Presence.OPTIONAL:
        return f"was null in some rows and reads as {value_text(pair.new.default)} there"
    if new is Presence.OPTIONAL and old is Presence.DEFAULT:
        return f"was {value_text(pair.old.default)} in some rows and reads as null there"
    if old is new is Presence.DEFAULT and pair.old.default != pair.new.default:
        return f"was {value_text(pair.old.default)} in some rows and reads as {value_text(pair.new.default)} there"
    return ""


def _reference_reason(entity: EntityPair, pair: FieldPair) -> str:
    """Numbers that are keys of other rows are written as the ids of these rows."""
    before = pair.old.name in entity.old.referring_numbers
    if before == (pair.new.name in entity.new.referring_numbers):
        return ""
    now = "was a number and is the key of a row" if not before else "was the key of a row and is a number"
    return f"{now}, which is written differently in index keys"


def _text_kind(field: Field) -> str:
    """How keys write values of a field: text as it is, bytes as hex, moments and durations as microseconds, and so on."""
    if field.type.kind is TypeKind.ENUM or field.type.name in ("string", "id"):
        return "text"
    if field.type.name in ("int", "float"):
        return "number"
    return field.type.name
