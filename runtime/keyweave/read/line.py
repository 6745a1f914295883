"""Lining up for a lock: the transactions of one process that lock the same row take turns in the order in which they ask.

Only the first one of them asks the server. A transaction that ends passes the lock on to the next one, for a bounded number of
times, so that those of other processes get their turn as well.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from keyweave.effects import ConnectionFailure, Flow, Wait
from keyweave.errors import LockTimeoutError
from keyweave.model.entity import Entity
from keyweave.store.context import Context
from keyweave.store.turns import Caller, LockQueue

_MOST: Final = 64
"""How often a process passes a lock on before it releases it on the server."""

_SHARE: Final = 0.25
"""The part of the lock's time to live after which it is not passed on: the next transaction needs time as well."""


class Held(NamedTuple):
    """A lock that a transaction holds.

    Attributes:
        entity: name of the row's entity.
        since: monotonic time of its acquisition.
        token: what the lock on the server holds.
        queue: the transactions of this process that wait for it.
    """

    entity: str
    since: float
    token: str
    queue: LockQueue


def line_up(
    context: Context, entity: Entity[Any], key: str, name: str, started: float, timeout: float
) -> Flow[LockQueue]:
    """Wait until no other transaction of this process holds the lock `name`, and return its queue.

    Raises:
        LockTimeoutError: that took until `timeout` seconds after `started`, or until the operation's deadline.
    """
    turns, waited = context.state.lockers, False
    while True:
        caller = Caller()
        queue, first = turns.join(name, caller)
        while not first and not caller.astray:
            seen = queue.turns
            if not waited:
                waited = True
                context.state.stats.wait_for_lock()
            left = started + timeout - context.monotonic()
            try:
                first = yield Wait(caller.signal, max(0.0, min(left, context.policy.lock_ttl)))
            except BaseException as error:
                if not caller.withdraw() and not caller.astray:
                    pass_on(context, name, queue)
                if isinstance(error, ConnectionFailure):
                    raise lock_timed_out(context, entity, key, context.monotonic() - started) from None
                raise
            if first:
                break
            if left <= context.policy.lock_ttl:
                first = not caller.withdraw()
                if not first:
                    raise lock_timed_out(context, entity, key, context.monotonic() - started)
            elif queue.turns == seen:
                first = not caller.withdraw()
                if not first:
                    # Its holder has had the lock for longer than the server keeps it.
                    turns.detach(name, queue)
                    break
        if first and not caller.astray:
            if waited:
                seconds = context.monotonic() - started
                context.state.stats.lock_waited(entity.name, seconds, timed_out=False)
            return queue


def is_passed_on(context: Context, held: Held) -> bool:
    """Return whether a lock goes to the next transaction of this process, and is not released on the server."""
    queue = held.queue
    if not queue.waiting:
        return False
    age = context.monotonic() - queue.since
    if held.token == queue.token and queue.passed < _MOST and age < context.policy.lock_ttl * _SHARE:
        return True
    queue.considerate = True
    return False


def give(queue: LockQueue) -> bool:
    """Let the next transaction of this process have its turn; return False if none waits."""
    caller = queue.next()
    if caller is None:
        return False
    caller.signal.set()
    return True


def pass_on(context: Context, name: str, queue: LockQueue) -> None:
    """Let the next transaction of this process have its turn, or end the queue."""
    if not give(queue):
        context.state.lockers.end(name, queue)


def lock_timed_out(context: Context, entity: Entity[Any], key: str, waited: float) -> LockTimeoutError:
    """Return the error for a lock that was not free in time."""
    context.state.stats.lock_waited(entity.name, waited, timed_out=True)
    return LockTimeoutError(
        f"{entity.row(key)}: the row stayed locked for {waited:.1f} s",
        waited=waited,
        key=entity.shown(key),
    )
