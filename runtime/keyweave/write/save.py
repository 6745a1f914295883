"""Writing one row: create, save, upsert, change. Inside a transaction the write is checked and buffered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from keyweave.changes.answer import Status
from keyweave.changes.change import replacement
from keyweave.commit.refused import refused
from keyweave.commit.same_partition import moves
from keyweave.document.codec import Prepared
from keyweave.effects import ConnectionFailure, Flow, Sleep
from keyweave.errors import (
    ConfigurationError,
    ConflictError,
    NotLoadedError,
    OutcomeUnknownError,
    ValidationError,
)
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave.model.fidelity import same_value
from keyweave.model.record import MEMORY, Record, Stored, memory_of
from keyweave.read.get import get, selects
from keyweave.store.context import Context
from keyweave.write.batch import Alter, Put, call, key_changed
from keyweave.write.buffer import buffer_create, buffer_save, buffer_upsert, probable
from keyweave.write.group import write_together
from keyweave.write.put import put
from keyweave.write.queue import exhausted, pass_on
from keyweave.write.require_empty import require_empty
from keyweave.write.settle import settle

R = TypeVar("R", bound=Record)


def create(context: Context, entity: Entity[R], record: R, *, if_none: str | None = None) -> Flow[R]:
    """Insert a row and return the record, with its managed fields set.

    Args:
        if_none: a view; the row is inserted only if no live row has the same values of the view's fields.

    Raises:
        ViewNotEmptyError: a row with the same values exists.
        ValidationError, CheckViolationError: the record is invalid; nothing was sent.
        AlreadyExistsError: a row with this key exists.
        UniqueViolationError: the constraint's own error.
        ReferenceViolationError: the target of a reference does not exist.
        ConfigurationError: there is no view `if_none`.
        TransactionConflictError: every attempt lost to other writers.
    """
    if context.router is not None:
        return (yield from _routed(create, context, entity, record, if_none=if_none))
    codec = context.codecs[entity.name]
    prepared = codec.prepare(record, None)
    values = _values_in(prepared, entity, if_none) if if_none is not None else None
    if context.unbuilt and if_none is not None:
        yield from require_built(context, entity, if_none)
    if context.unit is not None:
        view = (if_none, values) if if_none is not None and values is not None else None
        yield from buffer_create(context, entity, record, prepared, view)
        return record
    if if_none is None or values is None:
        refusal = yield from put(context, codec, record, None, prepared)
        if refusal is not None:
            raise refused(refusal)
        return record
    change = replacement(codec, record, None, prepared)
    change.counts = [(entity, if_none, values, 0)]
    for _ in range(context.policy.attempts):
        refusal = yield from settle(context, [change])
        if refusal is None:
            return record
        if refusal.status is not Status.COUNT:
            raise refused(refusal)
        yield from require_empty(context, entity, if_none, values)
    raise exhausted(context, entity, prepared.key)


def _routed(
    flow: Callable[..., Flow[R]], context: Context, entity: Entity[R], record: R, **options: Any
) -> Flow[R]:
    """Run a flow of this module in the partition of a record."""
    assert context.router is not None
    written: R = yield from context.router.record(flow, context, entity, record, **options)
    return written


def _values_in(prepared: Prepared, entity: Entity[Any], view: str) -> tuple[str, ...] | None:
    """Return the values for which a row will be a member of a view; None when it will not be a member.

    Raises:
        ConfigurationError: there is no such view.
    """
    if view not in entity.views:
        raise ConfigurationError(f"{entity.name}: no view {view!r}")
    if entity.views[view].each:
        raise ConfigurationError(f"{entity.name}: a row has several entries in the view {view}")
    members = (entry for entry in prepared.entries if isinstance(entry, ViewEntry) and entry.view == view)
    return next((entry.values for entry in members), None)


def save(context: Context, entity: Entity[R], record: R) -> Flow[R]:
    """Write a loaded record back, if the row has not changed since it was loaded.

    Raises:
        NotLoadedError: the record was never loaded or written.
        ConflictError: the row changed; load it again.
        NotFoundError: the row does not exist any more.
        ValidationError: also when the record's key differs from the key that it was loaded with.
        ValidationError, CheckViolationError, UniqueViolationError, ReferenceViolationError: as for `create`.
    """
    if context.router is not None:
        if context.unit is not None or context.router.moving:
            return (yield from _routed(save, context, entity, record))
        context = context.router.for_save(context, entity, record)
    stored: Stored | None = getattr(record, MEMORY, None)
    if stored is None:
        raise _not_loaded(entity, record)
    codec = context.codecs[entity.name]
    prepared = codec.prepare(record, stored)
    snapshot, key = codec.snapshot_of(stored), entity.key
    # Nearly every key is one field, which costs no call.
    same = (
        getattr(snapshot, key) == getattr(prepared.snapshot, key)
        if key
        else entity.key_of(snapshot) == prepared.key
    )
    if not same:
        raise key_changed(entity, snapshot, prepared.snapshot)
    if context.unit is not None:
        yield from buffer_save(context, entity, record, stored, prepared)
        return record
    refusal = yield from put(context, codec, record, stored, prepared)
    if refusal is not None:
        if refusal.status is Status.CHANGED:
            context.state.stats.conflict(entity.name)
        raise refused(refusal)
    return record


def remembered(_: Entity[Any], record: Record) -> Stored | None:
    """Return the row from which a record was loaded, or which it has written; None if there is none."""
    return memory_of(record)


def remembered_for_save(entity: Entity[Any], record: Record) -> Stored:
    """Return the row from which a record was loaded, or which it has written.

    Raises:
        NotLoadedError: there is none.
    """
    stored = memory_of(record)
    if stored is None:
        raise _not_loaded(entity, record)
    return stored


def _not_loaded(entity: Entity[Any], record: Record) -> NotLoadedError:
    return NotLoadedError(
        f"{_named(entity, record)}: save needs a record that was loaded or written; use create or upsert for a new one",
        entity=entity.name,
    )


def upsert(context: Context, entity: Entity[R], record: R) -> Flow[R]:
    """Insert a row, or replace everything but its creation time. The last writer wins.

    Raises:
        ValidationError, CheckViolationError, UniqueViolationError, ReferenceViolationError: as for `create`.
        TransactionConflictError: every attempt lost to other writers.
    """
    if context.router is not None:
        return (yield from _routed(upsert, context, entity, record))
    codec = context.codecs[entity.name]
    stored = memory_of(record)
    prepared = codec.prepare(record, stored)
    if context.unit is not None:
        yield from buffer_upsert(context, entity, record, prepared)
        return record
    turns, name = context.placing.writers, (entity.name, prepared.key)
    queue = turns.begin(name)
    if queue is None:
        written: R = yield from write_together(context, entity, prepared.key, Put(record, prepared))
        return written
    lost = False
    try:
        lost = not (yield from _upsert_alone(context, entity, record, stored, prepared))
    finally:
        if not lost:
            pass_on(context, name, queue)
    if lost:
        queue.lost, queue.outdated = 2, True
        written = yield from write_together(context, entity, prepared.key, Put(record, prepared), queue)
    return record


def _upsert_alone(
    context: Context, entity: Entity[R], record: R, stored: Stored | None, prepared: Prepared
) -> Flow[bool]:
    """Try an upsert on what this process knows of the row, then on what the server says; return False if both were outdated."""
    codec = context.codecs[entity.name]
    loaded, stored = stored, probable(context, entity, stored, prepared.key)
    if stored is not None and stored is not loaded:
        prepared = codec.rebased(prepared, stored)
    if stored is not None and context.homing and moves(codec.snapshot_of(stored), prepared):
        # That row may be gone. If it is there, the insert finds it.
        stored, prepared = None, codec.rebased(prepared, None)
    for attempt in range(min(2, context.policy.attempts)):
        refusal = yield from put(context, codec, record, stored, prepared, with_document=attempt == 0)
        if refusal is None:
            return True
        lost = refusal.status in (Status.EXISTS, Status.CHANGED, Status.MISSING)
        if not lost or refusal.place is not None:
            raise refused(refusal)
        if attempt > 0 or (stored is not None and stored is loaded):
            context.state.stats.conflict(entity.name)
        # Without a document, the row was deleted, so the next attempt is an insert.
        stored = codec.read_memory(refusal.document) if refusal.document is not None else None
        prepared = codec.rebased(prepared, stored)
    return False


def change(
    context: Context,
    entity: Entity[R],
    key: str,
    function: Callable[[R], Any],
    partition_value: Any = None,
    *,
    quiet: bool = False,
) -> Flow[R]:
    """Read a row, let `function` change the record, and write it. Repeat this after a conflict with another writer.

    Args:
        key: the row's id.
        function: changes the record in place, or returns another one; may run several times.
        quiet: do not write when the function left the record unchanged.
        partition_value: of the field that selects the partition, if the caller knows it; a row with another one does not count.

    Raises:
        NotFoundError: there is no such row.
        ValidationError: also when `function` changed the key, or returned something other than a record.
        TransactionConflictError: every attempt lost to other writers.
        Exception: any exception of `function`; nothing was written.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        flow: R = yield from context.router.row(
            change, context, entity, key, function, quiet=quiet, partition_value=partition_value
        )
        return flow
    if partition_value is not None:
        function = _only_with(entity, key, partition_value, function)
    if context.unit is not None:
        return (yield from _change_inside(context, entity, key, function, quiet=quiet))
    turns, name = context.placing.writers, (entity.name, key)
    queue = turns.begin(name)
    if queue is None:
        changed: R = yield from write_together(context, entity, key, Alter(key, function, quiet=quiet))
        return changed
    lost = False
    try:
        written = yield from _change_alone(context, entity, key, function, quiet=quiet)
        lost = written is None
    finally:
        if not lost:
            pass_on(context, name, queue)
    if written is None:
        queue.lost, queue.outdated = 2, True
        written = yield from write_together(context, entity, key, Alter(key, function, quiet=quiet), queue)
    return written


