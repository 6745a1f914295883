"""Requiring a row: the transaction commits only if it exists, as after SELECT … FOR KEY SHARE of PostgreSQL, but without a lock.

The plan guards the row as it guards the target of a reference. So an attempt that trusts asks for nothing: if its plan is refused,
the function runs again, each required row is read at once, and the call raises the error.
"""

from __future__ import annotations

from typing import Any

from keyweave.changes.required import Required
from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Flow
from keyweave.errors import TransactionRequiredError
from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave.model.keytext import checked_text, key_text
from keyweave.model.numbering import IntKey
from keyweave.read.get import exists, selects
from keyweave.store.context import Context


def require(context: Context, entity: Entity[Any], key: str, partition_value: Any = None) -> Flow[bool]:
    """Let the transaction commit only if there is a live row `key`, and return True.

    Args:
        partition_value: as for `read.get.get`.

    Raises:
        TransactionRequiredError: there is no transaction, or it has ended.
        NotFoundError: the entity's own error, when there is no live row.
        CrossPartitionError: the transaction uses another group or partition.
    """
    unit = context.unit
    if unit is None:
        raise TransactionRequiredError(f"{entity.name}: to require a row needs a transaction")
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        unit.enlist(entity)
        found: bool = yield from context.router.row(
            require, context, entity, key, partition_value=partition_value
        )
        return found
    checked_text(key)
    unit.enlist(entity, context.partition(entity))
    change = unit.change_of(entity, key)
    if change is None:
        present = yield from _require_stored(context, unit, entity, key, partition_value)
    else:
        present = change.prepared is not None and _selects(entity, change.prepared.snapshot, partition_value)
    if not present:
        raise entity.missing(key)
    return True


def _require_stored(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, partition_value: Any
) -> Flow[bool]:
    """Let the plan require a row that the transaction has not changed. Returns False if it is not there."""
    row = (entity.name, key)
    entry = _entry_of(entity, key, partition_value) if partition_value is not None else None
    earlier = unit.required.get(row)
    other = earlier.entry if earlier is not None else None
    if earlier is not None and (partition_value is None or (entry is not None and entry == other)):
        return True
    comparable = partition_value is None or (entry is not None and other is None)
    # While partitions are doubled, a row that moves may be in two of them for a moment.
    assumed = unit.trusting and comparable and context.doubling is None
    if row in unit.loaded or row in unit.watched:
        stored = unit.watched[row][1] if row in unit.watched else unit.loaded[row]
        present = stored is not None and _selects(
            entity, context.codec(entity).snapshot_of(stored), partition_value
        )
        assumed = assumed and entry is not None
    else:
        present = assumed or (yield from exists(context, entity, key, partition_value))
    if present:
        unit.require(key, Required(entity, other or (entry if assumed else None)), assumed=assumed)
        if partition_value is not None and not assumed:
            # An entry may be damaged, or not built yet. Its revision shows that it still is the row with this value.
            unit.watched.setdefault(row, (entity, unit.loaded[row]))
    return present


def _entry_of(entity: Entity[Any], key: str, partition_value: Any) -> ViewEntry | None:
    """Return an entry that exactly the rows have whose field that selects the partition has a value; None if no view has such ones."""
    name = entity.partition_by
    for view in entity.views.values():
        if view.selecting == (name,) and not (view.each or view.where or view.by_text):
            text = key_text(IntKey(partition_value) if name in entity.referring else partition_value)
            return ViewEntry(view.name, (text,), key, view.order)
    return None


def _selects(entity: Entity[Any], record: Any, partition_value: Any) -> bool:
    return partition_value is None or selects(entity, record, partition_value)
