"""Walks through a namespace in constant memory: keys by SCAN, documents by MGET, entries by ZSCAN and HSCAN.

The server may return a key or member twice. One that is created or deleted during the walk may or may not be returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from keyweave.effects import Command, Flow, ServerError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, MOST, Failures, each_partition
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey, text, word
from keyweave.store.context import Context

WRONGTYPE: Final = frozenset({"WRONGTYPE"})

_KEYS: Final = 1000
_INDEXES: Final = 100
_MEMBERS: Final = 5_000
_DOCUMENTS: Final = 500
_BYTES: Final = 8 * 1024 * 1024
"""The approximate limit of the documents in the replies of one exchange."""


class KeyScan:
    """Iterates over the names of all keys of the namespace, a batch at a time.

    On a cluster each partition is scanned where it is, so that none of its keys is left out while slots move. The keys of
    partitions that this code does not have are on any master: all are scanned for them at the end.

    Args:
        context: of the namespace.
        patterns: of the keys, the last ones first; by default all keys.
    """

    __slots__ = ("_context", "_copies", "_cursor", "_everything", "_known", "_patterns", "_tags")

    def __init__(self, context: Context, patterns: Sequence[str] | None = None) -> None:
        keyspace = context.keyspace
        self._context: Final = context
        self._everything: Final = keyspace.pattern()
        if patterns is None:
            patterns = [self._everything, *(keyspace.patterns() if context.clustered else ())]
        self._patterns: Final = list(patterns)
        self._tags: Final = tuple(partition.tag.encode() for partition in keyspace.partitions())
        self._copies: Final = tuple(partition.tag.encode() for partition in keyspace.filling())
        self._known: Final = context.state.names
        self._cursor = 0

    @property
    def done(self) -> bool:
        """Whether all keys were returned."""
        return not self._patterns

    def names(self) -> Flow[list[bytes]]:
        """Return the next names; the batch may be empty."""
        if self._known is not None:
            start, self._cursor = self._cursor, self._cursor + _KEYS
            if self._cursor >= len(self._known):
                self._patterns.clear()
            return list(self._known[start : self._cursor])
        pattern = self._patterns[-1]
        command: Command = ("SCAN", self._cursor, "MATCH", pattern, "COUNT", _KEYS)
        ((cursor, names),) = yield from ask(self._context, (command,))
        if self._context.clustered and pattern == self._everything:
            names = [name for name in names if not name.startswith(self._tags)]
        if self._copies:
            names = [name for name in names if not name.startswith(self._copies)]
        self._cursor = int(cursor)
        if not self._cursor:
            self._patterns.pop()
        return names  # type: ignore[no-any-return]


def each_scan(
    context: Context,
    visit: Callable[[KeyScan], Flow[None]],
    failures: Failures,
    *,
    foreign: bool = True,
    at_once: int = AT_ONCE,
) -> Flow[None]:
    """Visit all keys of the namespace: on a cluster those of each partition on their own, some partitions of each master at once.

    On one server one scan finds the keys of all partitions, and an error ends it.

    Args:
        visit: reads keys from a scan until it is done.
        failures: gets the partitions whose visit fails, and has those that are left out.
        foreign: whether keys of partitions that this code does not have are visited too: behind all others.
        at_once: most partitions of one master that are visited at the same time.
    """
    if not context.clustered:
        yield from visit(KeyScan(context))
        return
    keyspace = context.keyspace
    yield from each_partition(
        context,
        keyspace.partitions(),
        lambda partition: visit(KeyScan(context, [keyspace.pattern_of(partition)])),
        failures,
        at_once,
    )
    if foreign and not failures.of_master:
        yield from visit(KeyScan(context, [keyspace.pattern()]))


def scans_at_once(context: Context) -> int:
    """Return how many scans `each_scan` may have under way at the same time."""
    return min(MOST, len(context.keyspace.partitions())) if context.clustered else 1


class Walk:
    """Iterates over the keys of a scan that a locator selects, a batch at a time."""

    __slots__ = ("_locator", "_scan")

    def __init__(self, scan: KeyScan, locator: Locator) -> None:
        self._scan: Final = scan
        self._locator: Final = locator

    @property
    def done(self) -> bool:
        """Whether all keys were returned."""
        return self._scan.done

    def keys(self) -> Flow[list[ParsedKey]]:
        """Return the next keys that the locator selects; the batch may be empty."""
        names = yield from self._scan.names()
        locate, chooses = self._locator.locate, self._locator.chooses
        places = [locate(text(name)) for name in names]
        return [place for place in places if chooses(place)]


class Held(NamedTuple):
    """Some entries of an index.

    Attributes:
        place: the index.
        pairs: alternating member and score of a view, member and deadline of the expiry set, value and owner of claims.
    """

    place: ParsedKey
    pairs: list[bytes]


class Contents:
    """Iterates over the entries of indexes, a bounded number at a time."""

    __slots__ = ("_context", "_pending", "wrong")

    def __init__(self, context: Context, places: Iterable[ParsedKey]) -> None:
        self._context: Final = context
        self._pending: list[tuple[ParsedKey, int]] = [(place, 0) for place in places]
        self.wrong: list[ParsedKey] = []
        """Keys that have another type."""

    @property
    def done(self) -> bool:
        """Whether all entries were returned."""
        return not self._pending

    def read(self) -> Flow[list[Held]]:
        """Return the next entries."""
        now, self._pending = self._pending[:_INDEXES], self._pending[_INDEXES:]
        count = max(50, _MEMBERS // len(now))
        commands: list[Command] = [
            ("HSCAN" if place.what is KeyKind.CLAIMS else "ZSCAN", place.key, cursor, "COUNT", count)
            for place, cursor in now
        ]
        replies = yield from ask(self._context, tuple(commands), tolerated=WRONGTYPE)
        found = []
        for (place, _), reply in zip(now, replies, strict=True):
            if type(reply) is ServerError:
                self.wrong.append(place)
                continue
            following, pairs = reply
            found.append(Held(place, pairs))
            if int(following):
                self._pending.append((place, int(following)))
        return found


class Batches:
    """Splits lists of rows into batches whose documents fit into memory, by the size of the documents read before.

    Args:
        at_once: how many batches may be read at the same time; together they fit into memory.
    """

    __slots__ = ("_average", "_bytes")

    def __init__(self, at_once: int = 1) -> None:
        self._bytes: Final = _BYTES / at_once
        self._average = self._bytes / 16  # large, so that the first batch is small

    def of(self, rows: Sequence[Any], most: int = _DOCUMENTS) -> Iterator[Any]:
        """Yield the rows in batches of at most `most`. Each batch's size follows from the latest call of `learn`."""
        start = 0
        while start < len(rows):
            size = max(1, min(most, int(self._bytes / self._average)))
            yield rows[start : start + size]
            start += size

    def learn(self, documents: Iterable[bytes | None]) -> None:
        """Update the average size from documents."""
        sizes = [len(document) for document in documents if document is not None]
        if sizes:
            # The largest document counts twice, and the average falls slowly: a batch of large documents must still fit.
            self._average = max(256.0, 0.5 * self._average, (sum(sizes) + max(sizes)) / (len(sizes) + 1))


def read_slots(context: Context, keys: Sequence[str]) -> Flow[list[list[tuple[bytes, bytes]]]]:
    """Return the slots of ledgers with their values; none of a key of another type."""
    replies = yield from ask(context, tuple(("HGETALL", word(key)) for key in keys), tolerated=WRONGTYPE)
    return [
        [] if type(reply) is ServerError else list(zip(reply[0::2], reply[1::2], strict=True))
        for reply in replies
    ]


def read_documents(context: Context, places: Sequence[ParsedKey]) -> Flow[list[tuple[bytes | None, int]]]:
    """Return documents with the time at which the server frees them (ms since 1970; -1 never, -2 no such key)."""
    keys = [place.key for place in places]
    documents, *ends = yield from ask(context, (("MGET", *keys), *[("PEXPIRETIME", key) for key in keys]))
    return list(zip(documents, ends, strict=True))
