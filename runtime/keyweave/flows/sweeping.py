"""Sweeping: removing rows that are past their deadline, each with all of its entries in one atomic step."""

from __future__ import annotations

from typing import Any

from keyweave.context import Context, new_op
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.flows.asking import apply, ask
from keyweave.flows.committing import sweep_row
from keyweave.keyspace import Partition
from keyweave.plan import Applied, Plan


def sweep(context: Context, *, limit: int = 10_000) -> Flow[int]:
    """Remove up to `limit` rows that are past their deadline, in all partitions. Returns how many were removed."""
    removed = 0
    for partition in context.keyspace.partitions():
        stuck = 0
        while removed < limit:
            found, gone, kept = yield from sweep_step(
                context, partition, min(100, limit - removed), skip=stuck
            )
            removed += gone
            stuck += kept
            if not found:
                break
    return removed


def sweep_step(
    context: Context, partition: Partition, most: int, *, skip: int = 0
) -> Flow[tuple[int, int, int]]:
    """Sweep up to `most` rows of one partition, after the `skip` that ended first.

    Returns:
        How many were due, how many were removed, and how many stay: rows of an entity that this schema lacks,
        and rows that others keep changing.
    """
    ((seconds, micros),) = yield from ask(context, (("TIME",),))
    now = int(seconds) * 1_000_000 + int(micros)
    context.clock.set(now)
    (members,) = yield from ask(
        context, (("ZRANGEBYSCORE", partition.expiry, "-inf", now, "LIMIT", skip, most),)
    )
    removed = kept = 0
    for member in members:
        name, _, key = member.decode().partition(":")
        entity = context.package.entities.get(name)
        if entity is None:
            kept += 1
        elif (yield from sweep_row(context, entity, key)):
            removed += 1
        else:
            forgotten = yield from _forget(context, partition, entity, key)
            removed += forgotten is True
            kept += forgotten is False
    return len(members), removed, kept


def _forget(context: Context, partition: Partition, entity: Entity[Any], key: str) -> Flow[bool | None]:
    """Drop an expiry entry whose document the native TTL has removed already.

    Returns:
        Whether it was dropped; None when somebody else has removed it.
    """
    present, deadline = yield from ask(
        context,
        (
            ("EXISTS", partition.document(entity.name, key)),
            ("ZSCORE", partition.expiry, partition.expiring(entity.name, key)),
        ),
    )
    if deadline is None:
        return None
    if present:
        return False
    plan = Plan(partition, new_op())
    plan.guard_missing(entity, key)
    plan.delete(entity, key, [])
    outcome = yield from apply(context, plan)
    return isinstance(outcome, Applied)
