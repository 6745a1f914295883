"""A row does not change its partition: the field that decides it keeps its value."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.document.codec import Prepared
from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.store.context import Context


def require_same_partition(change: Change) -> None:
    """Refuse a change of the value that decides the partition of a stored row.

    Raises:
        ValidationError: the row would have another value.
    """
    old, prepared = change.old, change.prepared
    if old is None or prepared is None or old.snapshot is None:
        return
    if moves(old.snapshot, prepared):
        raise _partition_changed(old.snapshot, prepared)


def moves(before: Any, prepared: Prepared) -> bool:
    """Return whether a row would have another value of the field that decides its partition than a record of it."""
    name = prepared.entity.partition_by
    return bool(getattr(before, name) != getattr(prepared.snapshot, name))


def require_same_value(context: Context, before: Any, prepared: Prepared) -> None:
    """Refuse to give a row another value of the field that decides its partition, in a group with several.

    Args:
        before: a record of the row as it is; None for no row.

    Raises:
        ValidationError: it would have another value.
    """
    if context.homing and before is not None and moves(before, prepared):
        raise _partition_changed(before, prepared)


def _partition_changed(before: Any, prepared: Prepared) -> ValidationError:
    entity = prepared.entity
    name = entity.partition_by
    return partition_changed(entity, prepared.key, getattr(before, name), getattr(prepared.snapshot, name))


def partition_changed(entity: Entity[Any], key: str, before: object, after: object) -> ValidationError:
    """Return the error for a row that would have another value of the field that decides its partition."""
    rule = f"decides the partition of a row, so it cannot change from {before!r} to {after!r}"
    name = entity.partition_by
    error = ValidationError(f"{entity.row(key)}: {name} {rule}", entity=entity.name, field=name, rule=rule)
    error.key = entity.shown(key)
    return error
