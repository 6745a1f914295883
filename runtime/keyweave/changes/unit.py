"""Changes that are not yet written: one row's change, and the unit of work that buffers a transaction's.

Reads inside a transaction see its own writes because every buffered change knows the entries that its
row had and will have, by the same `index_entries` that writing uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, Final

from keyweave.document.codec import Codec, Prepared
from keyweave.errors import ConflictError, CrossPartitionError, TransactionRequiredError
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, ClaimEntry, Entry, Score, ViewEntry
from keyweave.model.record import Record, Stored, forget, memory_of, remember

PROVISIONAL: Final = 1 << 53
"""Provisional scores of rows that are not written yet begin here: after every moment that is."""


class Change:
    """What becomes of one row.

    Attributes:
        entity: the row's entity.
        key: the row's id.
        old: what the store holds, or None when there is no live row.
        old_entries: the entries of `old`.
        prepared: what to write, or None to delete.
        record: the caller's record, which learns the managed values.
        guard: `revision`, `absent`, `unchanged` or `dead`.
        counts: views that must keep their number of members: (entity, view, values, number).
        dangling: entries that lead to no document, or to one that does not imply them, to be removed in the same
            step: (entity, key, revision of the document or None, entries).
        recreated: the unit deleted the row and made it anew, so nothing of the old one lives on.
        sequence: number of the write within its unit; rows are written in this order.
    """

    __slots__ = (
        "counts",
        "dangling",
        "entity",
        "guard",
        "key",
        "old",
        "old_entries",
        "prepared",
        "record",
        "recreated",
        "sequence",
    )

    def __init__(
        self,
        entity: Entity[Any],
        key: str,
        *,
        old: Stored | None,
        old_entries: list[Entry],
        prepared: Prepared | None,
        record: Record | None = None,
        guard: str,
    ) -> None:
        self.entity: Final = entity
        self.key: Final = key
        self.old: Final = old
        self.old_entries: Final = old_entries
        self.prepared = prepared
        self.record = record
        self.guard: Final = guard
        self.counts: list[tuple[Entity[Any], str, tuple[str, ...], int]] = []
        self.dangling: list[tuple[Entity[Any], str, int | None, list[Entry]]] = []
        self.recreated = False
        self.sequence = 0

    def provisional_score(self, score: Score) -> float:
        """The number that orders an entry of this row before it is written; unwritten moments come last, in turn."""
        if score == REVISION or (score == CREATED and (self.old is None or self.recreated)):
            return PROVISIONAL + 2 * self.sequence
        return score_number(score, self.old)

    @property
    def new_entries(self) -> list[Entry]:
        """The entries that the row will have."""
        return self.prepared.entries if self.prepared is not None else []


def replacement(codec: Codec, record: Record, stored: Stored | None, prepared: Prepared) -> Change:
    """The change that puts a record in the place of `stored`, or inserts it."""
    return Change(
        codec.entity,
        prepared.key,
        old=stored,
        old_entries=codec.entries_of(stored) if stored is not None else [],
        prepared=prepared,
        record=record,
        guard="revision" if stored is not None else "absent",
    )


class UnitOfWork:
    """The buffered writes, guarded reads and locks of one try of a transaction.

    Attributes:
        conflict: what a write inside was refused with because somebody else wrote the row first.
        ended: whether the try is over; nothing that is buffered now would ever be written.
        locks: keys of the locks that it holds, each with its row's entity and the monotonic time since when.
    """

    __slots__ = (
        "_provisional",
        "_saved",
        "_sequence",
        "changes",
        "conflict",
        "ended",
        "group",
        "loaded",
        "locks",
        "token",
        "watched",
    )

    def __init__(self, token: str) -> None:
        self.token: Final = token
        self.group: str | None = None
        self.ended = False
        self.changes: dict[tuple[str, str], Change] = {}
        self.watched: dict[tuple[str, str], tuple[Entity[Any], int | None]] = {}
        self.loaded: dict[tuple[str, str], Stored] = {}
        self.conflict: ConflictError | None = None
        self.locks: dict[str, tuple[str, float]] = {}
        self._saved: list[tuple[Record, Stored | None, dict[str, Any]]] = []
        self._provisional = 0
        self._sequence = 0

    def refuse_late_use(self) -> None:
        """Make sure that what is done with this unit still counts.

        Raises:
            TransactionRequiredError: the transaction is over, so a write would be lost and a read would be stale.
        """
        if self.ended:
            raise TransactionRequiredError("this transaction has ended; use the store or begin another one")

    def enlist(self, entity: Entity[Any]) -> None:
        """Make sure that `entity` can change in this unit.

        Raises:
            TransactionRequiredError: the transaction is over.
            CrossPartitionError: the unit already changes rows of another group.
        """
        self.refuse_late_use()
        if self.group is None:
            self.group = entity.group
        elif self.group != entity.group:
            raise CrossPartitionError(
                f"{entity.name} is in group {entity.group!r}; this transaction already uses group {self.group!r}"
            )

    def conflict_error(self, entity: Entity[Any]) -> ConflictError:
        """The error for a row that somebody else wrote since this unit saw it; it makes the transaction run again."""
        self.conflict = ConflictError(f"{entity.name}: the row changed since this transaction read it")
        return self.conflict

    def change_of(self, entity: Entity[Any], key: str) -> Change | None:
        """The buffered change of a row."""
        return self.changes.get((entity.name, key))

    def has_changes(self, entity: Entity[Any]) -> bool:
        """Whether a row of `entity` has a buffered change."""
        return any(name == entity.name for name, _ in self.changes)

    def buffer(self, change: Change) -> None:
        """Add a change, on top of an earlier one of the same row."""
        self.enlist(change.entity)
        place = (change.entity.name, change.key)
        earlier = self.changes.pop(place, None)
        if earlier is not None:
            merged = Change(
                change.entity,
                change.key,
                old=earlier.old,
                old_entries=earlier.old_entries,
                prepared=change.prepared,
                record=change.record,
                guard=earlier.guard,
            )
            merged.counts = [*earlier.counts, *change.counts]
            merged.dangling = [*earlier.dangling, *change.dangling]
            merged.recreated = earlier.recreated or (earlier.old is not None and earlier.prepared is None)
            change = merged
        self._sequence += 1
        change.sequence = self._sequence
        self.changes[place] = change

    def provisional_revision(self) -> int:
        """A revision for a buffered write; negative, so that it never equals a real one."""
        self._provisional -= 1
        return self._provisional

    def save_memory(self, record: Record, managed: tuple[str, ...]) -> None:
        """Remember what `record` knew, so that a discarded try leaves no trace on it."""
        self._saved.append((record, memory_of(record), {name: getattr(record, name) for name in managed}))

    def roll_back(self) -> None:
        """Give every touched record back what it knew before this try."""
        for record, stored, managed in reversed(self._saved):
            for name, value in managed.items():
                setattr(record, name, value)
            if stored is None:
                forget(record)
            else:
                remember(record, stored)

    def claims(self, entity: Entity[Any]) -> Iterator[tuple[ClaimEntry, Change]]:
        """Claims that buffered rows of `entity` will hold."""
        for change in self.changes.values():
            if change.entity is entity:
                for entry in change.new_entries:
                    if type(entry) is ClaimEntry:
                        yield entry, change

    def members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...]
    ) -> Iterator[tuple[Score, Change]]:
        """Buffered rows of `entity` that will be members of a view."""
        for change in self.changes.values():
            if change.entity is entity:
                for entry in change.new_entries:
                    if type(entry) is ViewEntry and entry.view == view and entry.values == values:
                        yield entry.score, change

    def net_gain(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], dead: Set[str] = frozenset()
    ) -> int:
        """How many live members a view will have gained by this unit, less those that it will have lost.

        `dead` are the keys of rows that were past their deadline before.
        """
        gained = sum(1 for _ in self.members(entity, view, values))
        return gained - self.changed_members(entity, view, values, dead)

    def changed_members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], without: Set[str] = frozenset()
    ) -> int:
        """How many of a view's stored members this unit changes, but for keys in `without`; each is guarded by its revision."""
        return sum(
            1
            for change in self.changes.values()
            if change.entity is entity and change.key not in without
            for entry in change.old_entries
            if type(entry) is ViewEntry and entry.view == view and entry.values == values
        )


def score_number(score: Score, stored: Stored | None) -> float:
    """The number that orders an entry of a stored row."""
    if score == CREATED:
        return stored.created if stored is not None else PROVISIONAL
    if score == REVISION:
        return stored.revision if stored is not None else PROVISIONAL
    return float(score)
