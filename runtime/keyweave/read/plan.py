"""The planner: how the rows of a query are found. It chooses views by their sizes and never reads a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from keyweave.effects import Command, Flow
from keyweave.errors import UnboundedQueryError
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import most_streams
from keyweave.exchange.handshake import require_built
from keyweave.keyspace.keys import join
from keyweave.model.entity import Entity, Unique, View
from keyweave.model.entry import ClaimEntry
from keyweave.model.keytext import key_text
from keyweave.read.conditions import Conditions, check_order, conditions_of
from keyweave.read.keyed import keys_asked
from keyweave.read.query import Having, Part, Query
from keyweave.read.stream import Stream, ends_of
from keyweave.read.usable import (
    bounds,
    conditions_held,
    holds_all,
    lists_of,
    streams_of,
    usable_views,
)
from keyweave.store.access_path import AccessPath, candidates_of
from keyweave.store.context import Context

MOST_CHOICES: Final = 8
"""Of so many elements at most, the planner compares the lists of a view."""


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

    def readable(self, entity: Entity[Any], order: str) -> tuple[Stream, ...]:
        """The lists of the access path that are in the order of the query."""
        if self.access is None:
            return ()
        low, high, _ = self.conditions.ends(entity, order)
        return lists_of(self.access.readable, self.conditions, ends_of(low, high))

    @property
    def narrowing(self) -> tuple[Stream, ...]:
        """The lists of the access path that are in other orders."""
        return lists_of(self.access.narrowing, self.conditions) if self.access is not None else ()


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
    keys = keys_asked(entity, conditions)
    if keys is not None:
        return _made(part, conditions, conditions.left(entity.key_fields), keys=keys)
    for unique in entity.uniques.values():
        if conditions.equal.keys() >= set(unique.fields) and holds_all(
            entity, query.order, unique, conditions
        ):
            if f"{entity.name}.{unique.name}" not in context.unbuilt:
                left = conditions.left(unique.fields, (), unique.conditions or ())
                return _made(part, conditions, left, claim=_claim(unique, conditions))
    return (yield from _plan_views(context, query, part, conditions))


def _plan_views(context: Context, query: Query, part: Part, conditions: Conditions) -> Flow[Plan]:
    entity, order = query.entity, query.order
    usable = usable_views(entity, order, conditions)
    shape = (
        entity.name,
        order,
        frozenset(conditions.equal),
        conditions.bounding,
        tuple([view.name for view in usable]),
    )
    missing = frozenset(context.unbuilt)  # they may be built while this waits
    known = context.state.access_paths.get(shape) if not missing else None
    if known is None:
        if missing:
            usable = yield from _built(context, entity, usable, order)
        known = candidates_of(
            order,
            usable,
            [view for view in usable if bounds(entity, view, conditions)],
            frozenset(conditions.equal),
        )
        if not missing:
            context.state.access_paths[shape] = known
    if known.equal is not None:
        return (yield from _plan_equal(context, query, part, known.equal, conditions))
    if known.leading:
        return (yield from _plan_smallest(context, query, part, known.leading, conditions))
    whole, scan = known.whole, not known.others
    if scan and not (whole and (query.scan or any(_is_bounded(each.rows) for each in part.having))):
        for view in usable_views(entity, order, conditions) if missing else ():
            if f"{entity.name}.{view.name}" in missing and bounds(entity, view, conditions):
                yield from require_built(context, entity, view.name)
                return (yield from _plan_views(context, query, part, conditions))
        raise _unbounded(query, conditions, possible=bool(whole))
    if whole and whole[0].order == order:
        plan = _plan_streams(query, part, whole[0], conditions)
        if not plan.compared:
            return msgspec.structs.replace(plan, scan=scan)
        narrowed = known.narrowed
        if narrowed is not None and selectable(context, narrowed, conditions) and len(query.parts) == 1:
            return (yield from _plan_equal(context, query, part, narrowed, conditions))
    if known.others:
        return (yield from _plan_smallest(context, query, part, known.others, conditions))
    plan = _plan_streams(query, part, whole[0], conditions)
    return msgspec.structs.replace(plan, scan=True)


def _plan_equal(
    context: Context, query: Query, part: Part, access: AccessPath, conditions: Conditions
) -> Flow[Plan]:
    """Plan a filter by views in the query's order whose fields all have one value: the server intersects them if it can."""
    if len(query.parts) == 1 and selectable(context, access, conditions):
        decided = conditions.ends(query.entity, query.order)[2]
        left = conditions.left(access.covered, decided, conditions_held(access.views))
        return _made(part, conditions, left, access=access)
    return (yield from _plan_smallest(context, query, part, access.readable, conditions))


