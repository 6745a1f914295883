"""Several streams as one: merged by (score, member), every row once, and each stream asked after the same position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow, Reply, Word
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.bound import most_lists
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.read.get import which_live
from keyweave.read.page import most_members, next_position
from keyweave.read.rank import Rank, position_at, rank_at
from keyweave.read.readable import load_readable
from keyweave.read.stream import Stream
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_LONGEST_STRIDE: Final = 500


def merge_by_script(
    context: Context,
    entity: Entity[R],
    streams: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Return up to `limit` live rows of several streams after a position, and the next position, in one round trip."""
    most = most_lists(context)
    if most is not None and len(streams) > most:
        return (yield from merge_by_keys(context, entity, streams, limit, start, newest))
    reply: Reply = yield from merge_call(context, entity, streams, limit, start, newest, "documents")
    return load_readable(context, entity, reply[3:]), next_position(entity, streams, newest, reply)


def merge_call(
    context: Context,
    entity: Entity[Any],
    streams: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
    wanted: str,
) -> Flow[Any]:
    """Send the script `merge` and return its reply. Entries without a document are healed.

    Args:
        wanted: `documents` or `members`.
    """
    partition = context.partition(entity)
    arguments: list[Word] = [
        partition.document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        *streams[0].after(start),
        most_members(limit),
        wanted,
    ]
    if any(stream.words for stream in streams):
        for stream in streams:
            arguments += stream.words or ("-inf", "+inf")
    keys = tuple([partition.view(entity.name, each.view.name, each.values) for each in streams])
    reply = yield from ask_script(context, "merge", keys, tuple(arguments))
    dangling = reply[2][: 2 * HEALED_AT_ONCE]
    if dangling and context.unit is None:
        found = []
        for number, member in zip(dangling[::2], dangling[1::2], strict=True):
            stream = streams[number - 1]
            found += dangling_members(entity, stream.view, stream.values, [member])
        yield from heal_on_the_way(context, found)
    return reply


def merge_by_keys(
    context: Context,
    entity: Entity[R],
    streams: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Return what `merge_by_script` returns, by ranges of the views and MGET."""
    view = streams[0].view
    ranges = [_range(context, entity, stream, start, newest) for stream in streams]
    first = rank_at(entity, start) if start is not None else None
    offsets = [0] * len(streams)
    records: list[R] = []
    stride, examined, last = limit, 0, start
    while len(records) < limit and examined < most_members(limit):
        replies = yield from ask(
            context,
            tuple(
                (*words, "LIMIT", offset, stride + 1) for words, offset in zip(ranges, offsets, strict=True)
            ),
        )
        parts, edges = _entries(replies, stride, with_scores=not view.by_text)
        # Beyond the last known entry of a stream that goes on, a later entry of it could come first.
        edge = (max(edges) if newest else min(edges)) if edges else None
        known = sorted({entry for part in parts for entry in part}, reverse=newest)
        reached = [
            entry
            for entry in known
            if not _passed(entry, first, newest) and (edge is None or _passed(entry, edge, newest))
        ]
        keys = [view.key_in(member.decode()) for _, member in reached]
        count, live = yield from _live_rows(context, entity, keys, limit - len(records))
        records += live
        if count < len(reached):
            edge = reached[count - 1]
        if count:
            last = position_at(entity, view.order, newest, reached[count - 1])
        if edge is None:
            return records, None
        examined += sum(_passed(entry, edge, newest) for part in parts for entry in part)
        if count:
            # Entries may have left a range meanwhile, so the next one begins behind the last entry, and not after a number of them.
            ranges = [_range(context, entity, stream, last, newest) for stream in streams]
            first, offsets = reached[count - 1], [0] * len(streams)
        else:
            for number, part in enumerate(parts):
                offsets[number] += sum(_passed(entry, edge, newest) for entry in part)
        stride = max(limit - len(records), min(2 * stride, _LONGEST_STRIDE))
    return records, last


def page_by_keys(
    context: Context, entity: Entity[R], stream: Stream, limit: int, start: Position | None, newest: bool
) -> Flow[tuple[list[R], Position | None]]:
    """Return what `page.page_by_script` returns, by ranges of the view and MGET."""
    return merge_by_keys(context, entity, (stream,), limit, start, newest)


def _range(
    context: Context, entity: Entity[Any], stream: Stream, start: Position | None, newest: bool
) -> Command:
    """Return the words of the range of a stream from a position on, without their limit."""
    key = context.partition(entity).view(entity.name, stream.view.name, stream.values)
    if stream.view.by_text:
        return _text_range(key, stream, start, newest)
    low, high = stream.ends or ("-inf", "+inf")
    if start is not None:
        if newest:
            high = start.score if float(start.score) < float(high) else high
        else:
            low = start.score if float(start.score) > float(low) else low
    if newest:
        return ("ZREVRANGEBYSCORE", key, high, low, "WITHSCORES")
    return ("ZRANGEBYSCORE", key, low, high, "WITHSCORES")


def _text_range(key: str, stream: Stream, start: Position | None, newest: bool) -> Command:
    """Return the words of the range of a stream in an order of strings from a position on, without their limit."""
    low, high = stream.words
    assert isinstance(low, bytes) and isinstance(high, bytes)
    member = stream.after(start)[1].encode()
    if start is not None and newest and (high == b"+" or member < high[1:]):
        high = b"(" + member
    elif start is not None and not newest and member >= low[1:]:
        low = b"(" + member
    return ("ZREVRANGEBYLEX", key, high, low) if newest else ("ZRANGEBYLEX", key, low, high)


def _entries(
    replies: Sequence[Any], stride: int, *, with_scores: bool
) -> tuple[list[list[Rank]], list[Rank]]:
    """Return the first `stride` entries of each reply, and the last one of each stream that goes on."""
    parts: list[list[Rank]] = []
    edges: list[Rank] = []
    for flat in replies:
        if with_scores:
            part = [(float(flat[index + 1]), flat[index]) for index in range(0, len(flat), 2)]
        else:
            part = [(0.0, member) for member in flat]
        if len(part) > stride:
            part = part[:stride]
            edges.append(part[-1])
        parts.append(part)
    return parts, edges


def _passed(entry: Rank, edge: Rank | None, newest: bool) -> bool:
    """Return whether an entry comes at or before another one."""
    if edge is None:
        return False
    return entry >= edge if newest else entry <= edge


def _live_rows(
    context: Context, entity: Entity[R], keys: list[str], wanted: int
) -> Flow[tuple[int, list[R]]]:
    """Return up to `wanted` live rows of the first keys, and how many keys were passed.

    Of more than `wanted` keys, only those are read whose head shows no deadline that has passed.
    """
    prefix = context.partition(entity).document_prefix(entity.name)
    chosen, passed = keys, len(keys)
    if len(keys) > wanted:
        heads = yield from ask(context, tuple(("GETRANGE", prefix + key, 0, HEAD_LENGTH - 1) for key in keys))
        parsed = [read_head(head) for head in heads]
        ended = yield from deadlines_passed(
            context, context.partition(entity), [head.expires if head is not None else 0 for head in parsed]
        )
        places = [place for place, gone in enumerate(ended) if heads[place] and not gone][:wanted]
        chosen = [keys[place] for place in places]
        passed = places[-1] + 1 if len(places) == wanted else len(keys)
    if not chosen:
        return passed, []
    (documents,) = yield from ask(context, (("MGET", *[prefix + key for key in chosen]),))
    records = load_readable(context, entity, [document for document in documents if document is not None])
    live = yield from which_live(context, entity, records)
    return passed, [record for record, lives in zip(records, live, strict=True) if lives]
