"""Deleting a row by key with the rows that refer to it, at once or inside a transaction."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.changes.unit import UnitOfWork
from keyweave.commit.family import (
    Family,
    RowId,
    load_members,
    member_id,
    members_of,
    read_family,
    restricted,
    row_id,
)
from keyweave.commit.remove import remove_rows
from keyweave.document.codec import op_of
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError, TransactionConflictError
from keyweave.exchange.deadline import deadline_passed
from keyweave.expiry.tend import sweep_after_write
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.model.record import Stored
from keyweave.read.get import selects
from keyweave.store.context import Context
from keyweave.write.delete_remembered import discard_remembered
from keyweave.write.delete_unreadable import discard_unreadable


def delete(context: Context, entity: Entity[Any], key: str, partition_value: Any = None) -> Flow[None]:
    """Delete a row and, in the same atomic step, the rows that refer to it with cascade.

    Args:
        partition_value: of the field that selects the partition, if the caller knows it; a row with another one does not count.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
        ReferenceViolationError: a row refers to it with restrict.
        TransactionConflictError: every attempt lost to other writers.
    """
    deleted = yield from discard(context, entity, key, partition_value=partition_value)
    if not deleted:
        raise entity.missing(key)


def discard(context: Context, entity: Entity[Any], key: str, partition_value: Any = None) -> Flow[bool]:
    """Delete a row like `delete`, and return whether it existed."""
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        return bool(
            (yield from context.router.row(discard, context, entity, key, partition_value=partition_value))
        )
    checked_text(key)
    unit = context.unit
    if unit is not None:
        return (yield from _discard_buffered(context, unit, entity, key, partition_value))
    newer: Change | None = None
    guess = context.state.recent.get(entity.name, key)
    if guess is not None and not is_another(context, entity, guess, partition_value):
        removed, newer = yield from discard_remembered(context, entity, key, guess)
        if removed:
            yield from sweep_after_write(context, entity)
            return True
    attempts = context.policy.attempts
    for _ in range(attempts):
        try:
            found = (newer, Family([])) if newer is not None else (yield from _read(context, entity, key))
        except CorruptDocumentError:
            if partition_value is None and (yield from discard_unreadable(context, entity, key)):
                return True
            raise
        newer = None
        if found is None:
            return False
        change, family = found
        if is_another(context, entity, change.old, partition_value):
            return False
        if (yield from remove_rows(context, [change], family)):
            yield from sweep_after_write(context, entity)
            return True
    raise TransactionConflictError(
        f"{entity.row(key)}: a delete lost all {attempts} attempts to other writers",
        attempts=attempts,
        key=entity.shown(key),
    )


def is_another(context: Context, entity: Entity[Any], stored: Stored | None, partition_value: Any) -> bool:
    """Return whether a stored row has another value of the field that selects the partition than a caller knows."""
    if partition_value is None or stored is None:
        return False
    return not selects(entity, context.codec(entity).snapshot_of(stored), partition_value)


def _read(
    context: Context, entity: Entity[Any], key: str, *, whole: bool = False
) -> Flow[tuple[Change, Family | None] | None]:
    """Read the removal of a live row and its family: all of it if `whole`, else enough for one plan."""
    found = yield from read_family(
        context, entity, key, "revision", None if whole else context.policy.chunk + 1
    )
    if found is None:
        return None
    old = found[0].old
    if (
        old is not None
        and old.expires
        and (yield from deadline_passed(context, context.partition(entity), old.expires))
    ):
        context.state.stats.meet_expired(entity.name)
        return None
    return found


def _discard_buffered(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, partition_value: Any
) -> Flow[bool]:
    """Buffer the deletion of a row and of the rows that refer to it, as this unit sees them.

    For a row that the unit has changed, only its new references count. If it no longer refers to a deleted row, it
    stays with its own family. If it now does, it is deleted.
    """
    own = unit.change_of(entity, key)
    if own is not None and (
        own.prepared is None
        or (partition_value is not None and not selects(entity, own.prepared.snapshot, partition_value))
    ):
        return False
    if own is None:
        found = yield from _read(context, entity, key, whole=True)
        if found is None:
            return False
        change, family = found
        if is_another(context, entity, change.old, partition_value):
            return False
        members = family.members if family is not None else (yield from members_of(context, [change], None))
        loaded = unit.loaded.get((entity.name, key))
        if loaded is not None and change.old is not None:
            change.old.revision, change.old.op = loaded.revision, op_of(loaded)
    else:
        change = _as_deletion(own)
        members = yield from members_of(context, [change], None)
    deletions: dict[RowId, Change] = {}
    level = [change]
    while level:
        parents = level
        deletions |= {row_id(row): row for row in parents}
        stored = [
            member
            for member in members
            if member_id(member) not in deletions and unit.change_of(member[1].entity, member[2]) is None
        ]
        level, members = yield from load_members(context, stored, None)
        moved = _buffered_referrers(context, unit, parents, deletions)
        members += yield from members_of(context, moved, None)
        level += moved
    unit.enlist(entity, context.partition(entity))
    for row in reversed(deletions.values()):
        unit.buffer(row)
    return True


def _buffered_referrers(
    context: Context, unit: UnitOfWork, parents: list[Change], deletions: dict[RowId, Change]
) -> list[Change]:
    """Return the deletions of buffered rows that refer to one of `parents`, without those in `deletions`.

    Raises:
        ReferenceViolationError: one of them refers to it with restrict.
    """
    found: dict[RowId, Change] = {}
    for parent in parents:
        for referrer in context.package.referrers[parent.entity.name]:
            reference = referrer.reference
            for _, change in unit.members(referrer.entity, reference.via, (parent.key,)):
                if row_id(change) in deletions:
                    continue
                if not reference.cascade:
                    raise restricted(parent, change.entity, reference.field)
                found[row_id(change)] = _as_deletion(change)
    return list(found.values())


def _as_deletion(change: Change) -> Change:
    """Return the deletion of a row that this unit has changed before."""
    return Change(
        change.entity,
        change.key,
        old=change.old,
        old_entries=change.old_entries,
        prepared=None,
        guard=change.guard,
    )
