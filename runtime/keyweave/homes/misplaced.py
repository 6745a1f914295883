"""Rows that a partition has still, and that have moved to its twin: while partitions are doubled, until they are removed.

No operation takes them for rows. Reads leave them out, and a write removes one that would be in its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyweave.changes.plan import Plan
from keyweave.effects import Flow
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


def remove_misplaced(context: Context, partition: Partition, things: Sequence[Homed]) -> Flow[None]:
    """Remove rows that have moved, and are in the way of a key or unique value of another row of this partition."""
    if not things or not has_misplaced(context, partition):
        return
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
    for (name, key), entity in rows.items():
        (document,) = yield from ask(context, (("GET", partition.document(name, key)),))
        if document is None:
            continue
        record, head = context.codec(entity).peek(document)
        if is_misplaced(context, partition, entity, record):
            plan = Plan(partition, context.state.ledger.new_op())
            plan.guard_unchanged(entity, key, head.revision)
            plan.delete(entity, key, entity.entries(record))
            yield from apply(context, plan, repeatable=True)
