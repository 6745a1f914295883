"""The queue of callers that write one row: how a batch begins, and how the turn goes on or ends."""

from __future__ import annotations

from typing import Any, Final

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import ConnectionFailure, Flow, Sleep
from keyweave.errors import LockTimeoutError, TransactionConflictError
from keyweave.model.entity import Entity
from keyweave.model.record import memory_of
from keyweave.read.get import find
from keyweave.read.lock import leave_lock, lock_row
from keyweave.store.context import Context
from keyweave.store.turns import WriteQueue
from keyweave.write.batch import Batch, Task

_LOCK_AFTER: Final = 3
"""Rounds lost to other processes after which the callers of this one queue with theirs for the advisory lock."""

_LOCK_WAIT: Final = 0.5
"""Seconds to wait for that lock. A transaction may hold it for as long as it likes."""


def open_batch(context: Context, entity: Entity[Any], key: str, queue: WriteQueue, lost: int) -> Flow[Batch]:
    """Begin a batch with the row as it is. `lost` are the attempts that the caller has lost.

    Raises:
        TransactionConflictError: the deadline leaves no time for another attempt.
        StoreUnavailableError: or a subclass.
    """
    codec, began = context.codec(entity), context.monotonic()
    if not queue.outdated:
        guess = context.state.recent.get(entity.name, key)
        if guess is not None:
            return Batch(guess, False, began)
    current, queue.current = queue.current, None
    if queue.lost >= _LOCK_AFTER:
        yield from _lock(context, entity, key, queue)
    elif queue.lost > 1:
        try:
            yield Sleep(context.backoff(queue.lost))
        except ConnectionFailure:
            raise exhausted(context, entity, key, max(lost, 1)) from None
    elif current is not None:
        return Batch(codec.read_memory(current), True, began)
    row = yield from find(context, entity, key)
    return Batch(memory_of(row) if row is not None else None, True, context.monotonic())


def _lock(context: Context, entity: Entity[Any], key: str, queue: WriteQueue) -> Flow[None]:
    """Take the advisory lock of the row, so that other processes let this one go first. It is not needed to be safe."""
    if queue.lock is None:
        queue.lock = UnitOfWork(context.state.ledger.new_op())
    try:
        yield from lock_row(context, queue.lock, entity, key, min(context.policy.lock_wait, _LOCK_WAIT))
    except LockTimeoutError:
        return


def pass_on(context: Context, name: tuple[str, str], queue: WriteQueue) -> None:
    """Give the turn of a row, named by its entity and key, to the next caller; or end the queue if none waits."""
    following = queue.next() if queue.waiting or queue.first else None
    if following is None:
        if queue.lock is not None:
            leave_lock(context, queue.lock)
        context.placing.writers.end(name, queue)
        return
    following.task = Task.ACT
    following.signal.set()


def exhausted(
    context: Context, entity: Entity[Any], key: str, attempts: int | None = None
) -> TransactionConflictError:
    """Return the error for a write that lost every attempt, or all `attempts` that the deadline left time for."""
    attempts = attempts or context.policy.attempts
    return TransactionConflictError(
        f"{entity.row(key)}: a write lost all {attempts} attempts to other writers",
        attempts=attempts,
        key=entity.shown(key),
    )
