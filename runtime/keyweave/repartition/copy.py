"""Copying what moves from a partition to its twin: rows with their entries, homes and fences. A copy may be repeated at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keyweave.document.head import HEAD_LENGTH
from keyweave.effects import Flow, Word
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import ask, ask_scripts
from keyweave.expiry.search import Search
from keyweave.homes.home import FENCE_LIFE, Homed, has_homes, is_located, noted, place_in
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey, text
from keyweave.keyspace.spread import place_of
from keyweave.model.entry import CREATED, REVISION, ClaimEntry, Entry
from keyweave.repartition.pair import Pair
from keyweave.store.context import Context

_KEYS: Final = 500


class OvertakenError(ConfigurationError):
    """Another process has taken the repartition over."""

    def __init__(self) -> None:
        super().__init__("another process has taken this repartition over; this one has ended")


class Row:
    """A stored row: its document, when the server frees it, and what follows from the document."""

    __slots__ = ("created", "document", "ends", "entries", "expires", "place", "revision")

    def __init__(self, context: Context, parsed: ParsedKey, document: bytes, ends: int) -> None:
        assert parsed.entity is not None
        record, head = context.codec(parsed.entity).peek(document)
        self.document = document
        self.ends = ends
        self.entries: list[Entry] = parsed.entity.entries(record)
        self.place = place_in(parsed.entity, record)
        self.revision, self.created, self.expires = head.revision, head.created, head.expires

    @property
    def head(self) -> bytes:
        """What the document begins with; no other state of the row has the same."""
        return self.document[:HEAD_LENGTH]


class Carry:
    """Commands for one partition, which run there in one step."""

    def __init__(self, partition: Partition, suffix: str) -> None:
        self._partition: Final = partition
        self._suffix: Final = suffix
        self._keys: dict[str, int] = {partition.clock: 1, partition.changed: 2}
        self._words: list[Word] = []

    def add(self, verb: str, key: str, *words: Word) -> None:
        """Add a command."""
        number = self._keys.setdefault(key, len(self._keys) + 1)
        self._words += (2 + len(words), verb, number, *words)

    def call(self, batch: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        """Return keys and arguments of the script `carry`."""
        return tuple(self._keys), (self._suffix, batch, *self._words)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self._words

    def remove_row(self, parsed: ParsedKey, entries: Sequence[Entry], but: Sequence[Entry] = ()) -> None:
        """Remove the entries and the deadline of a row, except for entries that another state of it has."""
        entity, partition = parsed.entity, self._partition
        assert entity is not None
        name = entity.name
        for entry in entries:
            if type(entry) is ClaimEntry:
                if entry not in but:
                    self.add("release", partition.claims(name, entry.unique), entry.value, entry.owner)
            elif not isinstance(entry, ClaimEntry):
                key = partition.view(name, entry.view, entry.values)
                if not any(
                    not isinstance(other, ClaimEntry)
                    and (other.view, other.values, other.member) == (entry.view, entry.values, entry.member)
                    for other in but
                ):
                    self.add("zrem", key, entry.member)
        self.add("zrem", partition.expiry, partition.expiring(name, parsed.rest))

    def put_row(self, parsed: ParsedKey, row: Row) -> None:
        """Write a row and its entries as they are elsewhere."""
        entity, partition = parsed.entity, self._partition
        assert entity is not None
        name, key = entity.name, partition.document(entity.name, parsed.rest)
        if row.ends > 0:
            self.add("set", key, row.document, "PXAT", row.ends)
        else:
            self.add("set", key, row.document)
        if row.expires:
            self.add("zadd", partition.expiry, row.expires, partition.expiring(name, parsed.rest))
        for entry in row.entries:
            if isinstance(entry, ClaimEntry):
                self.add("hset", partition.claims(name, entry.unique), entry.value, entry.owner)
                continue
            score: Word = entry.score
            score = row.created if score == CREATED else row.revision if score == REVISION else score
            self.add("zadd", partition.view(name, entry.view, entry.values), score, entry.member)


def carry(context: Context, carries: Sequence[Carry], pair: Pair | None = None) -> Flow[None]:
    """Run commands in partitions.

    Args:
        pair: whose twin the commands fill: they do nothing there when they arrive behind what is sent after them.

    Raises:
        OvertakenError: another process has taken the repartition over.
    """
    wanted = [each for each in carries if not each.empty]
    for start in range(0, len(wanted), _KEYS):
        batch = 0
        if pair is not None:
            pair.batch += 1
            batch = pair.batch
        calls = tuple(each.call(batch) for each in wanted[start : start + _KEYS])
        replies = yield from ask_scripts(context, "carry", calls)
        if any(reply[0] != b"DONE" for reply in replies):
            raise OvertakenError


def scan(context: Context, partition: Partition, cursor: int) -> Flow[tuple[int, list[str]]]:
    """Return some keys of a partition, and where to go on; 0 at the end."""
    pattern = context.keyspace.pattern_of(partition)
    ((following, names),) = yield from ask(context, (("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS),))
    return int(following), [text(name) for name in names]


def rows_of(context: Context, partition: Partition, parsed: Sequence[ParsedKey]) -> Flow[list[Row | None]]:
    """Return the rows of documents' keys as a partition has them."""
    if not parsed:
        return []
    keys = [partition.document(each.entity.name, each.rest) for each in parsed if each.entity is not None]
    documents, *ends = yield from ask(context, (("MGET", *keys), *[("PEXPIRETIME", key) for key in keys]))
    return [
        Row(context, each, document, end) if document is not None else None
        for each, document, end in zip(parsed, documents, ends, strict=True)
    ]


