"""Usable views: those that contain every row of a part of a query, and their lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from keyweave.exchange.bound import MOST_STREAMS
from keyweave.model.entity import Condition, Entity, Unique, View
from keyweave.model.keytext import key_text
from keyweave.read.conditions import Conditions
from keyweave.read.implied import implied
from keyweave.read.stream import Stream, ends_of
from keyweave.store.context import Context


def usable_views(entity: Entity[Any], order: str, conditions: Conditions) -> list[View]:
    """Return the views that contain every row of a part: their fields have values, and their own conditions are implied."""
    equal, any_of = conditions.equal, conditions.any_of
    found = []
    for view in entity.views.values():
        lists = 1
        for name in view.fields:
            if name in any_of:
                lists *= len(any_of[name])
            elif name not in equal:
                break
        else:
            if lists > MOST_STREAMS or (view.each and view.each not in conditions.elements):
                continue
            if not view.where or holds_all(entity, order, view, conditions):
                found.append(view)
    return found


def conditions_held(views: Iterable[View]) -> list[Condition]:
    """Return the conditions that hold for the rows that are in all of these views."""
    return [condition for view in views for condition in view.conditions or ()]


def holds_all(entity: Entity[Any], order: str, index: View | Unique, conditions: Conditions) -> bool:
    """Return whether every row of a part is in an index, as far as the index's own condition decides."""
    if not index.where:
        return True
    if index.conditions is None:
        return False
    never_null = [each.field for each in index.conditions if each.field not in entity.nullable]
    present = [Condition(name, "is not null") for name in (*never_null, order) if name in entity.filters]
    return implied([*conditions.known, *present], index.conditions)


def bounds(entity: Entity[Any], view: View, conditions: Conditions) -> bool:
    """Return whether a view has only some of the rows, or its order is limited to a stretch."""
    low, high, _ = conditions.ends(entity, view.order)
    return bool(view.selecting or ends_of(low, high) or not view.has_all(view.order))


def streams_of(view: View, conditions: Conditions, ends: Any = (), element: int = 0) -> tuple[Stream, ...]:
    """Return the lists of a view for every combination of the values of its fields, and for one element."""
    values = [conditions.any_of.get(name) or (conditions.equal[name],) for name in view.fields]
    if view.each:
        values.append((conditions.elements[view.each][element],))
    texts = [tuple([key_text(each) for each in several]) for several in values]
    return tuple([Stream(view, combination, ends) for combination in product(*texts)])


def lists_of(views: Iterable[View], conditions: Conditions, ends: Any = ()) -> tuple[Stream, ...]:
    """Return the lists of views whose fields have one value: one of each view, and of each element."""
    found: list[Stream] = []
    for view in views:
        for element in range(len(conditions.elements[view.each]) if view.each else 1):
            found += streams_of(view, conditions, ends, element)
    return tuple(found)


def labels_of(streams: Sequence[Stream]) -> list[str]:
    """Return the names of the views of lists; of a view that has several of them, with the element."""
    names = [stream.view.name for stream in streams]
    return [
        f"{name}:{stream.values[-1]}" if names.count(name) > 1 else name
        for name, stream in zip(names, streams, strict=True)
    ]


def list_key(context: Context, entity: Entity[Any], stream: Stream) -> str:
    """Return the key of a stream's list."""
    return context.partition(entity).view(entity.name, stream.view.name, stream.values)
