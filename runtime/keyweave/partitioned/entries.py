"""Entries of one list of a view in all partitions, in order: ids with scores, as many as a page needs, in one or two round trips."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, repeat
from typing import Final, NamedTuple, TypeAlias

import msgspec

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import Position
from keyweave.read.query import Query
from keyweave.read.rank import Rank, rank_at
from keyweave.read.stream import Stream
from keyweave.store.context import Context

_SURPLUS: Final = 2
_MORE: Final = 3
"""So many entries are read first for each row that a partition has on average, and so many more: rows are not spread evenly."""

_LEAST: Final = 8
"""So few entries are read of each partition in any case: a second trip would cost more."""

Entry: TypeAlias = tuple[float, bytes, int]
"""An entry of a view: its score, its member, and the number of its partition."""


_scores: Final = msgspec.json.Decoder(list[float]).decode


class Entries(NamedTuple):
    """Entries that were read of all partitions.

    Attributes:
        merged: in their order.
        edge: the entry behind which a partition has entries that were not read; None if there is none.
    """

    merged: list[Entry]
    edge: Entry | None

    @property
    def certain(self) -> int:
        """How many of the entries are the first ones of all partitions."""
        return len(self.merged) if self.edge is None else self.merged.index(self.edge) + 1


def read_entries(
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    stream: Stream,
    limit: int,
    start: Position | None,
) -> Flow[Entries | None]:
    """Return the first entries after a position. More than `limit` of them are certain, or there are no more.

    Returns:
        None if a partition has too many of the position's score.
    """
    newest = query.descending
    after = rank_at(query.entity, start) if start is not None else None
    commands = _reading(partitions[0], query, stream, start)
    size = min(limit + 1, max(_LEAST, math.ceil(limit * _SURPLUS / len(partitions)) + _MORE))
    asked: Sequence[int] = range(len(partitions))
    every: list[Entry] = []
    lasts: dict[int, Entry] = {}
    while True:
        replies = yield from ask(context, commands([partitions[number] for number in asked], size))
        if every:
            every = [each for each in every if each[2] not in asked]
            lasts = {number: last for number, last in lasts.items() if number not in asked}
        read, full = _parsed(asked, replies, size)
        lasts |= full
        if after is not None:
            if any(not _follows(last, after, newest) for last in full.values()):
                return None
            read = [each for each in read if each[0] != after[0] or _follows(each, after, newest)]
        every += read
        every.sort(reverse=newest)
        if not lasts:
            return Entries(every, None)
        needed = every[limit] if len(every) > limit else None
        edge = max(lasts.values()) if newest else min(lasts.values())
        if needed is not None and (edge <= needed if newest else edge >= needed):
            return Entries(every, edge)
        if size > limit + 1:
            return None
        asked = [
            number
            for number, last in lasts.items()
            if needed is None or (last > needed if newest else last < needed)
        ]
        size = limit + 2


def _parsed(
    asked: Sequence[int], replies: Sequence[list[bytes]], size: int
) -> tuple[list[Entry], dict[int, Entry]]:
    """Return the entries in the replies of partitions, and the last one of each partition that has `size` of them."""
    flat = list(chain.from_iterable(replies))
    members, texts = flat[::2], flat[1::2]
    counts = [len(reply) // 2 for reply in replies]
    numbers = chain.from_iterable(map(repeat, asked, counts))
    try:
        scores = _scores(b"[" + b",".join(texts) + b"]")  # three times as fast as `float` for each
    except msgspec.DecodeError:  # one is infinite
        scores = list(map(float, texts))
    entries = list(zip(scores, members, numbers, strict=True))
    ends = accumulate(counts)
    full = {
        number: entries[end - 1]
        for number, count, end in zip(asked, counts, ends, strict=True)
        if count >= size
    }
    return entries, full


def _follows(entry: Entry, rank: Rank, newest: bool) -> bool:
    return entry[:2] < rank if newest else entry[:2] > rank


def _reading(
    one: Partition, query: Query, stream: Stream, start: Position | None
) -> Callable[[Sequence[Partition], int], tuple[Command, ...]]:
    """Return what makes the commands that read entries of partitions; with a position, also those of its score."""
    # The keys of all partitions differ in their tags only.
    name = one.view(query.entity.name, stream.view.name, stream.values)[len(one.tag) :]
    low, high = stream.ends or ("-inf", "+inf")
    if query.descending:
        verb, first, last = "ZREVRANGEBYSCORE", start.score if start is not None else high, low
    else:
        verb, first, last = "ZRANGEBYSCORE", start.score if start is not None else low, high

    def commands(partitions: Sequence[Partition], size: int) -> tuple[Command, ...]:
        rest = (first, last, "WITHSCORES", "LIMIT", 0, size)
        return tuple([(verb, partition.tag + name, *rest) for partition in partitions])

    return commands