def _plan_smallest(
    context: Context, query: Query, part: Part, views: Sequence[View], conditions: Conditions
) -> Flow[Plan]:
    """Plan by the view that has the fewest members. Of equal sizes it is the one that leaves the fewest filters."""
    plans = {}
    for view in views:
        elements = conditions.elements[view.each] if view.each else ()
        for number in range(min(len(elements), MOST_CHOICES) or 1):
            name = f"{view.name}:{key_text(elements[number])}" if len(elements) > 1 else view.name
            plans[name] = _plan_streams(query, part, view, conditions, number)
    if len(plans) == 1 and context.unit is None:
        return next(iter(plans.values()))
    lists = {name: plan.streams or plan.sorted_from for name, plan in plans.items()}
    commands = [size_command(context, query.entity, each) for streams in lists.values() for each in streams]
    numbers = iter((yield from ask(context, tuple(commands))))
    sizes = {name: sum(int(next(numbers)) for _ in streams) for name, streams in lists.items()}
    best = min(plans, key=lambda name: (sizes[name], len(plans[name].compared)))
    return msgspec.structs.replace(plans[best], sizes=sizes)


def size_command(context: Context, entity: Entity[Any], stream: Stream) -> Command:
    """Return the command that asks for the number of members of a stream."""
    key = context.partition(entity).view(entity.name, stream.view.name, stream.values)
    count = "ZLEXCOUNT" if stream.view.by_text else "ZCOUNT"
    return (count, key, *stream.ends) if stream.ends else ("ZCARD", key)


def _plan_streams(query: Query, part: Part, view: View, conditions: Conditions, element: int = 0) -> Plan:
    """Plan by all lists of one view that have rows of the part: one for each combination of values of its fields.

    Args:
        element: of several elements, the number of the one whose lists are read.
    """
    entity = query.entity
    low, high, decided = conditions.ends(entity, view.order)
    several = view.each and len(conditions.elements[view.each]) > 1
    names = conditions.left(view.fields if several else view.selecting, decided, conditions_held((view,)))
    if low > high:
        return Plan(conditions=conditions)
    streams = streams_of(view, conditions, ends_of(low, high), element)
    if view.order != query.order:
        return _made(part, conditions, names, sorted_from=streams)
    return _made(part, conditions, names, streams=streams)


def _made(part: Part, conditions: Conditions, compared: Iterable[str], **how: Any) -> Plan:
    return Plan(conditions=conditions, having=part.having, compared=tuple(compared), **how)


def selectable(context: Context, access: AccessPath, conditions: Conditions) -> bool:
    """Return whether an access path has several lists and the server can intersect them."""
    if context.strategy.select is None:
        return False
    lists = [len(conditions.elements[view.each]) if view.each else 1 for view in access.views]
    return 1 < sum(lists) <= most_streams(context)


def _is_bounded(query: Query) -> bool:
    """Return whether views, keys or unique values bound the rows of a query, or it may scan."""
    return query.scan or all(_is_bounded_part(query, part) for part in query.parts)


def _is_bounded_part(query: Query, part: Part) -> bool:
    entity, conditions = query.entity, conditions_of(query, part)
    if conditions.impossible or entity.key in conditions.equal or entity.key in conditions.any_of:
        return True
    if any(
        conditions.equal.keys() >= set(unique.fields) and holds_all(entity, query.order, unique, conditions)
        for unique in entity.uniques.values()
    ):
        return True
    views = [entity.views[part.view]] if part.view else usable_views(entity, query.order, conditions)
    return any(bounds(entity, view, conditions) for view in views) or any(
        _is_bounded(each.rows) for each in part.having
    )


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