def copy_rows(context: Context, pair: Pair, parsed: Sequence[ParsedKey]) -> Flow[int]:
    """Make rows of the twin equal to those of the partition. Returns how many were written or removed."""
    for start in range(0, len(parsed), _KEYS):
        part = parsed[start : start + _KEYS]
        now = yield from rows_of(context, pair.source, part)
        copies = yield from rows_of(context, pair.twin, part)
        freed = yield from _freed_copies(
            context, pair.twin, [each for each, copy in zip(part, copies, strict=True) if copy is None]
        )
        carries = []
        for each, row, copy in zip(part, now, copies, strict=True):
            wanted = row if row is not None and row.place & pair.half else None
            if copy is None and wanted is None:
                continue
            if copy is not None and wanted is not None:
                if (copy.document, copy.ends) == (wanted.document, wanted.ends):
                    continue
            step = Carry(pair.twin, pair.filling)
            earlier = copy.entries if copy is not None else freed.get(each.key)
            if earlier is not None:
                step.remove_row(each, earlier, wanted.entries if wanted is not None else ())
            if wanted is not None:
                step.put_row(each, wanted)
            else:
                assert each.entity is not None
                step.add("del", pair.twin.document(each.entity.name, each.rest))
            carries.append(step)
        yield from carry(context, carries, pair)
        if pair.half == 1:
            yield from _give_homes(context, pair, part, now)
    return len(parsed)


def _freed_copies(
    context: Context, twin: Partition, parsed: Sequence[ParsedKey]
) -> Flow[dict[str, Sequence[Entry]]]:
    """Return the entries of those rows whose copies the server has freed, by the row's key: a copy may be older than the row's deadline."""
    rows = [(each.entity.name, each.rest) for each in parsed if each.entity is not None]
    if not rows:
        return {}
    members = [twin.expiring(*row) for row in rows]
    (deadlines,) = yield from ask(context, (("ZMSCORE", twin.expiry, *members),))
    freed = {row: deadline for row, deadline in zip(rows, deadlines, strict=True) if deadline is not None}
    if not freed:
        return {}
    search = Search(freed)
    yield from search.advance(context, twin, None)
    return {each.key: search.entries[row] for each, row in zip(parsed, rows, strict=True) if row in freed}


def _give_homes(
    context: Context, pair: Pair, parsed: Sequence[ParsedKey], rows: Sequence[Row | None]
) -> Flow[None]:
    """Give rows their homes: the group had one partition, so they have none yet."""
    calls: list[tuple[tuple[Word, ...], tuple[Word, ...]]] = []
    source = pair.source
    for each, row in zip(parsed, rows, strict=True):
        entity = each.entity
        if entity is None or row is None:
            continue
        things = [] if is_located(entity) else [Homed(entity, "", each.rest)]
        claims = [entry for entry in row.entries if isinstance(entry, ClaimEntry)]
        things += [Homed(entity, one.unique, one.value) for one in claims if has_homes(entity, one.unique)]
        for thing in things:
            homes = source.homes(entity.name, thing.unique)
            fence = source.fence(entity.name, thing.unique, thing.value)
            life, field = FENCE_LIFE * 1000, noted(homes, thing.value)
            calls.append(
                (
                    (source.clock, homes, fence, source.changed, each.key),
                    (pair.phase, thing.value, row.place, life, field, row.head),
                )
            )
    for start in range(0, len(calls), _KEYS):
        replies = yield from ask_scripts(context, "settle_home", tuple(calls[start : start + _KEYS]))
        if any(reply[0] != b"DONE" for reply in replies):
            raise OvertakenError


def copy_fences(context: Context, pair: Pair, keys: Sequence[str]) -> Flow[None]:
    """Copy fences: inserts under old homes have to be refused in the twin as well."""
    if not keys:
        return
    replies = yield from ask(
        context, tuple(command for key in keys for command in (("HGET", key, "epoch"), ("PEXPIRETIME", key)))
    )
    carries = []
    for key, epoch, ends in zip(keys, replies[0::2], replies[1::2], strict=True):
        if epoch is not None and ends > 0:
            step = Carry(pair.twin, pair.filling)
            name = pair.twin.tag + key[len(pair.source.tag) :]
            step.add("hset", name, "epoch", epoch)
            step.add("pexpireat", name, ends)
            carries.append(step)
    yield from carry(context, carries, pair)


