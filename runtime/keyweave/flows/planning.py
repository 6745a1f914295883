"""The planner of filters: which view to read, and what is left to compare on each document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity, View
from keyweave.errors import ValidationError
from keyweave.flows.asking import ask
from keyweave.flows.handshaking import require_built
from keyweave.keytext import key_text
from keyweave.record import Record


def choose(
    context: Context, entity: Entity[Any], filters: Mapping[str, Any], order: str
) -> Flow[tuple[View, dict[str, int]]]:
    """The smallest view in this order whose fields are all filtered, and the size of each view that could be read.

    Raises:
        ValidationError: no view has this order, or a value cannot be looked up.
        ViewNotBuiltError: the only views that could be read are not built yet.
    """
    candidates = [
        view
        for view in entity.views.values()
        if view.order == order and all(filters.get(name) is not None for name in view.fields)
    ]
    if not candidates:
        known = {"created", "revision"} | {view.order for view in entity.views.values()}
        wanted = f"the order {order!r}" if order in known else "that order"
        raise ValidationError(
            f"{entity.name}: no view in {wanted} covers the fields {', '.join(sorted(filters)) or 'none'}",
            entity=entity.name,
            rule="view",
        )
    if context.unbuilt:
        candidates = yield from _built(context, entity, candidates)
    keys = [view_key(context, entity, view, filters) for view in candidates]
    if len(candidates) == 1 and context.unit is None:
        return candidates[0], {}
    sizes = yield from ask(context, tuple(("ZCARD", key) for key in keys))
    by_name = {view.name: int(size) for view, size in zip(candidates, sizes, strict=True)}
    # With equal sizes the view with more fields compares less; the name only makes the choice repeatable.
    best = min(candidates, key=lambda view: (by_name[view.name], -len(view.fields), view.name))
    return best, by_name


def _built(context: Context, entity: Entity[Any], candidates: list[View]) -> Flow[list[View]]:
    """Those of `candidates` that may be read.

    Raises:
        ViewNotBuiltError: none of them may.
    """
    built = [view for view in candidates if f"{entity.name}.{view.name}" not in context.unbuilt]
    if not built:
        yield from require_built(context, entity, candidates[0].name)
    return built or candidates[:1]


def view_key(context: Context, entity: Entity[Any], view: View, filters: Mapping[str, Any]) -> str:
    """The key of a view under the values that `filters` has for its fields."""
    return context.partition(entity).view(entity.name, view.name, values_of(view, filters))


def values_of(view: View, filters: Mapping[str, Any]) -> tuple[str, ...]:
    """The key texts of a view's fields.

    Raises:
        ValidationError: a value cannot be looked up.
    """
    return tuple(key_text(filters[name]) for name in view.fields)


def matches(record: Record, filters: Mapping[str, Any]) -> bool:
    """Whether a record's fields equal every filter."""
    return all(getattr(record, name) == value for name, value in filters.items())
