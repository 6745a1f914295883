"""The first pass of a check: sums that show, in constant memory, which rows to inspect.

The hash of every entry that a document implies is added to its row's sum, and the hash of every existing entry is
subtracted. So the sum of a row whose indexes match is zero, in whatever order keys are read. Rows share a million sums.
A sum that is not zero proves nothing, because another process may have written in between: it marks rows to inspect.

A sum of plain hashes of tuples would be zero too often: they are so nearly linear that exchanged scores cancel out.
So a name is hashed as one text, which Python does with SipHash, and multiplied by the score.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from keyweave.document.head import Head
from keyweave.effects import Call, Flow
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, Failures
from keyweave.integrity.scan import (
    Batches,
    Contents,
    Held,
    KeyScan,
    Walk,
    each_scan,
    read_documents,
    read_slots,
)
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import INDEXES, KeyKind, Locator, ParsedKey, text
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, Entry, ViewEntry
from keyweave.store.context import Context
from keyweave.store.ledger import is_intact

_SUMS: Final = 1 << 20
_INDEX: Final = _SUMS - 1
_WORD: Final = (1 << 64) - 1
_SALT: Final = hash("score") | 1
"""Added to the hash of a score, so that an entry with the score zero counts."""

_BLOCK: Final = 1 << 10
_ZEROS: Final = array("Q", bytes(8 * _BLOCK))
_TARGETS: Final = 50
_LEDGERS: Final = 20
_LASTING: Final = INDEXES | {KeyKind.CLOCK, KeyKind.SCHEMA, KeyKind.HOMES}
_ENDING: Final = frozenset({KeyKind.MARK, KeyKind.LEDGER})


@dataclass(slots=True)
class Progress:
    """The progress of a walk through the namespace.

    Attributes:
        stage: name of the walk, such as `survey`.
        keys: number of keys that the walk has passed.
        total: number of keys in the database, other namespaces included.
        documents: number of documents that were read.
        entries: number of entries that were read.
    """

    stage: str = ""
    keys: int = 0
    total: int = 0
    documents: int = 0
    entries: int = 0


KeyIn: TypeAlias = Callable[[str], str]
"""Returns the key of the row that a member names."""

Observer: TypeAlias = Callable[[Progress], object]


class RowSums:
    """The sums of rows, and marks for the rows and keys to inspect."""

    __slots__ = ("_marks", "_sums", "highest")

    def __init__(self) -> None:
        self._sums: Final = array("Q", bytes(8 * _SUMS))
        self._marks: Final = bytearray(_SUMS)
        self.highest: dict[str, tuple[int, str]] = {}
        """The highest revision read and the key of its document, by the partition's tag."""

    def add(self, entity: str, key: str, amount: int) -> None:
        """Add to a row's sum."""
        at = hash((entity, key)) & _INDEX
        self._sums[at] = (self._sums[at] + amount) & _WORD

    def subtract_view(self, entity: str, place: str, pairs: list[bytes], key_in: KeyIn | None = None) -> None:
        """Subtract every entry of a view from the sum of its row. `key_in` returns the key in a member; None if it is one."""
        sums = self._sums
        for at in range(0, len(pairs), 2):
            member = pairs[at].decode("utf-8", "surrogateescape")
            row = hash((entity, key_in(member) if key_in is not None else member)) & _INDEX
            amount = hash(f"{place}\n{member}") * (hash(float(pairs[at + 1])) + _SALT)
            sums[row] = (sums[row] - amount) & _WORD

    def mark(self, entity: str, key: str) -> None:
        """Mark a row, or with an empty entity a key, for inspection."""
        self._marks[hash((entity, key)) & _INDEX] = 1

    def close(self) -> bool:
        """Mark every row whose sum is not zero. Returns whether anything is marked."""
        for start in range(0, _SUMS, _BLOCK):
            block = self._sums[start : start + _BLOCK]
            if block != _ZEROS:
                for at, amount in enumerate(block, start):
                    if amount:
                        self._marks[at] = 1
        return 1 in self._marks

    def marked(self, entity: str, key: str) -> bool:
        """Return whether a row, or with an empty entity a key, is to be inspected."""
        return self._marks[hash((entity, key)) & _INDEX] == 1


