"""The unit of work that buffers a transaction.

Reads inside a transaction see its own writes, because every buffered change has its row's old and new entries,
from the same `index_entries` that writes use.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from itertools import count
from typing import Any, Final

from keyweave.changes.change import Change
from keyweave.changes.overlay import Overlay
from keyweave.changes.required import Required
from keyweave.errors import ConflictError, CrossPartitionError, TransactionRequiredError
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, ViewEntry
from keyweave.model.record import Record, Stored, forget, memory_of, remember

_PROVISIONAL: Final = count(-2, -1)
"""Revisions of buffered writes, each of them once in a process: a record that was replaced in its own transaction keeps its revision. -1
is that of records which can never be saved."""


class UnitOfWork:
    """The buffered writes, guarded reads and locks of one attempt of a transaction.

    Attributes:
        token: id of the attempt, which its locks hold.
        group: the group that this attempt changes, or None before its first change.
        partition: the partition of the rows that this attempt changes or locks, or None before the first one.
        changes: the buffered change of each row, by entity name and key.
        watched: rows that must not change, by entity name and key: entity, and what the store holds or None for absent.
        loaded: what the attempt read of each row, by entity name and key.
        conflict: the error of a write that was refused because another writer changed the row first, or None.
        ended: whether the attempt has ended; later changes would never be written.
        until: the monotonic time at which the transaction's budget ends; None: each exchange has its own.
        trusting: whether writes of rows that the attempt has not read are checked by its plan alone, and not at once.
        unchecked: the changes that no exchange has checked, by entity name and key.
        guessed: those of them that are upserts, which may be wrong about their row.
        guessing: whether the attempt may guess at the rows of an entity that it upserts, by its name.
        needed: rows that such changes refer to, and those of `assumed`, by entity name and key: they were not in the unit, so the
            store has to hold them.
        claimed: unique values, by entity name, constraint and value, that such changes claim.
        required: rows that the plan requires beside its changes, by entity name and key; see `keyweave.write.require`.
        assumed: those of them that no exchange has found.
        doubtful: whether a later change of the unit hides from its plan what an unchecked one needed: it inserts such a row, releases
            such a value, or replaces or takes back the change itself.
        locks: what the attempt holds of each lock, by the lock's key; see `keyweave.read.line.Held`.
        releasing: keys of the locks that the commands behind its plan release.
    """

    __slots__ = (
        "_overlay",
        "_saved",
        "_sequence",
        "assumed",
        "changes",
        "claimed",
        "conflict",
        "doubtful",
        "ended",
        "group",
        "guessed",
        "guessing",
        "loaded",
        "locks",
        "needed",
        "partition",
        "releasing",
        "required",
        "token",
        "trusting",
        "unchecked",
        "until",
        "watched",
    )

    def __init__(self, token: str, until: float | None = None, *, trusting: bool = False) -> None:
        self.token: Final = token
        self.until: Final = until
        self.trusting: Final = trusting
        self.unchecked: dict[tuple[str, str], Change] = {}
        self.guessed: set[tuple[str, str]] = set()
        self.guessing: dict[str, bool] = {}
        self.needed: set[tuple[str, str]] = set()
        self.claimed: set[tuple[str, str, str]] = set()
        self.required: dict[tuple[str, str], Required] = {}
        self.assumed: set[tuple[str, str]] = set()
        self.doubtful = False
        self.group: str | None = None
        self.partition: Partition | None = None
        self.ended = False
        self.changes: dict[tuple[str, str], Change] = {}
        self.watched: dict[tuple[str, str], tuple[Entity[Any], Stored | None]] = {}
        self.loaded: dict[tuple[str, str], Stored] = {}
        self.conflict: ConflictError | None = None
        self.locks: dict[str, Any] = {}
        self.releasing: tuple[str, ...] = ()
        self._overlay: Final = Overlay()
        self._saved: list[tuple[Record, Stored | None, dict[str, Any]]] = []
        self._sequence = 0

    def refuse_late_use(self) -> None:
        """Check that the transaction has not ended.

        Raises:
            TransactionRequiredError: it has ended, so a write would be lost and a read would be stale.
        """
        if self.ended:
            raise TransactionRequiredError("this transaction has ended; use the store or begin another one")

    def enlist(self, entity: Entity[Any], partition: Partition | None = None) -> None:
        """Check that `entity` can change in this unit. The first call fixes the unit's group, and its partition.

        Args:
            partition: where the row is; None where that was checked before.

        Raises:
            TransactionRequiredError: the transaction has ended.
            CrossPartitionError: the unit already uses another group or partition.
        """
        self.refuse_late_use()
        if self.group is None:
            self.group = entity.group
        elif self.group != entity.group:
            raise CrossPartitionError(
                f"{entity.name} is in group {entity.group!r}; this transaction already uses group {self.group!r}"
            )
        if partition is not None:
            if self.partition is None:
                self.partition = partition
            elif self.partition.index != partition.index:
                raise CrossPartitionError(f"{entity.name}: this transaction already uses another partition")

    def elsewhere(self) -> UnitOfWork:
        """Return a unit for reading other partitions, which refuses every change of them."""
        other = UnitOfWork(self.token, self.until)
        other.group, other.partition = self.group, self.partition
        return other

    def moved(self) -> ConflictError:
        """Return the error that makes the transaction begin again, because rows that it used move to another partition."""
        self.conflict = ConflictError(
            "the partitions of these rows are being doubled; the transaction begins again"
        )
        return self.conflict

    def conflict_error(self, entity: Entity[Any], key: str) -> ConflictError:
        """Return the error for a row that another writer changed since this unit read it.

        The unit keeps the error: when the caller's function raises it, the transaction is retried.
        """
        self.conflict = ConflictError(
            f"{entity.row(key)}: the row changed since this transaction read it",
            key=entity.shown(key),
        )
        return self.conflict

    def change_of(self, entity: Entity[Any], key: str) -> Change | None:
        """Return the buffered change of a row, or None."""
        return self.changes.get((entity.name, key))

    def trusts(self, entity: Entity[Any], key: str) -> bool:
        """Return whether a write of a row is checked by the plan alone: this attempt does so, and has not read the row."""
        row = (entity.name, key)
        return self.trusting and not (row in self.changes or row in self.loaded or row in self.watched)

    def require(self, key: str, required: Required, *, assumed: bool) -> None:
        """Let the plan require a row; `assumed` if nothing has shown yet that it is there."""
        row = (required.entity.name, key)
        self.required[row] = required
        if assumed:
            self.assumed.add(row)
            self.needed.add(row)

    def has_changes(self, entity: Entity[Any]) -> bool:
        """Return whether a row of `entity` has a buffered change."""
        return self._overlay.has(entity)

    def buffer(self, change: Change) -> None:
        """Add a change. It is merged with an earlier change of the same row."""
        self.enlist(change.entity)
        row = (change.entity.name, change.key)
        self._look_back(change)
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
        self._overlay.add(earlier, change)

    def _look_back(self, change: Change) -> None:
        """Notice a change that hides from the plan what an earlier, unchecked one needed."""
        row = (change.entity.name, change.key)
        unchecked = self.unchecked.get(row)
        if unchecked is not None and unchecked is not change and not _needs_as_much(change, unchecked):
            self.doubtful = True
        if change.old is None and row in self.needed:
            self.doubtful = True
        if self.claimed and change.old is not None:
            kept = change.new_entries
            self.doubtful = self.doubtful or any(
                isinstance(entry, ClaimEntry)
                and (change.entity.name, entry.unique, entry.value) in self.claimed
                and entry not in kept
                for entry in change.old_entries
            )

    def provisional_revision(self) -> int:
        """Return a revision for a buffered write; negative, so that it never equals a real one, nor one of another unit."""
        return next(_PROVISIONAL)

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

    def owner(self, entity: Entity[Any], unique: str, value: str) -> Change | None:
        """Return the buffered change of the row that will hold a unique value, or None."""
        return self._overlay.owner(entity, unique, value)

    def members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...]
    ) -> Collection[tuple[ViewEntry, Change]]:
        """Return the entry and change of each buffered row of `entity` that will be a member of a view."""
        return self._overlay.members(entity, view, values)

    def former_members(self, entity: Entity[Any], view: str, values: tuple[str, ...]) -> Collection[Change]:
        """Return the change of each stored member of a view that this unit changes."""
        return self._overlay.former(entity, view, values)

    def net_gain(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], dead: Set[str] = frozenset()
    ) -> int:
        """Return by how many live members this unit changes a view. Negative when the view loses members.

        `dead` are the keys of stored rows past their deadline, which do not count as lost.
        """
        gained = len(self.members(entity, view, values))
        return gained - self.changed_members(entity, view, values, dead)

    def changed_members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...], without: Set[str] = frozenset()
    ) -> int:
        """Return how many stored members of a view this unit changes, without the keys in `without`.

        Each of them is guarded by its revision.
        """
        former = self.former_members(entity, view, values)
        return sum(change.key not in without for change in former) if without else len(former)


def _needs_as_much(change: Change, earlier: Change) -> bool:
    """Return whether a change of the same row claims the same unique values and has the same references as an earlier one."""
    after, before = change.prepared, earlier.prepared
    if after is None or before is None:
        return False
    if any(each.key_in(after.snapshot) != each.key_in(before.snapshot) for each in change.entity.references):
        return False
    claims = (
        [entry for entry in each if isinstance(entry, ClaimEntry)] for each in (after.entries, before.entries)
    )
    return not change.entity.uniques or len({tuple(each) for each in claims}) == 1
