"""Errors of steps that would need two partitions. They name the values that decide the partitions, not their numbers."""

from __future__ import annotations

from typing import Any

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Flow
from keyweave.errors import CrossPartitionError
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.read.get import find
from keyweave.store.context import Context


def crossing(
    context: Context, partition: Partition, entity: Entity[Any], key: str, value: Any
) -> Flow[CrossPartitionError]:
    """Return the error of a transaction that changes rows of one partition, and then one of another.

    Args:
        partition: of the row.
        key: id of the row, if it is stored.
        value: the value that decides its partition, if it is known; else the row is read.
    """
    unit = context.unit
    assert unit is not None
    if value is None:
        found = yield from find(context.inside(unit.elsewhere()).at(partition), entity, key)
        value = getattr(found, entity.partition_by) if found is not None else None
    name, other = entity.partition_by, _first_value(context, unit) or (
        yield from _required_value(context, unit)
    )
    row = entity.row(key)
    here = f"{row} has {name} {value!r}" if value is not None else f"{row} is in another partition"
    there = f"rows with {other}" if other else "another partition"
    return CrossPartitionError(
        f"{here}, and this transaction already uses {there}: a transaction stays in one partition"
    )


def _required_value(context: Context, unit: UnitOfWork) -> Flow[str]:
    """Return what `_first_value` does for a unit that only requires rows: one of them is read."""
    for (_, key), required in unit.required.items():
        entity = required.entity
        assert unit.partition is not None
        found = yield from find(context.inside(unit.elsewhere()).at(unit.partition), entity, key)
        if found is not None:
            return f"{entity.partition_by} {getattr(found, entity.partition_by)!r}"
    return ""


def _first_value(context: Context, unit: UnitOfWork) -> str:
    """Return the value that decides the partition of a unit, with the name of its field; empty if no row shows it."""
    for change in unit.changes.values():
        state = change.prepared.snapshot if change.prepared is not None else None
        if state is None and change.old is not None:
            state = context.codec(change.entity).snapshot_of(change.old)
        if state is not None:
            return f"{change.entity.partition_by} {getattr(state, change.entity.partition_by)!r}"
    for entity, stored in unit.watched.values():
        state = context.codec(entity).snapshot_of(stored) if stored is not None else None
        if state is not None:
            return f"{entity.partition_by} {getattr(state, entity.partition_by)!r}"
    return ""
