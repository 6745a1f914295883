"""Rows that a partition has still, and that have moved to its twin: while partitions are doubled, until they are removed.

No operation takes them for rows. Queries leave them out. What concerns one key or unique value removes one that would be in its way, or
that it would take for the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyweave.changes.answer import Applied
from keyweave.changes.plan import Plan
from keyweave.effects import Flow
from keyweave.errors import AuthenticationError, StoreReadOnlyError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask
from keyweave.homes.home import Homed, place_in
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.store.context import Context


def has_misplaced(context: Context, partition: Partition) -> bool:
    """Return whether a partition may have rows that have moved to its twin."""
    known = context.doubling.get(partition.group) if context.doubling is not None else None
    return known is not None and partition.index in known.moved


def is_misplaced(context: Context, partition: Partition, entity: Entity[Any], record: Any) -> bool:
    """Return whether a row of a partition has moved to the twin of the partition."""
    return context.keyspace.holder(entity.group, place_in(entity, record)) is not partition


def remove_misplaced(
    context: Context, partition: Partition, things: Sequence[Homed], *, reading: bool = False
) -> Flow[bool]:
    """Remove rows that have moved, and are in the way of a key or unique value of another row of this partition.

    Args:
        reading: whether it is no error that this user may not remove a row.

    Returns:
        Whether none is left.
    """
    clear = True
    if not things or not has_misplaced(context, partition):
        return clear
    rows: dict[tuple[str, str], Entity[Any]] = {}
    for thing in things:
        entity, owner = thing.entity, thing.value
        if thing.unique:
            (found,) = yield from ask(
                context, (("HGET", partition.claims(entity.name, thing.unique), thing.value),)
            )
            if found is None:
                continue
            owner = found.decode("utf-8", "surrogateescape")
        rows[entity.name, owner] = entity
    for (_, key), entity in rows.items():
        for _ in range(context.policy.attempts):
            document = yield from _misplaced(context, partition, entity, key)
            if document is None:
                break
            try:
                if (yield from _remove(context, partition, entity, key, document)):
                    break
            except (StoreReadOnlyError, AuthenticationError):
                if not reading:
                    raise
                clear = False
                break
    return clear


def _misplaced(context: Context, partition: Partition, entity: Entity[Any], key: str) -> Flow[bytes | None]:
    """Return the document of a row that has moved; None if there is none in this partition."""
    (document,) = yield from ask(context, (("GET", partition.document(entity.name, key)),))
    if document is None:
        return None
    found: bytes = document
    return found if is_misplaced(context, partition, entity, context.codec(entity).peek(found)[0]) else None


def _remove(
    context: Context, partition: Partition, entity: Entity[Any], key: str, document: bytes
) -> Flow[bool]:
    """Remove a row that has moved. Returns False if another client was there before."""
    record, head = context.codec(entity).peek(document)
    plan = Plan(partition, context.state.ledger.new_op())
    plan.guard_unchanged(entity, key, head.revision)
    plan.delete(entity, key, entity.entries(record))
    outcome = yield from apply(context, plan, repeatable=True)
    return isinstance(outcome, Applied)
