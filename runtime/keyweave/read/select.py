"""Rows that are in several views, in one round trip: the smallest view is read, and members of all views are kept.

An entry is stale only if its row is past its deadline or deleted, so a live row that is missing from a view does not
match. The caller compares fields that no view covers in the documents.
"""

from __future__ import annotations

from typing import Any, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.read.conditions import Conditions
from keyweave.read.merge import most_members
from keyweave.read.page import read_reply
from keyweave.read.plan import values_of, view_key
from keyweave.read.stream import Stream, ends_of
from keyweave.store.access_path import AccessPath
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)


def select(
    context: Context,
    entity: Entity[R],
    access: AccessPath,
    conditions: Conditions,
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[Stream, list[R], Position | None]]:
    """Return the rows that are in every view of `access`, after a position.

    Returns:
        The stream that was read, the rows, and the next position. There may be fewer than `limit` rows before the end, when
        few of the members that were read are in every view.
    """
    views, filters = access.views, conditions.equal
    low, high, _ = conditions.ends(entity, views[0].order)
    ends = ends_of(low, high)
    arguments: tuple[Word, ...] = (
        context.partition(entity).document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        *Stream(views[0], (), ends).after(start),
        most_members(limit),
        len(access.readable),
        *Stream(views[0], (), ends).words,
    )
    keys = tuple([view_key(context, entity, view, filters) for view in views])
    reply: Any = yield from ask_script(context, "select", keys, arguments)
    view = views[reply[0] - 1]
    stream = Stream(view, values_of(view, filters), ends)
    records, end = yield from read_reply(context, entity, stream, newest, reply[1:])
    return stream, records, end
