"""Reading a row under its advisory lock, for a transaction that is going to write it.

Locks give liveness: contended transactions queue. The revision guards of the commit give safety.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Command, Flow, Reply, ServerError, Sleep
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    LockTimeoutError,
    TransactionRequiredError,
)
from keyweave.exchange.ask import Trailer, ask, ask_script, refusal_error
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of
from keyweave.read.get import find, is_live, remember_loaded
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_SCRIPT_REFUSED: Final = frozenset({"NOSCRIPT", "ERR"})
"""Codes that concern a script alone: the lock and the row in front of it in the pipeline were answered."""


def get_for_update(context: Context, entity: Entity[R], key: str, *, wait: float | None = None) -> Flow[R]:
    """A row that no other transaction can change until this one ends.

    Args:
        key: the row's id.
        wait: seconds to wait for the lock; the policy's `lock_wait` by default.

    Raises:
        TransactionRequiredError: outside a transaction.
        NotFoundError: there is no such row.
        LockTimeoutError: the lock was not free in time.
    """
    record = yield from find_for_update(context, entity, key, wait=wait)
    if record is None:
        raise entity.missing(key)
    return record


def find_for_update(
    context: Context, entity: Entity[R], key: str, *, wait: float | None = None
) -> Flow[R | None]:
    """Like `get_for_update`, or None; the row's absence is guarded too."""
    record, _ = yield from find_for_update_with(context, entity, key, None, wait=wait)
    return record


def find_for_update_with(
    context: Context, entity: Entity[R], key: str, extra: Command | None, *, wait: float | None = None
) -> Flow[tuple[R | None, Reply]]:
    """Like `find_for_update`, with the reply of a read that is sent behind that of the row, in the same exchange.

    Returns:
        The row, and the reply: None where the command was not sent, because the lock was not free or is held already;
        a `ServerError` where the server does not know the script, or does not run it.
    """
    unit = context.unit
    if unit is None:
        raise TransactionRequiredError(f"{entity.name}: a read for update needs a transaction")
    checked_text(key)
    unit.enlist(entity)
    patience = context.policy.lock_wait if wait is None else wait
    seen = yield from _lock(context, unit, entity, key, patience, extra)
    if seen is None:
        record = yield from find(context, entity, key)
    else:
        record = yield from _live_row(context, entity, key, seen[0])
    if unit.change_of(entity, key) is None:
        stored = memory_of(record) if record is not None else None
        unit.watched.setdefault((entity.name, key), (entity, stored.revision if stored is not None else None))
    return record, seen[1] if seen is not None and extra is not None else None


def _live_row(context: Context, entity: Entity[R], key: str, document: bytes | None) -> Flow[R | None]:
    """The live row of a document."""
    if document is None:
        return None
    record: R = context.codec(entity).load(document)
    if not (yield from is_live(context, record)):
        return None
    remember_loaded(context, entity, key, record)
    return record


def _lock(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, wait: float, extra: Command | None
) -> Flow[list[Reply] | None]:
    """Take the lock of a row. Returns the document that was read right behind it, and the reply of `extra`, if they were."""
    partition = context.partition(entity)
    name = partition.lock(entity.name, key)
    if name in unit.locks:
        return None
    ttl = int(context.policy.lock_ttl * 1000)
    started = context.monotonic()
    attempt = 0
    while True:
        # A token survives a retry of the same SET: a lock that an unanswered try took is recognised as ours.
        commands: tuple[Command, ...] = (("SET", name, unit.token, "NX", "PX", ttl), ("GET", name))
        # A server runs a pipeline in order, so what follows is read under the lock. Who waits does not ask for it.
        reads = attempt == 0 and unit.change_of(entity, key) is None
        if reads:
            commands = (*commands, ("GET", partition.document(entity.name, key)))
            commands = commands if extra is None else (*commands, extra)
        try:
            taken, owner, *read = yield from _ask_with_script(context, commands, 3)
        except (AuthenticationError, CorruptDocumentError):
            # The row, or what is read extra it, cannot be read or must not; the lock before it may be ours. Releasing one that is not does nothing.
            unit.locks[name] = (entity.name, context.monotonic())
            raise
        now = context.monotonic()
        waited = now - started
        if taken is not None or owner == unit.token.encode():
            unit.locks[name] = (entity.name, now)
            if attempt:
                context.state.stats.lock_waited(entity.name, waited, timed_out=False)
            return read if reads else None
        if waited >= wait:
            context.state.stats.lock_waited(entity.name, waited, timed_out=True)
            raise LockTimeoutError(f"{entity.name}: a row stayed locked for {waited:.1f} s", waited=waited)
        if not attempt:
            context.state.stats.wait_for_lock()
        yield Sleep(context.random.uniform(0.0005, min(0.02, 0.002 * (1 + attempt))))
        attempt += 1


def _ask_with_script(context: Context, commands: tuple[Command, ...], plain: int) -> Flow[list[Reply]]:
    """Replies; after the first `plain` ones come those of scripts, which a server may refuse to run."""
    tolerated = _SCRIPT_REFUSED if len(commands) > plain else frozenset()
    replies = yield from ask(context, commands, tolerated=tolerated)
    refusal = next((reply for reply in replies[:plain] if type(reply) is ServerError), None)
    if refusal is not None:
        raise refusal_error(context, refusal)
    return replies


def unlock_trailer(context: Context, unit: UnitOfWork) -> Trailer | None:
    """The release of the locks, to be sent behind the plan. Guards keep the rows safe if that has to be sent again."""
    if not unit.locks:
        return None
    return Trailer(("EVALSHA", context.scripts["unlock"].sha, len(unit.locks), *unit.locks, unit.token))


def unlock(context: Context, unit: UnitOfWork) -> Flow[None]:
    """Release the locks that a transaction holds. A lock that cannot be released ends with its time to live."""
    if not unit.locks:
        return
    locks, unit.locks = unit.locks, {}
    try:
        yield from ask_script(context, "unlock", tuple(locks), (unit.token,))
    except KeyweaveError:
        return  # the work is done or undone already
    record_hold_times(context, locks)


def record_hold_times(context: Context, locks: dict[str, tuple[str, float]]) -> None:
    """Record for how long released locks were held: entity and moment of taking, by the lock's key."""
    now = context.monotonic()
    for entity, since in locks.values():
        context.state.stats.lock_held(entity, now - since)
