"""Transactions: a closure over a unit of work, committed as one plan, run again when other writers came first.

The advisory locks of `get_for_update` give liveness: contended closures queue. The revision guards give
safety: a lock that ran out can never lose an update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from keyweave.changes.plan import new_op
from keyweave.changes.unit import UnitOfWork
from keyweave.commit.commit import refused
from keyweave.effects import Call, Flow, ServerError, Sleep
from keyweave.errors import (
    ConflictError,
    TransactionConflictError,
)
from keyweave.model.record import Record
from keyweave.read.lock import record_hold_times, unlock, unlock_trailer
from keyweave.store.context import Context
from keyweave.write.settle import settle

R = TypeVar("R", bound=Record)


_SCRIPT_REFUSED: Final = frozenset({"NOSCRIPT", "ERR"})
"""Codes of a server that does not know a script, or does not run it; what was asked for has another way then."""


class _Retry(Exception):
    """Other writers came first."""


def transact(context: Context, bind: Callable[[Context], Any], function: Callable[[Any], Any]) -> Flow[Any]:
    """Run `function` with repositories that belong to one transaction, and write what it wrote in one step.

    Args:
        bind: makes the transaction's repositories from a context.
        function: may run several times; its result is returned, its exception passes through.

    Raises:
        TransactionConflictError: other writers won every try.
        LockTimeoutError: a row's lock was not free in time.
        CrossPartitionError: the rows do not share a partition; nothing was sent.
    """
    attempts = context.policy.attempts
    for attempt in range(attempts):
        unit = UnitOfWork(new_op())
        try:
            result = yield from _attempt(context, unit, bind, function)
        except _Retry:
            unit.roll_back()
            context.state.stats.conflict()
            yield from unlock(context, unit)
        except GeneratorExit:
            # The caller went away: no effect may be yielded any more, the locks end with their time to live.
            unit.roll_back()
            raise
        except BaseException:
            unit.roll_back()
            yield from unlock(context, unit)
            raise
        else:
            yield from unlock(context, unit)
            return result
        yield Sleep(context.backoff(attempt))
    raise TransactionConflictError(f"a transaction lost {attempts} tries to other writers", attempts=attempts)


def _attempt(
    context: Context, unit: UnitOfWork, bind: Callable[[Context], Any], function: Callable[[Any], Any]
) -> Flow[Any]:
    try:
        result = yield Call(function, bind(context.inside(unit)))
    except ConflictError as error:
        if error is not unit.conflict:
            raise
        raise _Retry from error
    finally:
        unit.ended = True
    changes = [
        change for change in unit.changes.values() if change.prepared is not None or change.old is not None
    ]
    if not changes:
        return result
    for place, (_, revision) in unit.watched.items():
        # A row that was locked and then written is guarded by what the lock's owner saw first, however it was written.
        change = unit.changes.get(place)
        if change is not None and (change.old.revision if change.old is not None else None) != revision:
            raise _Retry
    written = {(change.entity.name, change.key) for change in changes}
    watched = [
        (entity, key, revision)
        for (name, key), (entity, revision) in unit.watched.items()
        if (name, key) not in written
    ]
    trailer = unlock_trailer(context, unit)
    try:
        refusal = yield from settle(context, changes, watched, trailer=trailer)
    finally:
        if trailer is not None and trailer.replies and type(trailer.replies[0]) is not ServerError:
            locks, unit.locks = unit.locks, {}
            record_hold_times(context, locks)
    if refusal is None:
        return result
    if not refusal.certain:
        raise refused(refusal)
    raise _Retry
