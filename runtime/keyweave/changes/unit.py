"""Changes that are not yet written: the change of one row, and the unit of work that buffers a transaction.

Reads inside a transaction see its own writes, because every buffered change has its row's old and new entries,
from the same `index_entries` that writes use.
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
"""The smallest score of rows that are not written yet. It is greater than every real moment."""


class Change:
    """The change of one row.

    Attributes:
        entity: the row's entity.
        key: the row's id.
        old: what the store holds, or None when there is no live row.
        old_entries: the entries of `old`.
        prepared: what to write, or None to delete the row.
        record: the caller's record, which gets the managed values, or None.
        guard: `revision`, `absent`, `unchanged`, `dead`, or `missing` for a row that the native TTL freed.
        counts: views that must keep their number of members: (entity, view, values, number).
        dangling: entries to remove in the same step, because their row has no document or one that does not imply
            them: (entity, key, revision of the document or None, entries).
        recreated: the unit deleted the row and created it again, so the new row keeps nothing of the old one.
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
        """Return the number that orders an entry of this row before it is written.

        Moments that the server has not set yet come last, in the order of the writes.
        """
        if score == REVISION or (score == CREATED and (self.old is None or self.recreated)):
            return PROVISIONAL + 2 * self.sequence
        return score_number(score, self.old)

    @property
    def new_entries(self) -> list[Entry]:
        """The entries that the row will have."""
        return self.prepared.entries if self.prepared is not None else []


def replacement(codec: Codec, record: Record, stored: Stored | None, prepared: Prepared) -> Change:
    """Return the change that replaces `stored` by a record, or inserts the record when `stored` is None."""
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
    """The buffered writes, guarded reads and locks of one attempt of a transaction.

    Attributes:
        token: id of the attempt, which its locks hold.
        group: the group that this attempt changes, or None before its first change.
        changes: the buffered change of each row, by entity name and key.
        watched: rows that must not change, by entity name and key: entity, and what the store holds or None for absent.
        loaded: what the attempt read of each row, by entity name and key.
        conflict: the error of a write that was refused because another writer changed the row first, or None.
        ended: whether the attempt has ended; later changes would never be written.
        until: the monotonic time at which the transaction's budget ends; None: each exchange has its own.
        locks: entity name and monotonic time of acquisition of each lock that the attempt holds, by the lock's key.
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
        "until",
        "watched",
    )

    def __init__(self, token: str, until: float | None = None) -> None:
        self.token: Final = token
        self.until: Final = until
        self.group: str | None = None
        self.ended = False
        self.changes: dict[tuple[str, str], Change] = {}
        self.watched: dict[tuple[str, str], tuple[Entity[Any], Stored | None]] = {}
        self.loaded: dict[tuple[str, str], Stored] = {}
        self.conflict: ConflictError | None = None
        self.locks: dict[str, tuple[str, float]] = {}
        self._saved: list[tuple[Record, Stored | None, dict[str, Any]]] = []
        self._provisional = 0
        self._sequence = 0

    def refuse_late_use(self) -> None:
        """Check that the transaction has not ended.

        Raises:
            TransactionRequiredError: it has ended, so a write would be lost and a read would be stale.
        """
        if self.ended:
            raise TransactionRequiredError("this transaction has ended; use the store or begin another one")

    def enlist(self, entity: Entity[Any]) -> None:
        """Check that `entity` can change in this unit. The first call fixes the unit's group.

        Raises:
            TransactionRequiredError: the transaction has ended.
            CrossPartitionError: the unit already uses another group.
        """
        self.refuse_late_use()
        if self.group is None:
            self.group = entity.group
        elif self.group != entity.group:
            raise CrossPartitionError(
                f"{entity.name} is in group {entity.group!r}; this transaction already uses group {self.group!r}"
            )

    def conflict_error(self, entity: Entity[Any]) -> ConflictError:
        """Return the error for a row that another writer changed since this unit read it.

        The unit keeps the error: when the caller's function raises it, the transaction is retried.
        """
        self.conflict = ConflictError(f"{entity.name}: the row changed since this transaction read it")
        return self.conflict

    def change_of(self, entity: Entity[Any], key: str) -> Change | None:
        """Return the buffered change of a row, or None."""
        return self.changes.get((entity.name, key))

    def has_changes(self, entity: Entity[Any]) -> bool:
        """Return whether a row of `entity` has a buffered change."""
        return any(name == entity.name for name, _ in self.changes)

    def buffer(self, change: Change) -> None:
        """Add a change. It is merged with an earlier change of the same row."""
        self.enlist(change.entity)
        row = (change.entity.name, change.key)
        earlier = self.changes.pop(row, None)
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
        self.changes[row] = change

    def provisional_revision(self) -> int:
        """Return a revision for a buffered write; negative, so that it never equals a real one."""
        self._provisional -= 1
        return self._provisional

    def save_memory(self, record: Record, managed: tuple[str, ...]) -> None:
        """Save the memory and the managed fields of `record`, for `roll_back` to restore."""
        self._saved.append((record, memory_of(record), {name: getattr(record, name) for name in managed}))

    def roll_back(self) -> None:
        """Restore the memory and the managed fields that each record had before this attempt."""
        for record, stored, managed in reversed(self._saved):
            for name, value in managed.items():
                setattr(record, name, value)
            if stored is None:
                forget(record)
            else:
                remember(record, stored)

    def claims(self, entity: Entity[Any]) -> Iterator[tuple[ClaimEntry, Change]]:
        """Yield each claim that a buffered row of `entity` will hold, with the row's change."""
        for change in self.changes.values():
            if change.entity is entity:
                for entry in change.new_entries:
                    if type(entry) is ClaimEntry:
                        yield entry, change

    def members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...]
    ) -> Iterator[tuple[Score, Change]]:
        """Yield the score and change of each buffered row of `entity` that will be a member of a view."""
        for change in self.changes.values():
            if change.entity is entity:
                for entry in change.new_entries:
                    if type(entry) is ViewEntry and entry.view == view and entry.values == values:
                        yield entry.score, change

    def net_gain(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], dead: Set[str] = frozenset()
    ) -> int:
        """Return by how many live members this unit changes a view. Negative when the view loses members.

        `dead` are the keys of stored rows past their deadline, which do not count as lost.
        """
        gained = sum(1 for _ in self.members(entity, view, values))
        return gained - self.changed_members(entity, view, values, dead)

    def changed_members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], without: Set[str] = frozenset()
    ) -> int:
        """Return how many stored members of a view this unit changes, without the keys in `without`.

        Each of them is guarded by its revision.
        """
        return sum(
            1
            for change in self.changes.values()
            if change.entity is entity and change.key not in without
            for entry in change.old_entries
            if type(entry) is ViewEntry and entry.view == view and entry.values == values
        )


def score_number(score: Score, stored: Stored | None) -> float:
    """Return the number that orders an entry of a stored row."""
    if score == CREATED:
        return stored.created if stored is not None else PROVISIONAL
    if score == REVISION:
        return stored.revision if stored is not None else PROVISIONAL
    return float(score)