@dataclass(slots=True)
class Survey:
    """One walk through the namespace that fills the sums of rows."""

    context: Context
    locator: Locator
    progress: Progress
    observe: Observer
    batches: Batches
    sums: RowSums = field(default_factory=RowSums)
    set_aside: int = 0
    others: int = 0

    def run(self, failures: Failures, at_once: int = AT_ONCE) -> Flow[None]:
        """Read every selected key once.

        Args:
            failures: gets the partitions that cannot be read. Their rows may be inspected without need.
            at_once: most partitions of one master that are read at the same time.
        """
        yield from each_scan(self.context, self._read, failures, at_once=at_once)

    def _read(self, scan: KeyScan) -> Flow[None]:
        walk = Walk(scan, self.locator)
        while not walk.done:
            places = yield from walk.keys()
            documents = [place for place in places if place.what is KeyKind.DOCUMENT]
            for batch in self.batches.of(documents):
                yield from self._documents(batch)
            contents = Contents(self.context, [place for place in places if place.what in INDEXES])
            while not contents.done:
                for held in (yield from contents.read()):
                    self._held(held)
                yield Call(self.observe, self.progress)
            for place in contents.wrong:
                self.sums.mark("", place.key)
            yield from self._other_keys(places)
            self.progress.keys += len(places)
            yield Call(self.observe, self.progress)

    def _documents(self, places: list[ParsedKey]) -> Flow[None]:
        context, sums = self.context, self.sums
        found = yield from read_documents(context, places)
        targets: dict[Partition, list[tuple[str, str, str]]] = {}
        for place, (document, ends) in zip(places, found, strict=True):
            entity, partition = place.entity, place.partition
            assert entity is not None and partition is not None
            if document is None:
                sums.mark(entity.name, place.rest)
                continue
            self.progress.documents += 1
            try:
                record, head = context.codec(entity).peek(document)
            except CorruptDocumentError:
                sums.mark(entity.name, place.rest)
                continue
            if entity.key_of(record) != place.rest or not fits(context, partition, head, ends):
                sums.mark(entity.name, place.rest)
            sums.add(entity.name, place.rest, self._weight(partition, entity, record, head))
            if head.revision > sums.highest.get(partition.tag, (0, ""))[0]:
                sums.highest[partition.tag] = head.revision, place.key
            for reference in entity.references:
                value = reference.key_in(record)
                if value is not None:
                    target = partition.document(reference.target, value)
                    targets.setdefault(partition, []).append((target, entity.name, place.rest))
        self.batches.learn(document for document, _ in found)
        for each in targets.values():
            yield from self._references(each)

    def _weight(self, partition: Partition, entity: Entity[Any], record: Any, head: Head) -> int:
        total = 0
        view, name = partition.view, entity.name
        for entry in entries_of(self.context, entity, record):
            if isinstance(entry, ViewEntry):
                place = view(name, entry.view, entry.values)
                total += amount_of(place, entry.member, score_of(entry, head))
            else:
                total += claim_amount(partition.claims(name, entry.unique), entry.value, entry.owner)
        if head.expires:
            total += amount_of(name, entity.key_of(record), float(head.expires))
        return total

    def _references(self, targets: list[tuple[str, str, str]]) -> Flow[None]:
        """Mark the referring rows of every batch of targets that does not exist completely."""
        batches = [targets[start : start + _TARGETS] for start in range(0, len(targets), _TARGETS)]
        counts = yield from ask(
            self.context, tuple(("EXISTS", *[target for target, _, _ in batch]) for batch in batches)
        )
        for batch, count in zip(batches, counts, strict=True):
            if count != len(batch):
                for _, entity, key in batch:
                    self.sums.mark(entity, key)

    def _held(self, held: Held) -> None:
        place, pairs, sums = held.place, held.pairs, self.sums
        self.progress.entries += len(pairs) // 2
        if place.what is KeyKind.VIEW:
            assert place.entity is not None
            view = place.entity.views[place.name]
            sums.subtract_view(place.entity.name, place.key, pairs, view.key_in if view.by_text else None)
        elif place.what is KeyKind.CLAIMS:
            assert place.entity is not None
            for value, owner in zip(pairs[0::2], pairs[1::2], strict=True):
                row = text(owner)
                sums.add(place.entity.name, row, -claim_amount(place.key, text(value), row))
        else:
            self._deadlines(place, pairs)

    def _deadlines(self, place: ParsedKey, pairs: list[bytes]) -> None:
        assert place.partition is not None
        for member, deadline in zip(pairs[0::2], pairs[1::2], strict=True):
            name, _, key = text(member).partition(":")
            entity = self.locator.entity(place.partition, name)
            if entity is None:
                if not self.locator.limited:
                    self.sums.mark("", text(member))
            elif self.locator.wanted(entity):
                self.sums.add(name, key, -amount_of(name, key, float(deadline)))

    def _other_keys(self, places: list[ParsedKey]) -> Flow[None]:
        """Mark unknown keys, lasting keys that have a TTL, locks and ledgers that have none, and damaged ledgers.

        Counts keys that were set aside, and keys of another version of the schema.
        """
        lasting = [place for place in places if place.what in _LASTING or place.what in _ENDING]
        if lasting:
            commands = tuple(
                command for place in lasting for command in (("PEXPIRETIME", place.key), ("TYPE", place.key))
            )
            replies = yield from ask(self.context, commands)
            for place, end, kind in zip(lasting, replies[0::2], replies[1::2], strict=True):
                wrong = place.what is KeyKind.LEDGER and kind not in (b"hash", b"none")
                if wrong or (end == -1) == (place.what in _ENDING):
                    self.sums.mark("", place.key)
        ledgers = [place for place in places if place.what is KeyKind.LEDGER]
        for batch in (ledgers[start : start + _LEDGERS] for start in range(0, len(ledgers), _LEDGERS)):
            found = yield from read_slots(self.context, [place.key for place in batch])
            for place, slots in zip(batch, found, strict=True):
                if not all(is_intact(slot, value) for slot, value in slots):
                    self.sums.mark("", place.key)
        for place in places:
            if place.what is KeyKind.FOREIGN:
                self.sums.mark("", place.key)
            self.set_aside += place.what is KeyKind.ASIDE
            self.others += place.what is KeyKind.OTHER