def copy_homes(context: Context, pair: Pair, key: str, values: Sequence[str]) -> Flow[None]:
    """Make homes in the twin equal to those of the partition, where they belong there."""
    moving = [value for value in values if place_of(value) & pair.half]
    for start in range(0, len(moving), _KEYS):
        part = moving[start : start + _KEYS]
        homes = yield from ask(context, tuple(("HGET", key, value) for value in part))
        step = Carry(pair.twin, pair.filling)
        name = pair.twin.tag + key[len(pair.source.tag) :]
        for value, home in zip(part, homes, strict=True):
            if home is not None:
                step.add("hset", name, value, home)
            else:
                step.add("hdel", name, value)
        yield from carry(context, [step], pair)


def copy_registry(context: Context, pair: Pair, fields: Sequence[Word]) -> Flow[None]:
    """Give the twin what the registry of the partition says of its indexes: names and values in turn."""
    step = Carry(pair.twin, pair.filling)
    step.add("hset", pair.twin.schema, *fields)
    yield from carry(context, [step], pair)


def copy_all(context: Context, pair: Pair, locator: Locator, progress: Any) -> Flow[None]:
    """Copy everything that moves, and remove copies of rows that are gone."""
    for partition in (pair.source, pair.twin):
        cursor = -1
        while cursor:
            cursor, names = yield from scan(context, partition, max(cursor, 0))
            rows, fences = [], []
            for name in names:
                parsed = locator.locate(name)
                if parsed.what is KeyKind.DOCUMENT:
                    rows.append(parsed)
                elif parsed.what is KeyKind.MARK and name.startswith(f"{pair.source.tag}@fence:"):
                    fences.append(name)
                elif parsed.what is KeyKind.HOMES:
                    yield from _copy_hash(context, pair, pair.source.tag + name[len(partition.tag) :], name)
            number = yield from copy_rows(context, pair, rows)
            progress(number)
            yield from copy_fences(context, pair, fences)


def _copy_hash(context: Context, pair: Pair, key: str, scanned: str) -> Flow[None]:
    cursor = -1
    while cursor:
        (reply,) = yield from ask(context, (("HSCAN", scanned, max(cursor, 0), "COUNT", _KEYS),))
        cursor = int(reply[0])
        yield from copy_homes(context, pair, key, [text(value) for value in reply[1][0::2]])


def drain(context: Context, pair: Pair, locator: Locator) -> Flow[int]:
    """Copy what changed since it was copied. Returns how much there was."""
    (reply,) = yield from ask(context, (("HSCAN", pair.source.changed, 0, "COUNT", _KEYS),))
    cursor, pairs = int(reply[0]), reply[1]
    if not pairs and cursor:
        (flat,) = yield from ask(context, (("HGETALL", pair.source.changed),))
        pairs = flat
    changed = [(text(name), op) for name, op in zip(pairs[0::2], pairs[1::2], strict=True)]
    if not changed:
        return 0
    rows, fences = [], []
    homes: dict[str, list[str]] = {}
    for name, _ in changed:
        key, nul, value = name.partition("\0")
        if nul and key.startswith(f"{pair.source.tag}@homes:"):
            homes.setdefault(key, []).append(value)
        elif key.startswith(f"{pair.source.tag}@fence:"):
            fences.append(name)
        else:
            parsed = locator.locate(name)
            if parsed.what is KeyKind.DOCUMENT:
                rows.append(parsed)
    yield from copy_rows(context, pair, rows)
    yield from copy_fences(context, pair, fences)
    for key, values in homes.items():
        yield from copy_homes(context, pair, key, values)
    step = Carry(pair.source, pair.phase)
    for name, op in changed:
        step.add("release", pair.source.changed, name, op)
    yield from carry(context, [step])
    return len(changed)


def clean(context: Context, pair: Pair, locator: Locator, progress: Any) -> Flow[None]:
    """Remove from a partition what its twin has."""
    cursor = -1
    while cursor:
        cursor, names = yield from scan(context, pair.source, max(cursor, 0))
        parsed = [locator.locate(name) for name in names]
        documents = [each for each in parsed if each.what is KeyKind.DOCUMENT]
        rows = yield from rows_of(context, pair.source, documents)
        carries = []
        for each, row in zip(documents, rows, strict=True):
            if row is not None and row.place & pair.half:
                assert each.entity is not None
                step = Carry(pair.source, pair.moved)
                # A client may have removed it since, and written another row of this key, which stays.
                step.add("same", each.key, row.head)
                step.remove_row(each, row.entries)
                step.add("del", each.key)
                carries.append(step)
        yield from carry(context, carries)
        for each in parsed:
            if each.what is KeyKind.HOMES:
                yield from _clean_hash(context, pair, each.key)
        progress(len(documents))


def _clean_hash(context: Context, pair: Pair, key: str) -> Flow[None]:
    cursor = -1
    while cursor:
        (reply,) = yield from ask(context, (("HSCAN", key, max(cursor, 0), "COUNT", _KEYS),))
        cursor = int(reply[0])
        step = Carry(pair.source, pair.moved)
        for value in reply[1][0::2]:
            if place_of(text(value)) & pair.half:
                step.add("hdel", key, value)
        yield from carry(context, [step])
