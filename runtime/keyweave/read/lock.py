"""Locking reads: reading a row under its advisory lock, for a transaction that is going to write it.

Locks provide liveness: transactions on the same row queue. The revision guards of the commit provide safety.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError, Sleep
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    StoreTimeoutError,
    TransactionRequiredError,
)
from keyweave.exchange.apply import Trailer
from keyweave.exchange.ask import ask, ask_scripts, out_of_time, refusal_error
from keyweave.exchange.bound import most_keys
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of
from keyweave.read.get import find, is_live, remember_loaded, selects
from keyweave.read.line import Held, give, is_passed_on, line_up, lock_timed_out, pass_on
from keyweave.store.context import Context
from keyweave.store.turns import LockQueue

R = TypeVar("R", bound=Record)

_GIVING_UP: Final = 0.2
"""Seconds that a transaction which is given up waits for a connection, and then for the release of its locks."""

_SCRIPT_REFUSED: Final = frozenset({"NOSCRIPT", "ERR"})
"""Error codes of a script that did not run. The commands before it in the pipeline ran."""


def get_for_update(
    context: Context, entity: Entity[R], key: str, *, wait: float | None = None, partition_value: Any = None
) -> Flow[R]:
    """Lock a row against other locking reads until the transaction ends, and return it.

    Args:
        key: the row's id.
        wait: seconds to wait for the lock; the policy's `lock_wait` by default.
        partition_value: as for `read.get.get`.

    Raises:
        TransactionRequiredError: there is no transaction, or it has ended.
        NotFoundError: there is no such row.
        LockTimeoutError: the lock was not free within `wait`, or by the transaction's deadline.
    """
    record = yield from find_for_update(context, entity, key, wait=wait, partition_value=partition_value)
    if record is None:
        raise entity.missing(key)
    return record


def find_for_update(
    context: Context, entity: Entity[R], key: str, *, wait: float | None = None, partition_value: Any = None
) -> Flow[R | None]:
    """Do what `get_for_update` does, but return None when there is no such row; the commit guards its absence."""
    record, _ = yield from find_for_update_with(
        context, entity, key, None, wait=wait, partition_value=partition_value
    )
    return record


def find_for_update_with(
    context: Context,
    entity: Entity[R],
    key: str,
    extra: Command | None,
    *,
    wait: float | None = None,
    partition_value: Any = None,
) -> Flow[tuple[R | None, Reply]]:
    """Do what `find_for_update` does, and send a second read, the script call `extra`, in the same exchange.

    Returns:
        The row, and the reply of `extra`. The reply is None when `extra` was not sent, because the lock was not free at
        once or is held already. It is a `ServerError` when the server does not know the script or did not run it.
    """
    unit = context.unit
    if unit is None:
        raise TransactionRequiredError(f"{entity.name}: a read for update requires a transaction")
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        flow = find_for_update_with
        pair: tuple[R | None, Reply] = yield from context.router.row(
            flow, context, entity, key, extra, wait=wait, partition_value=partition_value
        )
        return pair
    checked_text(key)
    unit.enlist(entity, context.partition(entity))
    timeout = context.policy.lock_wait if wait is None else wait
    replies = yield from _lock(context, unit, entity, key, timeout, extra)
    if replies is None:
        record = yield from find(context, entity, key)
    else:
        record = yield from _live_row(context, entity, key, replies[0])
    if unit.change_of(entity, key) is None:
        stored = memory_of(record) if record is not None else None
        unit.watched.setdefault((entity.name, key), (entity, stored))
    if partition_value is not None and not selects(entity, record, partition_value):
        record = None
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


def lock_row(context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, wait: float) -> Flow[None]:
    """Acquire the lock of a row for a unit that only holds it, without reading the row.

    Raises:
        LockTimeoutError: the lock was not free within `wait` seconds, or by the operation's deadline.
    """
    yield from _lock(context, unit, entity, key, wait, None)


def _lock(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, timeout: float, extra: Command | None
) -> Flow[list[Reply] | None]:
    """Acquire the lock of a row, in the order in which the transactions of this process ask for it.

    Returns:
        The row's document and the reply of `extra`, if they were read in the exchange that acquired the lock.

    Raises:
        LockTimeoutError: the lock was not free within `timeout` seconds, or by the operation's deadline.
    """
    name = context.partition(entity).lock(entity.name, key)
    if name in unit.locks:
        return None
    started = context.monotonic()
    queue = yield from line_up(context, entity, key, name, started, timeout)
    try:
        return (yield from _acquire(context, unit, entity, key, queue, started, timeout, extra))
    finally:
        if name not in unit.locks:
            pass_on(context, name, queue)


def _acquire(
    context: Context,
    unit: UnitOfWork,
    entity: Entity[Any],
    key: str,
    queue: LockQueue,
    started: float,
    timeout: float,
    extra: Command | None,
) -> Flow[list[Reply] | None]:
    """Acquire the lock on the server, unless this process has it already; see `_lock`."""
    partition = context.partition(entity)
    name = partition.lock(entity.name, key)
    # If an earlier transaction of this process was interrupted, the lock on the server may hold the token of the queue.
    token = queue.token = queue.token or unit.token
    ttl = int(context.policy.lock_ttl * 1000)
    attempt = 0
    if queue.considerate:
        yield from _pause(context, entity, key, started, 1)
    while True:
        # After a lost reply the SET is repeated and fails. The token in the lock then shows that this unit owns it.
        commands: tuple[Command, ...] = (("SET", name, token, "NX", "PX", ttl), ("GET", name))
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
            unit.locks[name] = Held(entity.name, context.monotonic(), token, queue)
            raise
        except StoreTimeoutError as error:
            if attempt and out_of_time(error):
                raise lock_timed_out(context, entity, key, context.monotonic() - started) from None
            raise
        now = context.monotonic()
        waited = now - started
        if acquired is not None or owner == token.encode():
            unit.locks[name] = Held(entity.name, now, token, queue)
            if acquired is not None:
                queue.begin(now)
            if attempt:
                context.state.stats.lock_waited(entity.name, waited, timed_out=False)
            return read if reads else None
        if waited >= timeout:
            raise lock_timed_out(context, entity, key, waited)
        if not attempt:
            context.state.stats.wait_for_lock()
        attempt += 1
        yield from _pause(context, entity, key, started, attempt)


def _pause(context: Context, entity: Entity[Any], key: str, started: float, attempt: int) -> Flow[None]:
    """Pause before another attempt to acquire a lock.

    Raises:
        LockTimeoutError: the deadline leaves no time for it.
    """
    try:
        yield Sleep(context.random.uniform(0.0005, min(0.02, 0.002 * attempt)))
    except ConnectionFailure:
        raise lock_timed_out(context, entity, key, context.monotonic() - started) from None


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
    """Return the command that releases the transaction's locks, to follow its plan; None when it has none to release.

    If the plan has to be repeated, its guards keep the rows safe without the locks. A lock for which another transaction of
    this process waits is passed on instead.
    """
    locks = {name: held for name, held in unit.locks.items() if not is_passed_on(context, held)}
    if not locks:
        return None
    unit.releasing = tuple(locks)
    sha = context.scripts["unlock"].sha
    return Trailer(*_unlocking(context, "EVALSHA", sha, locks))


def unlocked(context: Context, unit: UnitOfWork, trailer: Trailer | None) -> None:
    """Note that the commands of a trailer have released locks, if they have."""
    if trailer is None or not trailer.replies or not all(_ran(reply) for reply in trailer.replies):
        return
    _forget(context, {name: unit.locks.pop(name) for name in unit.releasing if name in unit.locks})


def unlock(context: Context, unit: UnitOfWork) -> Flow[None]:
    """Release the locks that a transaction holds. A lock that cannot be released expires by its TTL."""
    locks = _pass_on_locks(context, unit)
    if not locks:
        return
    try:
        calls = [command[3:] for command in _unlocking(context, "EVALSHA", "", locks)]
        yield from ask_scripts(context, "unlock", tuple([(each[:-1], each[-1:]) for each in calls]))
    except KeyweaveError:
        return  # the transaction has committed or failed already, so this error must not replace its outcome
    finally:
        _forget(context, locks)


def unlock_quickly(context: Context, unit: UnitOfWork) -> Flow[None]:
    """Release the locks of a transaction that is given up, without a retry: the caller waits for nothing else.

    A server that does not answer at once may still release them; otherwise they expire by their TTL.
    """
    locks = _pass_on_locks(context, unit)
    if not locks:
        return
    script = context.scripts["unlock"]
    try:
        for verb, text in (("EVALSHA", script.sha), ("EVAL", script.text)):
            try:
                replies: list[Reply] = yield Send(_unlocking(context, verb, text, locks), _GIVING_UP)
            except ConnectionFailure:
                return
            refusal = next((reply for reply in replies if type(reply) is ServerError), None)
            if refusal is None or refusal.code != "NOSCRIPT":
                return
    finally:
        _forget(context, locks)


def leave_lock(context: Context, unit: UnitOfWork) -> None:
    """Leave the locks of a unit that may not send anything any more. Those that no other transaction takes over expire by their TTL."""
    _forget(context, _pass_on_locks(context, unit))


def _ran(reply: Reply) -> bool:
    return type(reply) is not ServerError


def _pass_on_locks(context: Context, unit: UnitOfWork) -> dict[str, Held]:
    """Pass the locks on for which another transaction of this process waits, and return the others."""
    locks, unit.locks = unit.locks, {}
    kept = {}
    for name, held in locks.items():
        if is_passed_on(context, held) and give(held.queue):
            held.queue.passed += 1
            record_hold_times(context, {name: held})
        else:
            kept[name] = held
    return kept


def _forget(context: Context, locks: dict[str, Held]) -> None:
    """Let the next transaction of this process acquire locks that were released on the server."""
    for name, held in locks.items():
        held.queue.token = None
        pass_on(context, name, held.queue)
    record_hold_times(context, locks)


def _unlocking(context: Context, verb: str, sha_or_text: str, locks: dict[str, Held]) -> list[Command]:
    """Return the calls of the script that release locks: one for each token, if it has no more words than it may have."""
    names: dict[str, list[str]] = {}
    for name, held in locks.items():
        names.setdefault(held.token, []).append(name)
    most = most_keys(context)
    return [
        (verb, sha_or_text, len(part), *part, token)
        for token, keys in names.items()
        for part in ([keys] if most is None else [keys[at : at + most] for at in range(0, len(keys), most)])
    ]


def record_hold_times(context: Context, locks: dict[str, Held]) -> None:
    """Record how long released locks were held."""
    now = context.monotonic()
    for held in locks.values():
        context.state.stats.lock_held(held.entity, now - held.since)
