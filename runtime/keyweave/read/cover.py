"""Covers: the views whose entries decide which rows a query has, so that rows are counted and named without their documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_scripts
from keyweave.exchange.bound import most_streams
from keyweave.model.entity import View
from keyweave.model.page import MAX_LIMIT
from keyweave.read.conditions import Conditions
from keyweave.read.query import Part, Query
from keyweave.read.stream import Stream, ends_of
from keyweave.read.usable import bounds, conditions_held, list_key, streams_of, usable_views
from keyweave.store.context import Context

Cover: TypeAlias = tuple[tuple[Stream, ...], ...]
"""Groups of lists. A row of a part is in one list of every group, and no row is in two lists of a group. No groups: no row."""

SCAN: Final = 5000
"""Maximum number of entries that one call reads. With one other view it takes about 10 ms of the server's time."""


class Place(NamedTuple):
    """Where a call of the script `members` goes on: number of the group and of the list, and the last entry of it."""

    group: int = 0
    list: int = 1
    score: str = ""
    member: str = ""


def covers_of(
    context: Context, query: Query, conditions: Sequence[Conditions], *, ordered: bool = False
) -> list[Cover] | None:
    """Return a cover of each part of a query; None if a part has none.

    Args:
        ordered: whether the first group has to be in the order of the query.
    """
    entity = query.entity
    if (context.unit is not None and context.unit.has_changes(entity)) or query.order in entity.nullable:
        return None
    covers = []
    for part, each in zip(query.parts, conditions, strict=True):
        cover = _cover_of(context, query, part, each, ordered=ordered)
        if cover is None:
            return None
        covers.append(cover)
    return covers


def _cover_of(
    context: Context, query: Query, part: Part, conditions: Conditions, *, ordered: bool
) -> Cover | None:
    entity, order = query.entity, query.order
    if conditions.impossible:
        return ()
    if part.having or entity.key in conditions.equal or entity.key in conditions.any_of:
        return None
    # Members of a view in an order of strings are no ids that other views could have.
    usable = [view for view in usable_views(entity, order, conditions) if not view.by_text]
    chosen = [entity.views[part.view]] if part.view else []
    if any(view.by_text for view in chosen):
        return None
    while left := _left(query, conditions, chosen):
        # Of views that decide equally much, one in the order: where the first group has to be in it, that spares a view.
        best = min(
            usable,
            key=lambda view: (_left(query, conditions, [*chosen, view]), view.order != order),
            default=None,
        )
        if best is None or _left(query, conditions, [*chosen, best]) == left:
            return None
        chosen.append(best)
    in_order = [view for view in (*chosen, *usable) if view.order == order]
    if (ordered or not chosen) and not in_order:
        return None
    if ordered or not chosen:
        chosen = [in_order[0], *[view for view in chosen if view is not in_order[0]]]
    if not (part.view or query.scan or any(bounds(entity, view, conditions) for view in chosen)):
        return None
    if any(f"{entity.name}.{view.name}" in context.unbuilt for view in chosen):
        return None
    groups = tuple([group for view in chosen for group in _groups(query, view, conditions)])
    return (groups if sum(map(len, groups)) <= most_streams(context) else None) if all(groups) else ()


def _left(query: Query, conditions: Conditions, views: Sequence[View]) -> int:
    """Return how many filters these views do not decide."""
    covered = [name for view in views for name in view.selecting]
    decided = [name for view in views for name in conditions.ends(query.entity, view.order)[2]]
    return len(conditions.left(covered, decided, conditions_held(views)))


def _groups(query: Query, view: View, conditions: Conditions) -> Iterator[tuple[Stream, ...]]:
    """Yield the lists of a view: one group, or one for each element; an empty group if its order leaves no row."""
    low, high, _ = conditions.ends(query.entity, view.order)
    for element in range(len(conditions.elements[view.each]) if view.each else 1):
        yield streams_of(view, conditions, ends_of(low, high), element) if low <= high else ()


def count_covered(context: Context, query: Query, covers: Sequence[Cover]) -> Flow[int]:
    """Return the number of live rows that covers decide about."""
    if len(covers) > 1:
        return len((yield from members_covered(context, query, covers)))
    number, place = 0, Place()
    while covers[0]:
        ((place, found),) = yield from _call(context, query, [(covers[0], place)], "number", SCAN)
        number += found[0]
        if not place.group:
            break
    return number


def members_covered(
    context: Context, query: Query, covers: Sequence[Cover], limit: int | None = None
) -> Flow[dict[bytes, float]]:
    """Return the members that covers decide about, each once, with their scores in the first group of a cover.

    Args:
        limit: no more are read once so many are found.
    """
    members: dict[bytes, float] = {}
    waiting = [(cover, Place()) for cover in covers if cover]
    while waiting and (limit is None or len(members) < limit):
        replies = yield from _call(context, query, waiting, "members", limit or MAX_LIMIT)
        following = []
        for (cover, _), (place, found) in zip(waiting, replies, strict=True):
            members.update(zip(found[::2], map(float, found[1::2]), strict=True))
            if place.group:
                following.append((cover, place))
        waiting = following
    return members


def _call(
    context: Context, query: Query, asked: Sequence[tuple[Cover, Place]], wanted: str, limit: int
) -> Flow[list[tuple[Place, list[Any]]]]:
    """Send a call of the script `members` for each cover, in one pipeline."""
    entity = query.entity
    partition = context.partition(entity)
    calls = []
    for cover, place in asked:
        ends: list[Word] = []
        for group in cover:
            ends += (len(group), *(group[0].ends or ("-inf", "+inf")))
        keys = [list_key(context, entity, stream) for group in cover for stream in group]
        arguments = (partition.expiring(entity.name, ""), wanted, limit, SCAN, 1, *place, *ends)
        calls.append(((partition.expiry, *keys), arguments))
    replies: list[Any] = yield from ask_scripts(context, "members", tuple(calls))
    return [(Place(*_place(reply)), reply[4:]) for reply in replies]


def _place(reply: Any) -> tuple[int, int, str, str]:
    return reply[0], reply[1], reply[2].decode(), reply[3].decode()