def _only_with(
    entity: Entity[R], key: str, partition_value: Any, function: Callable[[R], Any]
) -> Callable[[R], Any]:
    """Return a function that changes a record by another one, if it has the value that selects the partition."""

    def checked(record: R) -> Any:
        if not selects(entity, record, partition_value):
            raise entity.missing(key)
        return function(record)

    return checked


def _change_alone(
    context: Context, entity: Entity[R], key: str, function: Callable[[R], Any], *, quiet: bool
) -> Flow[R | None]:
    """Try a change on what this process knows of the row, then on the row as it is; return None if both were outdated."""
    found: R | None = None
    guess = context.state.recent.whole(entity.name, key)
    if guess is not None:
        done, found = yield from _change_remembered(context, entity, *guess, function, quiet=quiet)
        if done is not None:
            return done
    record = found if found is not None else (yield from get(context, entity, key))
    record = yield from call(entity, function, record)
    stored = memory_of(record)
    if quiet and stored is not None and same_value(record, context.codec(entity).snapshot_of(stored)):
        return record
    try:
        saved: R = yield from save(context, entity, record)
    except OutcomeUnknownError:
        raise
    except ConflictError:
        return None
    return saved


def _change_inside(
    context: Context, entity: Entity[R], key: str, function: Callable[[R], Any], *, quiet: bool
) -> Flow[R]:
    """Change a row inside a transaction."""
    for attempt in range(context.policy.attempts):
        record = yield from call(entity, function, (yield from get(context, entity, key)))
        stored = memory_of(record)
        if quiet and stored is not None and same_value(record, context.codec(entity).snapshot_of(stored)):
            return record
        try:
            return (yield from save(context, entity, record))
        except OutcomeUnknownError:
            raise
        except ConflictError:
            try:
                yield Sleep(context.backoff(attempt))
            except ConnectionFailure:
                raise exhausted(context, entity, key, attempt + 1) from None
    raise exhausted(context, entity, key)


