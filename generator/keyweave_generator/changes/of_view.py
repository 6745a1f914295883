"""Rules about views, and the entries of their rows.

Old and new code write the entries of their own schema; `of_generation` keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.costs import view_cost
from keyweave_generator.model import Field, TypeKind

from .finding import Category, Change, Effect, Level, Side
from .of_generation import BACKFILL, DROP
from .of_presence import Presence, presence
from .pairs import EntityPair, FieldPair, ViewPair, added
from .rule import rule
from .wording import fields_text, order_text, value_text


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
    if pair.entity.now(pair.old.fields) != pair.new.fields:
        message = f"view {pair.new.name} was over {fields_text(pair.old.fields)} and is over {fields_text(pair.new.fields)}"
        yield _change(pair, "fields", message)


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
    names = (*pair.new.fields, *((pair.new.order_field,) if pair.new.order_field else ()))
    for field, reason in reread(pair.entity, names):
        yield _change(pair, "fields", f"view {pair.new.name}: {field} {reason}")


def _change(pair: ViewPair, key: str, message: str) -> Change:
    entity = pair.entity
    path = ("views", pair.new.name, key)
    return entity.change(Side.NEW, path, pair.new.name, message, cost=view_cost(entity.new, pair.new))


def reread(entity: EntityPair, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The fields of `names` that give stored rows other index entries, each with the reason."""
    for name in names:
        pair = entity.field_pair(name)
        reason = _reason(pair) if pair is not None else ""
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


def _text_kind(field: Field) -> str:
    """How keys write values of a field: text as it is, bytes as hex, moments and durations as microseconds, and so on."""
    if field.type.kind is TypeKind.ENUM or field.type.name in ("string", "id"):
        return "text"
    if field.type.name in ("int", "float"):
        return "number"
    return field.type.name
