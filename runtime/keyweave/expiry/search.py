"""Searching for the entries of rows whose document the server has freed: nothing says any more which entries they had.

All indexes of a partition are read. A search can be interrupted after each exchange and continued later, by another
operation of the same store, so that none of them has to wait for all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, TypeAlias

from keyweave.commit.allowance import Allowance
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Index, View
from keyweave.model.entry import REVISION, ClaimEntry, Entry, ViewEntry
from keyweave.store.context import Context

_SCANNED: Final = 1000
"""Keys that one exchange looks at."""

_BATCH: Final = 500
_LOOKUPS: Final = 5000
"""Members that one exchange looks up, about."""

_EXCHANGES: Final = 32
"""Maximum number of exchanges of one part of a search whose time is limited."""

Row: TypeAlias = tuple[str, str]
"""Entity name and key of a row."""

_Found: TypeAlias = tuple[str, Index, tuple[str, ...]]
"""A key of an index on the server, the index, and the values of a view."""


class Search:
    """A search for the entries of freed rows.

    Args:
        rows: the deadline of each row, as the server writes it.

    Attributes:
        rows: the rows whose entries were not removed yet, with their deadlines.
        entries: what was found.
    """

    def __init__(self, rows: dict[Row, bytes]) -> None:
        self.rows: Final = rows
        self.entries: Final[dict[Row, list[Entry]]] = defaultdict(list)
        self._keys: Final[dict[str, set[str]]] = defaultdict(set)
        for name, key in rows:
            self._keys[name].add(key)
        self._cursor: bytes | int | None = 0
        self._unsized: list[_Found] = []
        self._views: list[tuple[_Found, int]] = []
        self._texts: list[tuple[_Found, bytes]] = []
        self._claims: list[tuple[_Found, bytes | int]] = []

    @property
    def complete(self) -> bool:
        """Whether every index was read."""
        waiting = self._unsized or self._views or self._texts or self._claims
        return self._cursor is None and not waiting

    def advance(self, context: Context, partition: Partition, allowance: Allowance | None) -> Flow[None]:
        """Search until the search is complete or the allowance is used up: one exchange at least."""
        exchanges = 0
        while not self.complete:
            if self._unsized:
                yield from self._measure(context)
            elif self._views:
                yield from self._read_views(context)
            elif self._texts:
                yield from self._read_texts(context)
            elif self._claims:
                yield from self._read_claims(context)
            else:
                yield from self._scan(context, partition)
            exchanges += 1
            if allowance is not None and allowance.timed and (exchanges == _EXCHANGES or allowance.spent):
                return

    def _scan(self, context: Context, partition: Partition) -> Flow[None]:
        """Find further keys of indexes that may have entries of the rows."""
        cursor = self._cursor if self._cursor is not None else 0
        names = list(self._keys)
        pattern = context.keyspace.pattern_of_indexes(partition, names[0] if len(names) == 1 else None)
        ((cursor, keys),) = yield from ask(context, (("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED),))
        for found in keys:
            key = found.decode(errors="replace")
            parsed = partition.index_of(key)
            index = context.package.indexes.get(parsed[0]) if parsed is not None else None
            if parsed is None or index is None or index.entity.name not in self._keys:
                continue
            if isinstance(index.of, View) and index.of.by_text:
                self._texts.append(((key, index, parsed[1]), b"-"))
            elif isinstance(index.of, View):
                self._unsized.append((key, index, parsed[1]))
            else:
                self._claims.append(((key, index, ()), 0))
        self._cursor = cursor if int(cursor) else None

    def _measure(self, context: Context) -> Flow[None]:
        """Ask for the sizes of views, which decide how each is read."""
        part = self._unsized[-_SCANNED:]
        sizes = yield from ask(context, tuple(("ZCARD", key) for key, _, _ in part))
        del self._unsized[-len(part) :]
        self._views += zip(part, sizes, strict=True)

    def _read_views(self, context: Context) -> Flow[None]:
        """Look for members in some views: for the rows in the view, or for the members among the rows."""
        commands: list[Command] = []
        asked: list[tuple[_Found, list[str] | None]] = []
        lookups = number = 0
        while number < len(self._views) and lookups < _LOOKUPS:
            number += 1
            found, size = self._views[-number]
            keys = self._keys[found[1].entity.name]
            lookups += 1 + min(size, len(keys))
            if size <= len(keys):
                commands.append(("ZRANGE", found[0], 0, -1))
                asked.append((found, None))
                continue
            for part in _parts(sorted(keys)):
                commands.append(("ZMSCORE", found[0], *part))
                asked.append((found, part))
        replies = yield from ask(context, tuple(commands))
        del self._views[-number:]
        for (found, looked_up), reply in zip(asked, replies, strict=True):
            if looked_up is None:
                members = [member.decode(errors="replace") for member in reply]
            else:
                members = [
                    member for member, score in zip(looked_up, reply, strict=True) if score is not None
                ]
            _, index, values = found
            for member in members:
                if member in self._keys[index.entity.name]:
                    self._add((index.entity.name, member), ViewEntry(index.of.name, values, member, REVISION))

    def _read_texts(self, context: Context) -> Flow[None]:
        """Look for the rows among the members of a part of a view in an order of strings: no key finds a member."""
        found, start = self._texts[-1]
        command: Command = ("ZRANGEBYLEX", found[0], start, b"+", "LIMIT", 0, _LOOKUPS)
        (members,) = yield from ask(context, (command,))
        self._texts.pop()
        _, index, values = found
        assert isinstance(index.of, View)
        for member in (each.decode(errors="replace") for each in members):
            key = index.of.key_in(member)
            if key in self._keys[index.entity.name]:
                self._add((index.entity.name, key), ViewEntry(index.of.name, values, member, REVISION))
        if len(members) == _LOOKUPS:
            self._texts.append((found, b"(" + members[-1]))

    def _read_claims(self, context: Context) -> Flow[None]:
        """Look for owners among the rows in a part of a unique constraint."""
        found, cursor = self._claims[-1]
        ((cursor, flat),) = yield from ask(context, (("HSCAN", found[0], cursor, "COUNT", _SCANNED),))
        name = found[1].entity.name
        for value, owner in zip(flat[0::2], flat[1::2], strict=True):
            key = owner.decode(errors="replace")
            if key in self._keys[name]:
                self._add((name, key), ClaimEntry(found[1].of.name, value.decode(errors="replace"), key))
        self._claims.pop()
        if int(cursor):
            self._claims.append((found, cursor))

    def _add(self, row: Row, entry: Entry) -> None:
        """Add an entry, unless SCAN has returned it before."""
        if entry not in self.entries[row]:
            self.entries[row].append(entry)


def _parts(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
