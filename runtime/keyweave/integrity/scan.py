"""Going through a namespace in constant memory: keys by SCAN, documents by MGET, entries by ZSCAN and HSCAN.

The server may hand out a key or member twice, and may or may not hand out one that came or went meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from keyweave.effects import Command, Flow, ServerError
from keyweave.exchange.ask import ask
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey, text
from keyweave.store.context import Context

WRONGTYPE: Final = frozenset({"WRONGTYPE"})

_KEYS: Final = 1000
_INDEXES: Final = 100
_MEMBERS: Final = 5_000
_DOCUMENTS: Final = 500
_BYTES: Final = 8 * 1024 * 1024
"""About the most that the documents of one reply take."""


class Walk:
    """All keys of the namespace, a batch at a time."""

    __slots__ = ("_context", "_cursor", "_locator", "_pattern")

    def __init__(self, context: Context, locator: Locator) -> None:
        self._context: Final = context
        self._locator: Final = locator
        self._pattern: Final = context.keyspace.pattern()
        self._cursor: int | None = 0

    @property
    def over(self) -> bool:
        """Whether all keys were handed out."""
        return self._cursor is None

    def keys(self) -> Flow[list[ParsedKey]]:
        """The next keys of interest; there may be none among them."""
        command: Command = ("SCAN", self._cursor or 0, "MATCH", self._pattern, "COUNT", _KEYS)
        ((cursor, names),) = yield from ask(self._context, (command,))
        self._cursor = int(cursor) or None
        locate, chooses = self._locator.locate, self._locator.chooses
        places = [locate(text(name)) for name in names]
        return [place for place in places if chooses(place)]


class Held(NamedTuple):
    """Some of what an index holds.

    Attributes:
        place: the index.
        pairs: member and score of a view, member and deadline of the expiry set, value and owner of claims, in turn.
    """

    place: ParsedKey
    pairs: list[bytes]


class Contents:
    """What indexes hold, a bounded number of entries at a time."""

    __slots__ = ("_context", "_pending", "wrong")

    def __init__(self, context: Context, places: Iterable[ParsedKey]) -> None:
        self._context: Final = context
        self._pending: list[tuple[ParsedKey, int]] = [(place, 0) for place in places]
        self.wrong: list[ParsedKey] = []
        """Keys that hold something else."""

    @property
    def over(self) -> bool:
        """Whether everything was handed out."""
        return not self._pending

    def read(self) -> Flow[list[Held]]:
        """The next entries."""
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


class Portions:
    """Cuts lists of rows so that their documents fit into memory, by the size of those seen before."""

    __slots__ = ("_average",)

    def __init__(self) -> None:
        self._average = _BYTES / 16  # a careful start

    def of(self, rows: Sequence[Any], most: int = _DOCUMENTS) -> Iterator[Any]:
        """The rows in portions. `saw` between two of them decides the size of the next."""
        start = 0
        while start < len(rows):
            size = max(1, min(most, int(_BYTES / self._average)))
            yield rows[start : start + size]
            start += size

    def saw(self, documents: Iterable[bytes | None]) -> None:
        """Learn from documents."""
        sizes = [len(document) for document in documents if document is not None]
        if sizes:
            # The largest counts: memory must do for the worst of what is common here.
            self._average = max(256.0, 0.5 * self._average, (sum(sizes) + max(sizes)) / (len(sizes) + 1))


def read_documents(context: Context, places: Sequence[ParsedKey]) -> Flow[list[tuple[bytes | None, int]]]:
    """Documents with the moment at which the server frees them (ms since 1970; -1 never, -2 not there)."""
    keys = [place.key for place in places]
    documents, *ends = yield from ask(context, (("MGET", *keys), *[("PEXPIRETIME", key) for key in keys]))
    return list(zip(documents, ends, strict=True))
