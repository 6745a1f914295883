"""Contexts in one partition of a store that has several, also for transactions."""

from __future__ import annotations

from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context


def inside(context: Context, partition: Partition) -> Context:
    """Return a context in one partition. A transaction that changes another one reads there what is committed, and writes nothing."""
    unit = context.unit
    if unit is None or unit.partition is None or unit.partition is partition:
        return context.at(partition)
    return context.inside(unit.elsewhere()).at(partition)
