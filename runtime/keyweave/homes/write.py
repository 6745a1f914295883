"""Writing and deleting rows whose keys and unique values have homes.

A home is written before the row and removed after it, so a row without its home never exists. A home without a row means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyweave.changes.answer import Applied, Refusal, Status
from keyweave.changes.plan import Plan
from keyweave.document.codec import Prepared
from keyweave.effects import Flow, Sleep
from keyweave.errors import KeyweaveError, TransactionConflictError
from keyweave.exchange.apply import apply, begin
from keyweave.exchange.ask import ask
from keyweave.homes.claim import claim, find_home, vacate
from keyweave.homes.home import Homed, homed_of, not_after
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, Entry
from keyweave.model.record import Stored
from keyweave.store.context import Context


def find_homed(context: Context, entity: Entity[Any], key: str) -> Flow[tuple[Partition, Stored] | None]:
    """Return the row with a key and the partition that holds it, or None. Costs two exchanges."""
    home = yield from find_home(context, Homed(entity, "", key))
    if home is None:
        return None
    partition = context.keyspace.holder(entity.group, home.place)
    (document,) = yield from ask(context, (("GET", partition.document(entity.name, key)),))
    return (partition, context.codec(entity).read_memory(document)) if document is not None else None


def insert_homed(context: Context, partition: Partition, prepared: Prepared) -> Flow[Applied]:
    """Insert a row into a partition.

    Raises:
        AlreadyExistsError: a row with this key exists, in any partition.
        UniqueViolationError: the constraint's own error, whichever partition holds the value.
        TransactionConflictError: every attempt lost to other writers.
    """
    applied = yield from _write(context, partition, None, prepared)
    assert applied is not None  # nothing was read that another write could have changed
    return applied


def replace_homed(
    context: Context, partition: Partition, stored: Stored, prepared: Prepared
) -> Flow[Applied | None]:
    """Replace a row of a partition; unique values may change. Returns None if the row is not the one that was read.

    Raises:
        UniqueViolationError, TransactionConflictError: as for `insert_homed`.
    """
    entity = prepared.entity
    before = _values(entity, context.codec(entity).entries_of(stored))
    applied = yield from _write(context, partition, stored, prepared)
    if applied is not None:
        after = homed_of(prepared)
        yield from _leave(context, [thing for thing in before if thing not in after])
    return applied


def delete_homed(context: Context, entity: Entity[Any], key: str) -> Flow[bool]:
    """Delete a row, then the homes of its key and unique values. Returns whether there was a row.

    Raises:
        TransactionConflictError: every attempt lost to other writers.
    """
    for attempt in range(context.policy.attempts):
        found = yield from find_homed(context, entity, key)
        if found is None:
            return False
        partition, stored = found
        plan = Plan(partition, context.state.ledger.new_op())
        plan.guard_unchanged(entity, key, stored.revision)
        entries = context.codec(entity).entries_of(stored)
        plan.delete(entity, key, entries)
        outcome = yield from apply(context, plan)
        if isinstance(outcome, Applied):
            yield from _leave(context, [Homed(entity, "", key), *_values(entity, entries)])
            return True
        yield Sleep(context.backoff(attempt))
    raise _exhausted(context, entity, key)


def _leave(context: Context, things: Sequence[Homed]) -> Flow[None]:
    """Remove homes of what is gone. What cannot be removed now means nothing, and is left to the sweep."""
    try:
        for thing in things:
            yield from vacate(context, thing)
    except KeyweaveError:
        return  # the row is written already, so this error must not replace its outcome


def _write(
    context: Context, partition: Partition, stored: Stored | None, prepared: Prepared
) -> Flow[Applied | None]:
    """Write a row under the homes of its key, if it is new, and of its new unique values. None: another write came in between."""
    entity, key = prepared.entity, prepared.key
    old = context.codec(entity).entries_of(stored) if stored is not None else []
    before = _values(entity, old)
    new = [thing for thing in homed_of(prepared) if thing.unique or stored is None]
    refused: dict[str, int] = {}
    for attempt in range(context.policy.attempts):
        # The plan rests on homes that are read after this moment, so their fences outlive it.
        until = not_after(context, partition)
        homes: list[tuple[Homed, int]] = []
        for thing in new:
            if thing not in before:
                home = yield from claim(context, thing, partition.index, refused.get(thing.unique, 0))
                if home.place != partition.index:
                    raise entity.violated(thing.unique, key) if thing.unique else entity.taken(key)
                homes.append((thing, home.epoch))
        begun = begin(context, partition)
        begun.until = until
        outcome = yield from apply(
            context, _plan(partition, begun.op, stored, old, prepared, homes), begun=begun
        )
        if isinstance(outcome, Applied):
            return outcome
        if outcome.status is Status.FENCED:
            unique = outcome.guard.detail
            refused[unique] = next(epoch for thing, epoch in homes if thing.unique == unique)
        elif outcome.status in (Status.CHANGED, Status.MISSING):
            return None
        elif outcome.status is not Status.LATE:
            raise _refused(entity, key, outcome)
        if attempt > 0:
            yield Sleep(context.backoff(attempt))
    raise _exhausted(context, entity, key)


def _plan(
    partition: Partition,
    op: str,
    stored: Stored | None,
    old: list[Entry],
    prepared: Prepared,
    homes: Sequence[tuple[Homed, int]],
) -> Plan:
    """Return the plan that writes a row, if none of the homes' epochs is refused in its partition."""
    entity, key = prepared.entity, prepared.key
    plan = Plan(partition, op)
    if stored is None:
        plan.guard_absent(entity, key)
    else:
        plan.guard_unchanged(entity, key, stored.revision)
    for entry in prepared.entries:
        if type(entry) is ClaimEntry and entry not in old:
            plan.guard_free(entity, entry)
    for thing, epoch in homes:
        plan.guard_unfenced(entity, thing.unique, thing.value, epoch, key)
    plan.put(entity, key, prepared.body, prepared.retain, old, prepared.entries)
    return plan


def _values(entity: Entity[Any], entries: Sequence[Entry]) -> list[Homed]:
    """Return the unique values among the entries of a row."""
    return [Homed(entity, entry.unique, entry.value) for entry in entries if type(entry) is ClaimEntry]


def _refused(entity: Entity[Any], key: str, refusal: Refusal) -> KeyweaveError:
    """Return the caller's error for a refusal in the partition itself."""
    return entity.violated(refusal.guard.detail, key) if refusal.status is Status.TAKEN else entity.taken(key)


def _exhausted(context: Context, entity: Entity[Any], key: str) -> TransactionConflictError:
    attempts = context.policy.attempts
    text = f"{entity.row(key)}: a write lost all {attempts} attempts to other writers"
    return TransactionConflictError(text, attempts=attempts, key=entity.shown(key))
