"""Pages of views, newest or oldest first, in one round trip each, merged with a transaction's own writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Flow, Reply, Word
from keyweave.exchange.ask import ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.model.cursor import Position, read_cursor, write_cursor
from keyweave.model.entity import Entity
from keyweave.model.member import split_member
from keyweave.model.page import MAX_LIMIT, Page, check_limit
from keyweave.model.record import Record
from keyweave.read.rank import overlay
from keyweave.read.readable import load_each, load_readable
from keyweave.read.stream import Stream
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_MIN_SCAN: Final = 4000
_SCAN_FACTOR: Final = 8


def page(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    *,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[Page[R]]:
    """Return one page of one list of a view.

    Args:
        view: name of the view.
        values: key texts of all of its fields.
        limit: maximum number of records, 1 to 1000.
        cursor: where the page begins, from an earlier page with the same order; None for the first page.
        newest: highest score first.

    Raises:
        ValidationError: the limit is out of range.
        InvalidCursorError: the cursor is damaged or belongs to another order.
        ViewNotBuiltError: the view is not built.
    """
    check_limit(limit, entity.name)
    start = read_cursor(context.state.cursors, cursor, entity.name, entity.views[view].order, newest)
    streams = (Stream(entity.views[view], values),)
    records, end = yield from read_streams(context, entity, streams, limit, start, newest)
    return Page(records, write_cursor(context.state.cursors, end) if end is not None else None)


def read_streams(
    context: Context,
    entity: Entity[R],
    streams: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Return up to `limit` rows of streams after a position, with a transaction's own, each once, and the next position.

    Raises:
        ViewNotBuiltError: a view is not built.
    """
    if context.unbuilt:
        for stream in streams:
            yield from require_built(context, entity, stream.view.name)
    unit = context.unit
    changed = unit is not None and unit.has_changes(entity)
    records: list[R] = []
    end, more = start, True
    while more and len(records) < limit:
        if len(streams) == 1:
            found, end = yield from context.strategy.page(
                context, entity, streams[0], limit - len(records), end, newest
            )
        else:
            found, end = yield from context.strategy.merge(
                context, entity, streams, limit - len(records), end, newest
            )
        if unit is not None and changed:
            found = [record for record in found if unit.change_of(entity, entity.key_of(record)) is None]
        records += found
        more = end is not None
    if changed:
        return (yield from overlay(context, entity, streams, limit, start, newest, records, end))
    return records, end


def most_members(limit: int) -> int:
    """Return how many members one call may read for a page of `limit` rows. Behind many ended rows it needs all of them."""
    return max(_MIN_SCAN, limit * _SCAN_FACTOR)


def page_by_script(
    context: Context, entity: Entity[R], stream: Stream, limit: int, start: Position | None, newest: bool
) -> Flow[tuple[list[R], Position | None]]:
    """Return up to `limit` live rows of a stream after a position, and the next position, in one round trip.

    The next position is None at the end of the stream.
    """
    reply: Reply = yield from ask_script(
        context, "page", *page_call(context, entity, stream, limit, start, newest)
    )
    return (yield from read_reply(context, entity, stream, newest, reply))


def page_call(
    context: Context, entity: Entity[Any], stream: Stream, limit: int, start: Position | None, newest: bool
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the keys and arguments of the script `page`."""
    partition = context.partition(entity)
    return (partition.view(entity.name, stream.view.name, stream.values),), (
        partition.document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        *(stream.after(start) if start is not None else ("", "")),
        most_members(limit),
        *(stream.words if stream.view.by_text else stream.ends),
    )


def next_position(
    entity: Entity[Any], streams: Sequence[Stream], newest: bool, reply: Any
) -> Position | None:
    """Return the position in a reply of `page` or `merge`; None at the end."""
    score, member = reply[0], reply[1].decode()
    if not score:
        return None
    view = streams[0].view
    if view.by_text:
        value, key = split_member(member)
        return Position(entity.name, view.order, newest, "0", key, value)
    return Position(entity.name, view.order, newest, score.decode(), member)


def read_reply(
    context: Context, entity: Entity[R], stream: Stream, newest: bool, reply: Any
) -> Flow[tuple[list[R], Position | None]]:
    """Return the records in a reply of the script `page`, and the next position. Entries without a document are healed."""
    yield from _heal(context, entity, stream, reply)
    documents = reply[3:]
    records = load_readable(context, entity, documents) if documents else []
    return records, next_position(entity, (stream,), newest, reply)


def read_replies(
    context: Context, entity: Entity[R], streams: Sequence[Stream], newest: bool, replies: Sequence[Any]
) -> Flow[list[tuple[list[R], Position | None]]]:
    """Return what `read_reply` returns, for the replies of several streams."""
    documents: list[bytes] = []
    for stream, reply in zip(streams, replies, strict=True):
        yield from _heal(context, entity, stream, reply)
        documents += reply[3:]
    records = load_each(context, entity, documents)
    found, start = [], 0
    for stream, reply in zip(streams, replies, strict=True):
        end = start + len(reply) - 3
        rows = [record for record in records[start:end] if record is not None]
        found.append((rows, next_position(entity, (stream,), newest, reply)))
        start = end
    return found


def _heal(context: Context, entity: Entity[Any], stream: Stream, reply: Any) -> Flow[None]:
    dangling = reply[2]
    if dangling and context.unit is None:
        some = dangling[:HEALED_AT_ONCE]
        yield from heal_on_the_way(context, dangling_members(entity, stream.view, stream.values, some))


def all_pages(
    context: Context, entity: Entity[R], stream: Stream, *, newest: bool, start: Position | None = None
) -> Flow[list[R]]:
    """Return every row of a stream after a position, for streams that are known to be short, such as one execution's tasks."""
    records: list[R] = []
    while True:
        found, start = yield from read_streams(context, entity, (stream,), MAX_LIMIT, start, newest)
        records += found
        if start is None:
            return records
