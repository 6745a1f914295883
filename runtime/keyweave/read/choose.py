"""Planning of filters: which views can serve a filter, which one is read, and how documents are compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, TypeVar

from keyweave.effects import Flow
from keyweave.errors import ValidationError
from keyweave.exchange.ask import ask
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, View
from keyweave.model.keytext import key_text
from keyweave.model.record import Record
from keyweave.store.access_path import AccessPath, access_path_of
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)


def find_access_path(
    context: Context, entity: Entity[Any], filters: Mapping[str, Any], order: str
) -> Flow[AccessPath]:
    """Return the views whose fields are all filtered, without redundant ones.

    Raises:
        ValidationError: no usable view has this order.
        ViewNotBuiltError: the only usable views with this order are not built yet.
    """
    fields = frozenset([name for name in filters if filters[name] is not None])
    cache_key = (entity.name, order, fields)
    known = context.state.access_paths.get(cache_key)
    if known is not None and not context.unbuilt:
        return known
    usable = [view for view in entity.views.values() if view.whole and fields.issuperset(view.fields)]
    ordered = [view for view in usable if view.order == order]
    if not ordered:
        orders = {"created", "revision"} | {view.order for view in entity.views.values()}
        wanted = f"the order {order!r}" if order in orders else "that order"
        raise ValidationError(
            f"{entity.name}: no view in {wanted} covers the fields {', '.join(sorted(filters)) or 'none'}",
            entity=entity.name,
            rule="view",
        )
    if context.unbuilt:
        ordered = yield from _built_views(context, entity, ordered)
    access = access_path_of(
        ordered,
        [
            view
            for view in usable
            if view.order != order and f"{entity.name}.{view.name}" not in context.unbuilt
        ],
    )
    if not context.unbuilt:
        context.state.access_paths[cache_key] = access
    return access


def choose(
    context: Context, entity: Entity[Any], access: AccessPath, filters: Mapping[str, Any]
) -> Flow[tuple[View, dict[str, int]]]:
    """Return the smallest readable view, and the size of each readable view; no sizes when there is only one.

    Inside a transaction, the sizes are always read.

    Raises:
        ValidationError: a value has no key text.
    """
    views = access.readable
    keys = [view_key(context, entity, view, filters) for view in views]
    if len(views) == 1 and context.unit is None:
        return views[0], {}
    sizes = yield from ask(context, tuple(("ZCARD", key) for key in keys))
    by_name = {view.name: int(size) for view, size in zip(views, sizes, strict=True)}
    # Of equal sizes `min` takes the first view, which has the most fields and leaves the fewest to compare.
    best = min(views, key=lambda view: by_name[view.name])
    return best, by_name


def _built_views(context: Context, entity: Entity[Any], candidates: list[View]) -> Flow[list[View]]:
    """Return those of `candidates` that are built.

    Raises:
        ViewNotBuiltError: none is built.
    """
    built = [view for view in candidates if f"{entity.name}.{view.name}" not in context.unbuilt]
    if not built:
        yield from require_built(context, entity, candidates[0].name)
    return built or candidates[:1]


def view_key(context: Context, entity: Entity[Any], view: View, filters: Mapping[str, Any]) -> str:
    """Return the key of a view for the values that `filters` has for its fields."""
    return context.partition(entity).view(entity.name, view.name, values_of(view, filters))


def values_of(view: View, filters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key texts of a view's fields.

    Raises:
        ValidationError: a value has no key text.
    """
    return tuple(key_text(filters[name]) for name in view.fields)


def matches(record: Record, filters: Mapping[str, Any]) -> bool:
    """Return whether a record's fields equal every filter."""
    return all(getattr(record, name) == value for name, value in filters.items())


def matching(records: list[R], filters: Mapping[str, Any]) -> list[R]:
    """Return those of `records` whose fields equal every filter, in the same order."""
    if not records or not filters:
        return records
    values = attrgetter(*filters)
    expected = tuple(filters.values()) if len(filters) > 1 else next(iter(filters.values()))
    return [record for record in records if values(record) == expected]
