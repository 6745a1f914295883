"""Sweeping: removing rows that are past their deadline, each with all of its entries in one atomic step."""

from __future__ import annotations

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.flows.asking import ask
from keyweave.flows.committing import sweep_row
from keyweave.keyspace import Partition


def sweep(context: Context, *, limit: int = 10_000) -> Flow[int]:
    """Remove up to `limit` rows that are past their deadline, in all partitions. Returns how many were removed."""
    removed = 0
    for partition in context.keyspace.partitions():
        while removed < limit:
            found, gone = yield from sweep_step(context, partition, min(100, limit - removed))
            removed += gone
            if not found or not gone:
                break
    return removed


def sweep_step(context: Context, partition: Partition, most: int) -> Flow[tuple[int, int]]:
    """Sweep up to `most` rows of one partition. Returns how many were due and how many were removed."""
    ((seconds, micros),) = yield from ask(context, (("TIME",),))
    now = int(seconds) * 1_000_000 + int(micros)
    context.clock.set(now)
    (members,) = yield from ask(
        context, (("ZRANGEBYSCORE", partition.expiry, "-inf", now, "LIMIT", 0, most),)
    )
    removed = 0
    for member in members:
        name, _, key = member.decode().partition(":")
        entity = context.package.entities.get(name)
        if entity is None:
            continue
        if (yield from sweep_row(context, entity, key)):
            removed += 1
        else:
            removed += yield from _forget(context, partition, entity.name, key)
    return len(members), removed


def _forget(context: Context, partition: Partition, entity: str, key: str) -> Flow[int]:
    """Drop an expiry entry whose document the native TTL has removed already."""
    present, _ = yield from ask(
        context,
        (
            ("EXISTS", partition.document(entity, key)),
            ("ZSCORE", partition.expiry, partition.expiring(entity, key)),
        ),
    )
    if present:
        return 0
    (gone,) = yield from ask(context, (("ZREM", partition.expiry, partition.expiring(entity, key)),))
    return int(gone)