def _change_remembered(
    context: Context,
    entity: Entity[R],
    guess: Stored,
    body: bytes,
    function: Callable[[R], Any],
    *,
    quiet: bool,
) -> Flow[tuple[R | None, R | None]]:
    """Try a change on the row as this process last wrote it.

    Args:
        guess: what the row was then.
        body: its document behind the head; empty if it is not known.

    Returns:
        The record when it was written, or else the current row from the refusal. Both are None when the row has to be
        read. Only a write proves that the cached row is current. Therefore an error of `function`, or a record that it
        left unchanged, does not count.
    """
    codec = context.codecs[entity.name]
    try:
        record = yield from call(entity, function, codec.fresh_record(guess, body))
        prepared = codec.prepare(record, guess)
    except Exception:  # noqa: BLE001 - the cached row may be outdated; the caller retries with the row itself
        return None, None
    snapshot = codec.snapshot_of(guess)
    if entity.key_of(snapshot) != prepared.key or (quiet and same_value(record, snapshot)):
        return None, None
    if context.homing and moves(snapshot, prepared):
        return None, None
    refusal = yield from put(context, codec, record, guess, prepared, with_document=True)
    if refusal is None:
        return record, None
    if refusal.status not in (Status.CHANGED, Status.MISSING):
        raise refused(refusal)
    return None, codec.load(refusal.document) if refusal.document is not None else None


def _named(entity: Entity[Any], record: Any) -> str:
    """Return how a message names the row of a record that was not checked."""
    try:
        return entity.row(entity.stored_key(entity.key_in(record)))
    except ValidationError:
        return entity.name
