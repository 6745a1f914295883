"""The planner: how the rows of a query are found. It chooses views by their sizes and never reads a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import msgspec

from keyweave.effects import Command, Flow
from keyweave.errors import UnboundedQueryError
from keyweave.exchange.ask import ask
from keyweave.exchange.handshake import require_built
from keyweave.keyspace.keys import join
from keyweave.model.entity import Entity, Unique, View
from keyweave.model.entry import ClaimEntry
from keyweave.model.keytext import key_text
from keyweave.read.conditions import Conditions, check_order, checked_field, conditions_of, stretch_of
from keyweave.read.merge import MOST_STREAMS
from keyweave.read.query import Having, Part, Query
from keyweave.read.stream import Stream, ends_of
from keyweave.store.access_path import AccessPath, candidates_of
from keyweave.store.context import Context


class Plan(msgspec.Struct, frozen=True):
    """How the rows of one part of a query are found. One of the first five says it; all empty: no row can match.

    Attributes:
        streams: lists in the order of the query, merged.
        access: several views in that order, which the server intersects.
        sorted_from: lists in another order, which are read whole and sorted.
        keys: the rows with these keys.
        claim: the row that owns a unique value.
        conditions: the checked filters of the part.
        having: its conditions on referring rows.
        compared: names of the filters that are compared on documents.
        sizes: members of each view among which the planner chose, by name.
        scan: whether it reads all rows.
    """

    streams: tuple[Stream, ...] = ()
    access: AccessPath | None = None
    sorted_from: tuple[Stream, ...] = ()
    keys: tuple[str, ...] = ()
    claim: ClaimEntry | None = None
    conditions: Conditions = Conditions()
    having: tuple[Having, ...] = ()
    compared: tuple[str, ...] = ()
    sizes: Mapping[str, int] = {}
    scan: bool = False

    @property
    def exact(self) -> bool:
        """Whether every row that is read is a row of the query."""
        return not self.compared and not self.having

    @property
    def fixed(self) -> bool:
        """Whether its rows are read whole, and sorted here."""
        return bool(self.sorted_from or self.keys or self.claim is not None)

    def choices(self, entity: Entity[Any], order: str) -> tuple[Stream, ...]:
        """The lists whose sizes decide what is read: those that the server chooses among, or those that are read whole."""
        if self.access is None:
            return self.sorted_from
        low, high, _ = self.conditions.ends(entity, order)
        values = self.conditions.equal
        return tuple(
            [Stream(view, values_of(view, values), ends_of(low, high)) for view in self.access.readable]
        )


def list_of(query: Query) -> Stream | None:
    """Return the list of a view, or the stretch of it, that a query asks for and nothing else; None for any other query.

    Raises:
        ValidationError: a value does not fit its field.
    """
    (part, *more), entity = query.parts, query.entity
    if more or not part.view or part.having or part.filters:
        return None
    view = entity.views[part.view]
    if view.order != query.order or view.each:
        return None
    given = zip(view.fields, part.values, strict=True)
    values = tuple([key_text(checked_field(entity, name, value)) for name, value in given])
    if not part.stretches:
        return Stream(view, values)
    ends = stretch_of(entity, query.order, part.stretches)
    return Stream(view, values, ends_of(*ends)) if ends is not None else None


def checked(query: Query) -> list[Conditions]:
    """Return the conditions of each part of a query.

    Raises:
        ValidationError: the order, a filter, a value or a predicate does not fit the entity.
    """
    check_order(query)
    return [conditions_of(query, part) for part in query.parts]


def plan_of(context: Context, query: Query, conditions: Sequence[Conditions]) -> Flow[list[Plan]]:
    """Return a plan for each part of a query. Sizes of views are asked for only if there is a choice.

    Raises:
        UnboundedQueryError: no view bounds a part, and the query does not allow to scan.
        ViewNotBuiltError: the only views that could be read are not built yet.
    """
    plans = []
    for part, each in zip(query.parts, conditions, strict=True):
        plans.append((yield from _plan_part(context, query, part, each)))
    return plans


def _plan_part(context: Context, query: Query, part: Part, conditions: Conditions) -> Flow[Plan]:
    entity = query.entity
    if conditions.impossible:
        return Plan(conditions=conditions)
    if part.view:
        return _plan_streams(query, part, entity.views[part.view], conditions)
    if entity.key in conditions.equal:
        keys: tuple[str, ...] = (key_text(conditions.equal[entity.key]),)
        return _made(part, conditions, conditions.left({entity.key}), keys=keys)
    if entity.key in conditions.any_of:
        keys = tuple([key_text(each) for each in conditions.any_of[entity.key]])
        return _made(part, conditions, conditions.left({entity.key}), keys=keys)
    for unique in entity.uniques.values():
        if conditions.equal.keys() >= set(unique.fields):
            if f"{entity.name}.{unique.name}" not in context.unbuilt:
                claim = _claim(unique, conditions)
                return _made(part, conditions, conditions.left(unique.fields), claim=claim)
    return (yield from _plan_views(context, query, part, conditions))


def _plan_views(context: Context, query: Query, part: Part, conditions: Conditions) -> Flow[Plan]:
    entity, order = query.entity, query.order
    shape = (
        entity.name,
        order,
        frozenset(conditions.equal),
        frozenset([(name, len(values)) for name, values in conditions.any_of.items()]),
        frozenset(conditions.ranges),
    )
    known = context.state.access_paths.get(shape) if not context.unbuilt else None
    if known is None:
        usable = [
            view
            for view in entity.views.values()
            if view.has_all(order) and _streams_of(view, conditions) <= MOST_STREAMS
        ]
        if context.unbuilt:
            usable = yield from _built(context, entity, usable, order)
        known = candidates_of(
            order,
            usable,
            [view for view in usable if _bounds(entity, view, conditions)],
            frozenset(conditions.equal),
        )
        if not context.unbuilt:
            context.state.access_paths[shape] = known
    if known.equal is not None:
        return (yield from _plan_equal(context, query, part, known.equal, conditions))
    if known.leading:
        return (yield from _plan_smallest(context, query, part, known.leading, conditions))
    whole = known.whole
    if whole and whole[0].order == order:
        plan = _plan_streams(query, part, whole[0], conditions)
        if not plan.compared:
            return plan
        narrowed = known.narrowed
        if narrowed is not None and selectable(context, narrowed) and len(query.parts) == 1:
            return (yield from _plan_equal(context, query, part, narrowed, conditions))
    if known.others:
        return (yield from _plan_smallest(context, query, part, known.others, conditions))
    if not whole or not (query.scan or part.having):
        raise _unbounded(query, conditions, possible=bool(whole))
    plan = _plan_streams(query, part, whole[0], conditions)
    return msgspec.structs.replace(plan, scan=True)


def _plan_equal(
    context: Context, query: Query, part: Part, access: AccessPath, conditions: Conditions
) -> Flow[Plan]:
    """Plan a filter by views in the query's order whose fields all have one value: the server intersects them if it can."""
    if len(query.parts) == 1 and selectable(context, access):
        decided = conditions.ends(query.entity, query.order)[2]
        return _made(part, conditions, conditions.left(access.covered, decided), access=access)
    return (yield from _plan_smallest(context, query, part, access.readable, conditions))


