"""Rows that are in several views, in one round trip: the smallest view is read, and members of all views are kept.

An entry is stale only if its row is past its deadline or deleted, so a live row that is missing from a view does not
match. The caller compares fields that no view covers in the documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.read.page import most_members, read_reply
from keyweave.read.stream import Stream
from keyweave.read.usable import list_key
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)


def select(
    context: Context,
    entity: Entity[R],
    readable: Sequence[Stream],
    narrowing: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[Stream, list[R], Position | None]]:
    """Return the rows that all lists have in common, after a position.

    Args:
        readable: those in the order of the rows; the smallest is read.
        narrowing: those in other orders.

    Returns:
        The stream that was read, the rows, and the next position. There may be fewer than `limit` rows before the end, when
        few of the members that were read are in every view.
    """
    streams = (*readable, *narrowing)
    arguments: tuple[Word, ...] = (
        context.partition(entity).document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        *readable[0].after(start),
        most_members(limit),
        len(readable),
        *readable[0].words,
    )
    keys = tuple([list_key(context, entity, stream) for stream in streams])
    reply: Any = yield from ask_script(context, "select", keys, arguments)
    stream = streams[reply[0] - 1]
    records, end = yield from read_reply(context, entity, stream, newest, reply[1:])
    return stream, records, end
