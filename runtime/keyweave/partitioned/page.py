"""A page of one view over several partitions in two round trips: entries of all partitions first, then the documents of the page.

So exactly the documents of the page are read, however rows are spread. The page is as its entries were, but for what its documents
show: a row that has left the list since, or has ended, is left out, and the next one takes its place; a row that has moved is where
its document says, if that is inside the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from keyweave.changes.change import score_number
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import TIME, micros_of
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import Position
from keyweave.model.entry import ViewEntry
from keyweave.model.record import memory_of
from keyweave.partitioned.entries import Entries, Entry, read_entries
from keyweave.partitioned.inside import inside
from keyweave.read.conditions import conditions_of
from keyweave.read.execute import sort_key
from keyweave.read.get import which_live
from keyweave.read.query import Query
from keyweave.read.rank import between, position_at
from keyweave.read.readable import load_each
from keyweave.read.stream import Stream
from keyweave.store.clock import ServerClock
from keyweave.store.context import Context


class Found(NamedTuple):
    """Rows of a page.

    Attributes:
        rows: in their order.
        entries: of the rows, which say in which of the partitions each is.
        end: where the next page begins; None at the end.
    """

    rows: list[Any]
    entries: list[Entry]
    end: Position | None


def is_read_by_entries(context: Context, stream: Stream) -> bool:
    """Return whether a page of one list of a view is read by its entries.

    While partitions are doubled a view may hold rows that have moved, which the general way leaves out.
    """
    if context.unit is not None or context.unbuilt or context.doubling is not None:
        return False
    return stream.view.whole and not stream.view.by_text


def page_by_entries(
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    stream: Stream,
    limit: int,
    start: Position | None,
) -> Flow[Found | None]:
    """Return up to `limit` rows of a list after a position.

    Returns:
        None if too many entries have the score of the position.
    """
    making, after = _Page(context, partitions, query, stream, limit, start), start
    while True:
        lacking = making.lacking(after)
        entries = yield from read_entries(context, partitions, query, stream, lacking, after)
        if entries is None:
            return making.found(after) if making.examined else None
        after = yield from making.fill(entries, after)
        if after is None or not making.lacking(after):
            return making.found(after)


class _Page:
    """A page that is being read.

    Attributes:
        rows: that are where their entries were.
        entries: of these rows.
        moved: rows that have moved in the list since, with the entries that their documents give them.
        missing: entries whose documents were not there, until it is known whether the entries still are.
        examined: whether entries were read.
    """

    def __init__(
        self,
        context: Context,
        partitions: Sequence[Partition],
        query: Query,
        stream: Stream,
        limit: int,
        start: Position | None,
    ) -> None:
        self._context: Final = context
        self._partitions: Final = partitions
        self._query: Final = query
        self._stream: Final = stream
        self._limit: Final = limit
        self._start: Final = start
        self._equal: Final = conditions_of(query, query.parts[0]).equal if stream.view.fields else {}
        self.rows: list[Any] = []
        self.entries: list[Entry] = []
        self.moved: list[tuple[Entry, Any]] = []
        self.missing: list[Entry] = []
        self.examined = False

    def lacking(self, end: Position | None) -> int:
        """Return how many rows a page that ends at a position lacks."""
        return max(0, self._limit - len(self.rows) - len(self._inside(end)))

    def fill(self, entries: Entries, end: Position | None) -> Flow[Position | None]:
        """Read rows of entries behind a position until none is lacking.

        Returns:
            The position behind the last of these entries; None if none is left.
        """
        merged, taken = entries.merged, 0
        chosen = merged[: self.lacking(end)]
        while chosen or self.missing:
            taken += len(chosen)
            yield from self._read(chosen)
            end = self._position(merged[taken - 1])
            lacking = self.lacking(end)
            chosen = merged[taken : min(taken + lacking, entries.certain)] if lacking else []
        self.examined = True
        return None if len(merged) == taken and entries.edge is None else end

    def found(self, end: Position | None) -> Found:
        """Return the rows of the page if it ends at a position."""
        moved, limit = self._inside(end), self._limit
        if not moved:
            return Found(self.rows, self.entries, end)
        every = [*zip(self.entries, self.rows, strict=True), *moved]
        every.sort(key=lambda each: each[0], reverse=self._query.descending)
        if len(every) > limit:
            end = self._position(every[limit - 1][0])
        return Found([row for _, row in every[:limit]], [entry for entry, _ in every[:limit]], end)

    def _inside(self, end: Position | None) -> list[tuple[Entry, Any]]:
        """Return the rows that have moved to a place between the beginning of the page and a position."""
        if not self.moved:
            return []
        entity, start, newest = self._query.entity, self._start, self._query.descending
        return [each for each in self.moved if between(entity, each[0][:2], start, end, newest)]

    def _position(self, entry: Entry) -> Position:
        query = self._query
        return position_at(query.entity, query.order, query.descending, entry[:2])

    def _read(self, chosen: list[Entry]) -> Flow[None]:
        """Read the rows of entries. What was missing before is examined in the same round trip."""
        name, missing, partitions = self._query.entity.name, self.missing, self._partitions
        reads: dict[int, list[str]] = {}
        prefixes: dict[int, str] = {}
        for _, member, number in chosen:
            if number not in reads:
                reads[number] = ["MGET"]
                prefixes[number] = partitions[number].document_prefix(name)
            reads[number].append(prefixes[number] + member.decode())
        clocks = self._stale_clocks(reads) if name in self._context.retention else {}
        commands: list[Command] = []
        for number, words in reads.items():
            commands.append(tuple(words))
            if number in clocks:
                commands.append(TIME)
        commands += [("ZMSCORE", self._view(number), member) for _, member, number in missing]
        replies = iter((yield from ask(self._context, tuple(commands))))
        documents: dict[int, Iterator[bytes | None]] = {}
        for number in reads:
            documents[number] = iter(next(replies))
            if number in clocks:
                clocks[number].set(micros_of(next(replies)))
        # The documents of each partition are in the order of its entries.
        read: list[Any] = [next(documents[number]) for _, _, number in chosen]
        if missing:
            yield from self._heal(missing, [score for (score,) in replies])
            self.missing = []
        if None in read:
            self.missing = [entry for entry, each in zip(chosen, read, strict=True) if each is None]
            chosen = [entry for entry, each in zip(chosen, read, strict=True) if each is not None]
            read = [each for each in read if each is not None]
        yield from self._keep(chosen, load_each(self._context, self._query.entity, read))

    def _stale_clocks(self, numbers: Iterable[int]) -> dict[int, ServerClock]:
        """Return the clocks that are set behind the documents of partitions, because their rows may have deadlines."""
        context = self._context
        if not context.clustered:
            clock = context.state.clock
            return dict.fromkeys(islice(numbers, 1), clock) if clock.stale() else {}
        known, partitions = context.state.clocks, self._partitions
        now, wall = context.monotonic(), context.wall()
        clocks = [(number, known.get(partitions[number].tag)) for number in numbers]
        return {number: clock for number, clock in clocks if clock is not None and clock.stale_at(now, wall)}

    def _view(self, number: int) -> str:
        stream = self._stream
        return self._partitions[number].view(self._query.entity.name, stream.view.name, stream.values)

    def _keep(self, chosen: list[Entry], rows: list[Any]) -> Flow[None]:
        """Keep the rows that are still in the list and have not ended."""
        if not all(rows):  # a document cannot be read
            chosen = [entry for entry, row in zip(chosen, rows, strict=True) if row is not None]
            rows = [row for row in rows if row is not None]
        if self._query.entity.name in self._context.retention:
            live = yield from self._which_live(chosen, rows)
            if live is not None:
                chosen = [entry for entry, lives in zip(chosen, live, strict=True) if lives]
                rows = [row for row, lives in zip(rows, live, strict=True) if lives]
        if self._stay(chosen, rows):
            self.entries += chosen
            self.rows += rows
            return
        for entry, row in zip(chosen, rows, strict=True):
            if self._stay([entry], [row]):
                self.entries.append(entry)
                self.rows.append(row)
                continue
            place = self._place(row, entry[2])
            if place is not None:
                self.moved.append((place, row))

    def _stay(self, entries: list[Entry], rows: list[Any]) -> bool:
        """Return whether all rows are in the list, at the places of their entries."""
        order = self._query.order
        scores: list[float] = [score for score, _, _ in entries]
        if order == "created":
            same = [row._keyweave.created for row in rows] == scores
        elif order == "revision":
            same = [row._keyweave.revision for row in rows] == scores
        else:
            ranks = [sort_key(self._context, self._query, row) for row in rows]
            same = ranks == [entry[:2] for entry in entries]
        return same and all(
            getattr(row, name) == value for name, value in self._equal.items() for row in rows
        )

    def _place(self, row: Any, number: int) -> Entry | None:
        """Return the entry of a row in the list; None if it is not there any more."""
        view, values = self._stream.view.name, self._stream.values
        for entry in self._query.entity.entries(row):
            if type(entry) is ViewEntry and entry.view == view and entry.values == values:
                score, member = score_number(entry.score, memory_of(row)), entry.member.encode()
                return (score, member, number) if self._stream.holds(score, member) else None
        return None

    def _which_live(self, entries: list[Entry], rows: list[Any]) -> Flow[list[bool] | None]:
        """Return which rows have not ended; None for all. The servers are asked for their times if rows have deadlines."""
        deadlines = [row._keyweave.expires for row in rows]
        if not any(deadlines):
            return None
        theirs: dict[int, list[int]] = {}
        for place, deadline in enumerate(deadlines):
            if deadline:
                theirs.setdefault(entries[place][2], []).append(place)
        context, entity = self._context, self._query.entity
        flows = [
            which_live(inside(context, self._partitions[number]), entity, [rows[place] for place in places])
            for number, places in theirs.items()
        ]
        live = [True] * len(rows)
        for places, lives in zip(theirs.values(), (yield from together(context, flows)), strict=True):
            for place, lives_on in zip(places, lives, strict=True):
                live[place] = lives_on
        return live

    def _heal(self, missing: list[Entry], scores: Sequence[Any]) -> Flow[None]:
        """Remove entries without a document. Of a row that was deleted meanwhile there is no entry any more."""
        dangling: dict[int, list[bytes]] = {}
        for (_, member, number), score in zip(missing, scores, strict=True):
            if score is not None:
                dangling.setdefault(number, []).append(member)
        for number, members in dangling.items():
            stream, some = self._stream, members[:HEALED_AT_ONCE]
            rows = dangling_members(self._query.entity, stream.view, stream.values, some)
            yield from heal_on_the_way(inside(self._context, self._partitions[number]), rows)