def _plan_smallest(
    context: Context, query: Query, part: Part, views: Sequence[View], conditions: Conditions
) -> Flow[Plan]:
    """Plan by the view that has the fewest members. Of equal sizes the first is taken, which covers the most fields."""
    plans = {view.name: _plan_streams(query, part, view, conditions) for view in views}
    if len(plans) == 1 and context.unit is None:
        return next(iter(plans.values()))
    lists = {name: plan.streams or plan.sorted_from for name, plan in plans.items()}
    commands = [size_command(context, query.entity, each) for streams in lists.values() for each in streams]
    numbers = iter((yield from ask(context, tuple(commands))))
    sizes = {name: sum(int(next(numbers)) for _ in streams) for name, streams in lists.items()}
    best = min(plans, key=lambda name: sizes[name])
    return msgspec.structs.replace(plans[best], sizes=sizes)


def size_command(context: Context, entity: Entity[Any], stream: Stream) -> Command:
    """Return the command that asks for the number of members of a stream."""
    key = context.partition(entity).view(entity.name, stream.view.name, stream.values)
    count = "ZLEXCOUNT" if stream.view.by_text else "ZCOUNT"
    return (count, key, *stream.ends) if stream.ends else ("ZCARD", key)


def _plan_streams(query: Query, part: Part, view: View, conditions: Conditions) -> Plan:
    """Plan by all lists of one view that have rows of the part: one for each combination of values of its fields."""
    entity = query.entity
    low, high, decided = conditions.ends(entity, view.order)
    names = conditions.left(view.selecting, decided)
    if low > high:
        return Plan(conditions=conditions)
    streams = streams_of(view, conditions, ends_of(low, high))
    if view.order != query.order:
        return _made(part, conditions, names, sorted_from=streams)
    return _made(part, conditions, names, streams=streams)


