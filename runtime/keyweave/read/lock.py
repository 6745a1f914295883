"""Locking reads: reading a row under its advisory lock, for a transaction that is going to write it.

Locks provide liveness: transactions on the same row queue. The revision guards of the commit provide safety.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError, Sleep
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    LockTimeoutError,
    StoreTimeoutError,
    TransactionRequiredError,
)
from keyweave.exchange.apply import Trailer
from keyweave.exchange.ask import ask, ask_scripts, out_of_time, refusal_error
from keyweave.exchange.bound import most_keys
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of
from keyweave.read.get import find, is_live, remember_loaded
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_GIVING_UP: Final = 0.2
"""Seconds that a transaction which is given up waits for a connection, and then for the release of its locks."""

_SCRIPT_REFUSED: Final = frozenset({"NOSCRIPT", "ERR"})
"""Error codes of a script that did not run. The commands before it in the pipeline ran."""


def get_for_update(context: Context, entity: Entity[R], key: str, *, wait: float | None = None) -> Flow[R]:
    """Lock a row against other locking reads until the transaction ends, and return it.

    Args:
        key: the row's id.
        wait: seconds to wait for the lock; the policy's `lock_wait` by default.

    Raises:
        TransactionRequiredError: there is no transaction, or it has ended.
        NotFoundError: there is no such row.
        LockTimeoutError: the lock was not free within `wait`, or by the transaction's deadline.
    """
    record = yield from find_for_update(context, entity, key, wait=wait)
    if record is None:
        raise entity.missing(key)
    return record


def find_for_update(
    context: Context, entity: Entity[R], key: str, *, wait: float | None = None
) -> Flow[R | None]:
    """Do what `get_for_update` does, but return None when there is no such row; the commit guards its absence."""
    record, _ = yield from find_for_update_with(context, entity, key, None, wait=wait)
    return record


def find_for_update_with(
    context: Context, entity: Entity[R], key: str, extra: Command | None, *, wait: float | None = None
) -> Flow[tuple[R | None, Reply]]:
    """Do what `find_for_update` does, and send a second read, the script call `extra`, in the same exchange.

    Returns:
        The row, and the reply of `extra`. The reply is None when `extra` was not sent, because the lock was not free at
        once or is held already. It is a `ServerError` when the server does not know the script or did not run it.
    """
    unit = context.unit
    if unit is None:
        raise TransactionRequiredError(f"{entity.name}: a read for update requires a transaction")
    checked_text(key)
    unit.enlist(entity)
    timeout = context.policy.lock_wait if wait is None else wait
    replies = yield from _lock(context, unit, entity, key, timeout, extra)
    if replies is None:
        record = yield from find(context, entity, key)
    else:
        record = yield from _live_row(context, entity, key, replies[0])
    if unit.change_of(entity, key) is None:
        stored = memory_of(record) if record is not None else None
        unit.watched.setdefault((entity.name, key), (entity, stored))
    return record, replies[1] if replies is not None and extra is not None else None


def _live_row(context: Context, entity: Entity[R], key: str, document: bytes | None) -> Flow[R | None]:
    """Return the row of a document if it is live, and record it in the transaction."""
    if document is None:
        return None
    record: R = context.codec(entity).load(document, key)
    if not (yield from is_live(context, entity, record)):
        return None
    remember_loaded(context, entity, key, record)
    return record


def _lock(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, timeout: float, extra: Command | None
) -> Flow[list[Reply] | None]:
    """Acquire the lock of a row.

    Returns:
        The row's document and the reply of `extra`, if they were read in the exchange that acquired the lock.

    Raises:
        LockTimeoutError: the lock was not free within `timeout` seconds, or by the operation's deadline.
    """
    partition = context.partition(entity)
    name = partition.lock(entity.name, key)
    if name in unit.locks:
        return None
    ttl = int(context.policy.lock_ttl * 1000)
    started = context.monotonic()
    attempt = 0
    while True:
        # After a lost reply the SET is repeated and fails. The token in the lock then shows that this unit owns it.
        commands: tuple[Command, ...] = (("SET", name, unit.token, "NX", "PX", ttl), ("GET", name))
        # The server runs a pipeline in order, so these reads happen under the lock. While the unit waits for the lock,
        # it does not send them.
        reads = attempt == 0 and unit.change_of(entity, key) is None
        if reads:
            commands = (*commands, ("GET", partition.document(entity.name, key)))
            commands = commands if extra is None else (*commands, extra)
        try:
            acquired, owner, *read = yield from _ask_with_script(context, commands, 3)
        except (AuthenticationError, CorruptDocumentError):
            # A read failed, but the SET before it may have succeeded. Releasing the lock of another owner does nothing.
            unit.locks[name] = (entity.name, context.monotonic())
            raise
        except StoreTimeoutError as error:
            if attempt and out_of_time(error):
                raise _lock_timed_out(context, entity, key, context.monotonic() - started) from None
            raise
        now = context.monotonic()
        waited = now - started
        if acquired is not None or owner == unit.token.encode():
            unit.locks[name] = (entity.name, now)
            if attempt:
                context.state.stats.lock_waited(entity.name, waited, timed_out=False)
            return read if reads else None
        if waited >= timeout:
            raise _lock_timed_out(context, entity, key, waited)
        if not attempt:
            context.state.stats.wait_for_lock()
        try:
            yield Sleep(context.random.uniform(0.0005, min(0.02, 0.002 * (1 + attempt))))
        except ConnectionFailure:
            raise _lock_timed_out(
                context, entity, key, waited
            ) from None  # the deadline leaves no time to try again
        attempt += 1


def _lock_timed_out(context: Context, entity: Entity[Any], key: str, waited: float) -> LockTimeoutError:
    context.state.stats.lock_waited(entity.name, waited, timed_out=True)
    return LockTimeoutError(
        f"{entity.row(key)}: the row stayed locked for {waited:.1f} s",
        waited=waited,
        key=entity.shown(key),
    )


def _ask_with_script(context: Context, commands: tuple[Command, ...], plain: int) -> Flow[list[Reply]]:
    """Send commands and return their replies. The commands after the first `plain` ones are script calls.

    A server may refuse to run a script, and such a reply is returned as `ServerError`.
    """
    tolerated = _SCRIPT_REFUSED if len(commands) > plain else frozenset()
    replies = yield from ask(context, commands, tolerated=tolerated)
    refusal = next((reply for reply in replies[:plain] if type(reply) is ServerError), None)
    if refusal is not None:
        raise refusal_error(context, refusal)
    return replies


def unlock_trailer(context: Context, unit: UnitOfWork) -> Trailer | None:
    """Return the command that releases the transaction's locks, to follow its plan; None when it holds no lock.

    If the plan has to be repeated, its guards keep the rows safe without the locks.
    """
    if not unit.locks:
        return None
    sha = context.scripts["unlock"].sha
    return Trailer(*_unlocking(context, "EVALSHA", sha, unit.locks, unit.token))


def unlock(context: Context, unit: UnitOfWork) -> Flow[None]:
    """Release the locks that a transaction holds. A lock that cannot be released expires by its TTL."""
    if not unit.locks:
        return
    locks, unit.locks = unit.locks, {}
    try:
        calls = [command[3:] for command in _unlocking(context, "EVALSHA", "", locks, unit.token)]
        yield from ask_scripts(context, "unlock", tuple([(each[:-1], each[-1:]) for each in calls]))
    except KeyweaveError:
        return  # the transaction has committed or failed already, so this error must not replace its outcome
    record_hold_times(context, locks)


def unlock_quickly(context: Context, unit: UnitOfWork) -> Flow[None]:
    """Release the locks of a transaction that is given up, without a retry: the caller waits for nothing else.

    A server that does not answer at once may still release them; otherwise they expire by their TTL.
    """
    if not unit.locks:
        return
    locks, unit.locks = unit.locks, {}
    script = context.scripts["unlock"]
    for verb, text in (("EVALSHA", script.sha), ("EVAL", script.text)):
        try:
            replies: list[Reply] = yield Send(_unlocking(context, verb, text, locks, unit.token), _GIVING_UP)
        except ConnectionFailure:
            return
        refusal = next((reply for reply in replies if type(reply) is ServerError), None)
        if refusal is None:
            record_hold_times(context, locks)
            return
        if refusal.code != "NOSCRIPT":
            return


def _unlocking(
    context: Context, verb: str, sha_or_text: str, locks: Collection[str], token: str
) -> list[Command]:
    """Return the calls of the script that release locks: one, if it has no more words than it may have."""
    most = most_keys(context)
    if most is None or len(locks) <= most:
        return [(verb, sha_or_text, len(locks), *locks, token)]
    keys = tuple(locks)
    parts = [keys[start : start + most] for start in range(0, len(keys), most)]
    return [(verb, sha_or_text, len(part), *part, token) for part in parts]


def record_hold_times(context: Context, locks: dict[str, tuple[str, float]]) -> None:
    """Record how long released locks were held.

    Args:
        locks: entity name and monotonic time of acquisition, by the lock's key.
    """
    now = context.monotonic()
    for entity, since in locks.values():
        context.state.stats.lock_held(entity, now - since)
