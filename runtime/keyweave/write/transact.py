"""Transactions: a function that works on a unit of work, which is committed as one plan and retried after conflicts.

The advisory locks of `get_for_update` provide liveness: transactions on the same rows queue. The revision guards
provide safety: no update is lost, even when a lock expires.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyweave.changes.unit import UnitOfWork
from keyweave.commit.compose import Watched
from keyweave.document.codec import op_of
from keyweave.effects import Call, ConnectionFailure, Flow, Sleep
from keyweave.errors import (
    ConflictError,
    KeyweaveError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TransactionConflictError,
    TransactionTooLargeError,
)
from keyweave.exchange.doubling import observed
from keyweave.exchange.handshake import learn_numbers
from keyweave.model.record import Stored
from keyweave.read.lock import leave_lock, unlock, unlock_quickly, unlock_trailer, unlocked
from keyweave.store.context import Context
from keyweave.store.doubling import PartitionsMovedError
from keyweave.write.buffer import doubt_guesses, learn_guesses
from keyweave.write.in_order import in_order
from keyweave.write.settle import settle


class _Retry(Exception):
    """Another writer changed a row first; the transaction has to run again."""


class _Doubt(Exception):
    """A call may not pass a check that the attempt left to its plan; the transaction has to run again with every check."""


def transact(
    context: Context,
    bind: Callable[[Context], Any],
    function: Callable[[Any], Any],
    until: float | None = None,
) -> Flow[Any]:
    """Run `function` with repositories of one transaction, commit its writes in one step, and return its result.

    Args:
        bind: returns the transaction's repositories for a context.
        function: gets these repositories; may run several times.
        until: the monotonic time at which the budget ends that its operations share; None: each exchange has its own.

    Raises:
        TransactionConflictError: every attempt lost to other writers, or the deadline passed after an attempt that did.
        LockTimeoutError: a row's lock was not free within the timeout, or by the deadline.
        CrossPartitionError: the rows are in several partitions; nothing was written.
        TransactionTooLargeError: the commit needs a longer command than the policy permits; nothing was written.
        Exception: any exception of `function`; nothing was written.
    """
    attempt, attempts, trusting = 0, context.policy.attempts, True
    while attempt < attempts:
        if context.keyspace.doublings:
            context = context.amid(context.keyspace.doublings)
        unit = UnitOfWork(context.state.ledger.new_op(), until, trusting=trusting)
        try:
            result = yield from _attempt(context, unit, bind, function)
        except _Doubt:
            unit.roll_back()
            trusting = False
            yield from unlock(context, unit)
            continue
        except PartitionsMovedError:
            unit.roll_back()
            yield from learn_numbers(context)
            yield from unlock(context, unit)
        except _Retry:
            unit.roll_back()
            trusting = trusting and not _has_trusted(unit)
            context.state.stats.conflict()
            yield from unlock(context, unit)
        except GeneratorExit:
            # The flow was closed, so it may not yield an effect any more. The locks expire by their TTL.
            unit.roll_back()
            leave_lock(context, unit)
            raise
        except BaseException:
            unit.roll_back()
            yield from unlock_quickly(context, unit)
            raise
        else:
            yield from unlock(context, unit)
            return result
        attempt += 1
        try:
            yield Sleep(context.backoff(attempt - 1))
        except ConnectionFailure:
            break  # the deadline leaves no time for another attempt
    attempts = attempt
    raise TransactionConflictError(
        f"a transaction lost all {attempts} attempts to other writers", attempts=attempts
    )


def _attempt(
    context: Context, unit: UnitOfWork, bind: Callable[[Context], Any], function: Callable[[Any], Any]
) -> Flow[Any]:
    try:
        result = yield Call(function, bind(context.inside(unit)))
    except ConflictError as error:
        if error is unit.conflict:
            raise _Retry from error
        yield from _doubt(_placed(context, unit), unit, error)
        raise
    except Exception as error:
        yield from _doubt(_placed(context, unit), unit, error)
        raise
    finally:
        unit.ended = True
    if unit.doubtful:
        raise _Doubt
    changes = [
        change for change in unit.changes.values() if change.prepared is not None or change.old is not None
    ]
    context = _placed(context, unit)
    if not changes:
        if unit.assumed and not (yield from in_order(context, unit)):
            raise _Doubt
        return result
    for row, (_, stored) in unit.watched.items():
        # A row that was read under its lock and then written is guarded by the revision of that first read.
        change = unit.changes.get(row)
        if change is not None and _version(change.old) != _version(stored):
            raise _Retry
    written = {(change.entity.name, change.key) for change in changes}
    watched: list[Watched] = [
        (entity, key, stored)
        for (name, key), (entity, stored) in unit.watched.items()
        if (name, key) not in written
    ]
    watched += [(required.entity, key, required) for (_, key), required in unit.required.items()]
    trailer = unlock_trailer(context, unit)
    try:
        flow = settle(context, changes, watched, trailer=trailer)
        refusal = yield from (flow if context.doubling is None else observed(context, flow))
    except OutcomeUnknownError as error:
        if error.unsettled is not None:
            error.unsettled.result = result
        raise
    except TransactionTooLargeError as error:
        # With what is known of its rows the plan may be shorter, and a write that would be refused is not in it.
        if not _has_trusted(unit):
            raise
        doubt_guesses(context, unit)
        raise _Doubt from error
    finally:
        unlocked(context, unit, trailer)
    learn_guesses(context, unit, refusal)
    if refusal is None:
        return result
    raise _Doubt if _has_trusted(unit) else _Retry


def _has_trusted(unit: UnitOfWork) -> bool:
    """Return whether an attempt has left checks of its calls to its plan."""
    return bool(unit.unchecked or unit.assumed)


def _placed(context: Context, unit: UnitOfWork) -> Context:
    """Return the context of the partition that a unit changes."""
    return (
        context.at(unit.partition) if context.router is not None and unit.partition is not None else context
    )


def _doubt(context: Context, unit: UnitOfWork, error: Exception) -> Flow[None]:
    """After an error of the function, look whether an earlier call would have raised another one.

    Raises:
        _Doubt: one may have.
    """
    if not _has_trusted(unit) or isinstance(error, StoreUnavailableError):
        return
    unit.ended = True
    try:
        good = yield from in_order(context, unit)
    except KeyweaveError:
        return
    if not good:
        raise _Doubt from error


def _version(stored: Stored | None) -> tuple[int, str] | None:
    return (stored.revision, op_of(stored)) if stored is not None else None