def _made(part: Part, conditions: Conditions, compared: Iterable[str], **how: Any) -> Plan:
    return Plan(conditions=conditions, having=part.having, compared=tuple(compared), **how)


def streams_of(view: View, conditions: Conditions, ends: Any = ()) -> tuple[Stream, ...]:
    """Return the lists of a view for every combination of the values of its fields."""
    values = [conditions.any_of.get(name) or (conditions.equal[name],) for name in view.fields]
    if view.each:
        values.append((conditions.elements[view.each],))
    texts = [tuple([key_text(each) for each in several]) for several in values]
    return tuple([Stream(view, combination, ends) for combination in product(*texts)])


def values_of(view: View, filters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key texts of a view's fields."""
    return tuple([key_text(filters[name]) for name in view.fields])


def view_key(context: Context, entity: Entity[Any], view: View, filters: Mapping[str, Any]) -> str:
    """Return the key of a view for the values that `filters` has for its fields."""
    return context.partition(entity).view(entity.name, view.name, values_of(view, filters))


def selectable(context: Context, access: AccessPath) -> bool:
    """Return whether an access path has several views and the server can intersect them."""
    several = len(access.readable) + len(access.narrowing) > 1
    return several and context.strategy.select is not None


def _streams_of(view: View, conditions: Conditions) -> float:
    """Return how many lists of a view have rows that match; infinite if a field of it has no value."""
    known = [len(conditions.any_of.get(name, (None,))) for name in view.fields]
    usable = all(name in conditions.equal or name in conditions.any_of for name in view.fields)
    return prod(known) if usable else float("inf")


def _bounds(entity: Entity[Any], view: View, conditions: Conditions) -> bool:
    """Return whether a view has only some of the rows, or its order is limited to a stretch."""
    low, high, _ = conditions.ends(entity, view.order)
    return bool(view.fields or ends_of(low, high))


def _claim(unique: Unique, conditions: Conditions) -> ClaimEntry:
    steps: dict[str, Callable[[str], str]] = {"lower": str.lower, "trim": str.strip}
    texts = [key_text(conditions.equal[name]) for name in unique.fields]
    for step in sorted(unique.normalize, reverse=True):
        texts = [steps[step](text) for text in texts]
    return ClaimEntry(unique.name, texts[0] if len(texts) == 1 else join(texts), "")


def _built(context: Context, entity: Entity[Any], views: list[View], order: str) -> Flow[list[View]]:
    """Return those views that are built.

    Raises:
        ViewNotBuiltError: none in this order is built, and one is not.
    """
    built = [view for view in views if f"{entity.name}.{view.name}" not in context.unbuilt]
    waiting = [view for view in views if view.order == order and view not in built]
    if waiting and not any(view.order == order for view in built):
        yield from require_built(context, entity, waiting[0].name)
        return [*built, waiting[0]]
    return built


def _unbounded(query: Query, conditions: Conditions, *, possible: bool) -> UnboundedQueryError:
    entity = query.entity.name
    filters = ", ".join(sorted(conditions.tests)) or "none"
    rule = f"no view bounds a query by {filters} in the order {query.order!r}"
    if possible:
        advice = "filter by the fields of a view as well, or allow to read all rows with scan()"
    else:
        advice = "there is no view of all rows either, so add a view for it"
    return UnboundedQueryError(f"{entity}: {rule}; {advice}", entity=entity, rule="unbounded")