def entries_of(context: Context, entity: Entity[Any], record: Any) -> list[Entry]:
    """Return the entries that a document implies, without those of indexes that are not built yet."""
    entries = entity.entries(record)
    if not context.unbuilt:
        return entries
    return [
        entry
        for entry in entries
        if f"{entity.name}.{entry.view if isinstance(entry, ViewEntry) else entry.unique}"
        not in context.unbuilt
    ]


def amount_of(place: str, member: str, score: float) -> int:
    """Return the amount of an entry with a score in its row's sum."""
    return hash(f"{place}\n{member}") * (hash(score) + _SALT)


def claim_amount(place: str, value: str, owner: str) -> int:
    """Return the amount of a claim in its row's sum."""
    return hash(f"{place}\n{value}\n{owner}")


def score_of(entry: ViewEntry, head: Head) -> float:
    """Return the score of an entry of a document with this head."""
    if entry.score == CREATED:
        return float(head.created)
    return float(head.revision if entry.score == REVISION else entry.score)


MOVED_TTL: Final = 60_000
"""Milliseconds by which a native TTL may differ on a cluster. MIGRATE takes the rest of the TTL along, so it is off by the time of the
move, and by the difference between the clocks of two masters."""


def fits(context: Context, partition: Partition, head: Head, ends: int) -> bool:
    """Return whether a document's native TTL is right: it ends the grace period after the deadline, or never.

    `ends` is the time at which the server frees the document, in ms since 1970; -1 for never.
    """
    if head.expires == 0:
        return ends == -1
    due = head.expires // 1000 + context.policy.grace_ms
    if context.clustered and abs(ends - due) <= MOVED_TTL:
        return True
    # A TTL that ends in the past would free the document at once, so a repair sets a later end for such a row.
    return ends == due or (ends > due and due * 1000 <= context.clock(partition).now())
