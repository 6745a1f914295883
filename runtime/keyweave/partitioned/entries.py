"""A page of one view over several partitions in two round trips: entries of all partitions first, then the documents of the page.

So exactly the documents of the page are read, however rows are spread. What is not as it was between the two, such as a row that
left the view, or one past its deadline, is left to the general way, which reads each partition's rows with its script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import Position
from keyweave.model.record import memory_of
from keyweave.partitioned.inside import inside
from keyweave.read.conditions import conditions_of
from keyweave.read.execute import answer_to, sort_key
from keyweave.read.get import which_live
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.rank import Rank, position_at, rank_at
from keyweave.read.readable import load_each
from keyweave.read.stream import Stream
from keyweave.store.context import Context

_SURPLUS: Final = 2.5
_MORE: Final = 4
"""So many entries are read first for each row that a partition has on average, and so many more: rows are not spread evenly."""

_MOMENTS: Final = frozenset({"created", "revision"})

Entry = tuple[Rank, int]
"""An entry of a view: its rank, and the number of its partition."""


def page_by_entries(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, start: Position | None
) -> Flow[tuple[list[tuple[Context, Any]], Position | None] | None]:
    """Return up to `limit` rows of a query after a position, each with the context of its partition, and the next position.

    Returns:
        None if the query does not ask for one list of a view, or the rows changed meanwhile, or while partitions are doubled.
    """
    if context.doubling is not None:
        return None  # a view may hold rows that have moved, and the general way leaves them out
    stream = yield from _stream_of(context, partitions[0], query)
    if stream is None:
        return None
    entity, newest = query.entity, query.descending
    found = yield from _entries(context, partitions, query, stream, limit, start)
    if found is None:
        return None
    chosen = found[:limit]
    members: dict[int, list[str]] = {}
    for (_, member), number in chosen:
        members.setdefault(number, []).append(member.decode())
    if not chosen:
        return [], None
    commands = [
        ("MGET", *[partitions[number].document(entity.name, key) for key in keys])
        for number, keys in members.items()
    ]
    replies = yield from ask(context, tuple(commands))
    documents: dict[int, Any] = {number: iter(each) for number, each in zip(members, replies, strict=True)}
    read = [next(documents[number]) for _, number in chosen]
    if None in read:
        return None
    rows = load_each(context, entity, read)
    equal = conditions_of(query, query.parts[0]).equal.items()
    for row, (rank, _) in zip(rows, chosen, strict=True):
        if row is None or not _has_rank(context, query, row, rank):
            return None
        if any(getattr(row, name) != value for name, value in equal):
            return None
    contexts = {number: inside(context, partitions[number]) for number in members}
    if entity.name in context.retention:
        theirs: dict[int, list[Any]] = {}
        for row, (_, number) in zip(rows, chosen, strict=True):
            theirs.setdefault(number, []).append(row)
        live = yield from together(
            context, [which_live(contexts[number], entity, each) for number, each in theirs.items()]
        )
        if not all(map(all, live)):
            return None
    end = position_at(entity, query.order, newest, chosen[-1][0]) if len(found) > limit else None
    return [(contexts[number], row) for row, (_, number) in zip(rows, chosen, strict=True)], end


def _stream_of(context: Context, partition: Partition, query: Query) -> Flow[Stream | None]:
    """Return the list of a view that a query asks for; None for any other query, and where the entries do not say all."""
    if context.unit is not None or context.unbuilt or len(query.parts) != 1 or not query.parts[0].view:
        return None
    answer = yield from answer_to(inside(context, partition), query, checked(query))
    if not answer.plain or len(answer.streams) != 1 or answer.having[0]:
        return None
    stream = answer.streams[0]
    return stream if stream.view.whole and not stream.view.by_text else None


def _entries(
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    stream: Stream,
    limit: int,
    start: Position | None,
) -> Flow[list[Entry] | None]:
    """Return the first entries of all partitions in order: at least one more than `limit`, or all. None if too many have one score."""
    newest = query.descending
    after = rank_at(query.entity, start) if start is not None else None
    first = min(limit + 1, math.ceil(limit * _SURPLUS / len(partitions)) + _MORE)
    asked = range(len(partitions))
    size = first
    entries: dict[int, list[Entry]] = {}
    while True:
        replies = yield from ask(
            context, tuple([_read(partitions[number], query, stream, size, start) for number in asked])
        )
        whole = set()
        for number, reply in zip(asked, replies, strict=True):
            read = [
                ((float(score), member), number)
                for member, score in zip(reply[::2], reply[1::2], strict=True)
            ]
            if len(read) < size:
                whole.add(number)
            if after is not None:
                read = [entry for entry in read if (entry[0] < after if newest else entry[0] > after)]
                if not read and number not in whole:
                    return None
            entries[number] = read
        merged = sorted([entry for each in entries.values() for entry in each], reverse=newest)
        last = merged[limit][0] if len(merged) > limit else None
        asked_again = [
            number
            for number in asked
            if number not in whole
            and (last is None or (entries[number][-1][0] > last if newest else entries[number][-1][0] < last))
        ]
        if not asked_again:
            return merged
        if size > limit + 1:
            return None
        asked, size = asked_again, limit + 2  # type: ignore[assignment]


def _read(partition: Partition, query: Query, stream: Stream, size: int, start: Position | None) -> Command:
    """Return the command that reads entries of a partition; with a position, also those of its score."""
    key = partition.view(query.entity.name, stream.view.name, stream.values)
    low, high = stream.ends or ("-inf", "+inf")
    if query.descending:
        high = start.score if start is not None else high
        return ("ZREVRANGEBYSCORE", key, high, low, "WITHSCORES", "LIMIT", 0, size)
    low = start.score if start is not None else low
    return ("ZRANGEBYSCORE", key, low, high, "WITHSCORES", "LIMIT", 0, size)


def _has_rank(context: Context, query: Query, row: Any, rank: Rank) -> bool:
    """Return whether a row still has the place in the order that its entry had."""
    if query.order in _MOMENTS:
        stored = memory_of(row)
        return stored is not None and getattr(stored, query.order) == rank[0]
    found: bool = sort_key(context, query, row) == rank
    return found
