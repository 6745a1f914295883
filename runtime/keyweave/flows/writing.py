"""Writing one row: create, save, upsert, change, merge. Inside a transaction the write is checked and buffered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from keyweave.context import Context
from keyweave.document import Prepared, read_head
from keyweave.effects import Call, Command, Flow, Sleep
from keyweave.entity import Entity
from keyweave.entry import ViewEntry
from keyweave.errors import (
    ConfigurationError,
    ConflictError,
    NotLoadedError,
    OutcomeUnknownError,
    TransactionConflictError,
    ValidationError,
)
from keyweave.flows.asking import ask
from keyweave.flows.committing import claims_of, commit, dangling_reference, refused
from keyweave.flows.handshaking import require_built
from keyweave.flows.occupying import refuse_members
from keyweave.flows.reading import alive, deadline_passed, find, get
from keyweave.plan import Status
from keyweave.record import Record, Stored, memory_of, remember
from keyweave.unit import Change

R = TypeVar("R", bound=Record)


def create(context: Context, entity: Entity[R], record: R, *, if_none: str | None = None) -> Flow[R]:
    """Insert a row and return the record, which now knows its managed values.

    Args:
        if_none: a view; the row is inserted only if no live row has the same values of the view's fields.

    Raises:
        ViewNotEmptyError: a row with the same values is there.
        ValidationError, CheckViolationError: the record; nothing was sent.
        AlreadyExistsError: a row with this key is there.
        UniqueViolationError: the constraint's own error.
        ReferenceViolationError: a reference leads nowhere.
    """
    prepared = context.codec(entity).prepare(record, _retention(context, entity), None)
    change = Change(
        entity, prepared.key, old=None, old_entries=[], prepared=prepared, record=record, guard="absent"
    )
    values = _values_in(prepared, entity, if_none) if if_none is not None else None
    if context.unbuilt and if_none is not None:
        yield from require_built(context, entity, if_none)
    if context.unit is not None:
        if (yield from _current(context, entity, prepared.key)) is not None:
            raise entity.taken(prepared.key)
        if if_none is not None and values is not None:
            yield from refuse_members(context, entity, if_none, values)
            change.counts.append((entity, if_none, values, context.unit.leaving(entity, if_none, values)))
        yield from _buffer(context, change)
        return record
    if if_none is not None and values is not None:
        change.counts.append((entity, if_none, values, 0))
    for _ in range(context.policy.attempts):
        refusal = yield from commit(context, [change])
        if refusal is None:
            return record
        if refusal.status is not Status.COUNT or if_none is None or values is None:
            raise refused(refusal)
        yield from refuse_members(context, entity, if_none, values)
    raise _exhausted(context, entity)


def _values_in(prepared: Prepared, entity: Entity[Any], view: str) -> tuple[str, ...] | None:
    """The values under which a row will be a member of a view; None when it will be no member.

    Raises:
        ConfigurationError: there is no such view.
    """
    if view not in entity.views:
        raise ConfigurationError(f"{entity.name}: no view {view!r}")
    members = (entry for entry in prepared.entries if isinstance(entry, ViewEntry) and entry.view == view)
    return next((entry.values for entry in members), None)


def save(context: Context, entity: Entity[R], record: R) -> Flow[R]:
    """Write a loaded record back, if the row did not change since it was loaded.

    Raises:
        NotLoadedError: the record was never loaded or written.
        ConflictError: the row changed; load it again.
        NotFoundError: the row is gone.
        ValidationError: also when the record's key is not the one that it was loaded with.
        ValidationError, CheckViolationError, UniqueViolationError, ReferenceViolationError: as for `create`.
    """
    stored = memory_of(record)
    if stored is None:
        raise NotLoadedError(
            f"{entity.name}: save needs a record that was loaded or written; use create or upsert for a new one",
            entity=entity.name,
        )
    codec = context.codec(entity)
    prepared = codec.prepare(record, _retention(context, entity), stored)
    if getattr(codec.snapshot_of(stored), entity.key) != prepared.key:
        raise ValidationError(
            f"{entity.name}.{entity.key}: the key of a stored row cannot change; create another row",
            entity=entity.name,
            field=entity.key,
            rule="key",
        )
    if context.unit is not None:
        yield from _save_buffered(context, entity, record, stored, prepared)
        return record
    change = _replacement(context, entity, record, stored, prepared)
    refusal = yield from commit(context, [change])
    if refusal is not None:
        if refusal.status is Status.CHANGED:
            context.stats.conflicts += 1
        raise refused(refusal)
    return record


def upsert(context: Context, entity: Entity[R], record: R) -> Flow[R]:
    """Insert a row, or replace everything but its creation; the last writer wins.

    Raises:
        ValidationError, CheckViolationError, UniqueViolationError, ReferenceViolationError: as for `create`.
        TransactionConflictError: other writers won every try.
    """
    codec = context.codec(entity)
    stored = memory_of(record)
    prepared = codec.prepare(record, _retention(context, entity), stored)
    if context.unit is not None:
        stored = yield from _current(context, entity, prepared.key)
        loaded = context.unit.loaded.get((entity.name, prepared.key))
        if context.unit.change_of(entity, prepared.key) is None and loaded is not None:
            if stored is None or stored.revision != loaded:
                raise ConflictError(f"{entity.name}: the row changed since this transaction read it")
        prepared = codec.prepare(record, _retention(context, entity), stored)
        yield from _buffer(context, _replacement(context, entity, record, stored, prepared))
        return record
    if stored is not None and getattr(codec.snapshot_of(stored), entity.key) != prepared.key:
        stored = None
    for attempt in range(context.policy.attempts):
        change = _replacement(context, entity, record, stored, prepared)
        refusal = yield from commit(context, [change], show=attempt == 0)
        if refusal is None:
            return record
        if refusal.status not in (Status.EXISTS, Status.CHANGED, Status.MISSING):
            raise refused(refusal)
        if stored is not None or attempt > 0:
            context.stats.conflicts += 1
        if refusal.document is not None:
            stored = codec.recall(refusal.document)
        else:
            # What the refusal would have brought is old after a pause.
            yield Sleep(context.pause(attempt))
            current = yield from find(context, entity, prepared.key)
            stored = memory_of(current) if current is not None else None
        prepared = codec.rebased(prepared, stored)
    raise _exhausted(context, entity)


def change(
    context: Context, entity: Entity[R], key: str, function: Callable[[R], Any], *, quiet: bool = False
) -> Flow[R]:
    """Read a row, let `function` change the record, and write it; again when somebody else wrote in between.

    Args:
        key: the row's id.
        function: changes the record in place, or returns another one; may run several times.
        quiet: do not write when the function left the record as it was.

    Raises:
        NotFoundError: there is no such row.
        ValidationError: also when `function` changed the key, or returned something else.
        TransactionConflictError: other writers won every try.
        Exception: whatever `function` raises; nothing was written.
    """
    for attempt in range(context.policy.attempts):
        record = yield from get(context, entity, key)
        stored = memory_of(record)
        answer = yield Call(function, record)
        if answer is not None and answer is not record:
            if type(answer) is not entity.record:
                raise ValidationError(
                    f"{entity.name}: the function given to change must return None or the record, "
                    f"it returned a {type(answer).__name__}",
                    entity=entity.name,
                    rule="change",
                )
            record = answer
            if stored is not None:
                remember(record, stored)
        if quiet and stored is not None and record == context.codec(entity).snapshot_of(stored):
            return record
        try:
            return (yield from save(context, entity, record))
        except OutcomeUnknownError:
            raise
        except ConflictError:
            yield Sleep(context.pause(attempt))
    raise _exhausted(context, entity)


def _exhausted(context: Context, entity: Entity[Any]) -> TransactionConflictError:
    attempts = context.policy.attempts
    return TransactionConflictError(
        f"{entity.name}: a write lost {attempts} tries to other writers", attempts=attempts
    )


def _retention(context: Context, entity: Entity[Any]) -> int:
    return context.retention.get(entity.name, 0)


def _replacement(
    context: Context, entity: Entity[Any], record: Record, stored: Stored | None, prepared: Prepared
) -> Change:
    entries = context.codec(entity).entries_of(stored) if stored is not None else []
    return Change(
        entity,
        prepared.key,
        old=stored,
        old_entries=entries,
        prepared=prepared,
        record=record,
        guard="revision" if stored is not None else "absent",
    )


def _current(context: Context, entity: Entity[Any], key: str) -> Flow[Stored | None]:
    """What a transaction sees of a row now."""
    assert context.unit is not None
    own = context.unit.change_of(entity, key)
    if own is not None:
        return _provisional_memory(own)
    (document,) = yield from ask(context, (("GET", context.partition(entity).document(entity.name, key)),))
    if document is None:
        return None
    record = context.codec(entity).load(document)
    if not (yield from alive(context, record)):
        return None
    return memory_of(record)


def _provisional_memory(own: Change) -> Stored | None:
    if own.prepared is None:
        return None
    return memory_of(own.record) if own.record is not None else own.old


def _save_buffered(
    context: Context, entity: Entity[Any], record: Record, stored: Stored, prepared: Prepared
) -> Flow[None]:
    unit = context.unit
    assert unit is not None
    place = (entity.name, prepared.key)
    own = unit.change_of(entity, prepared.key)
    if own is not None:
        latest = _provisional_memory(own)
        if latest is None:
            raise entity.missing(prepared.key)
        if latest.revision != stored.revision:
            raise ConflictError(f"{entity.name}: the row changed since it was loaded")
    elif unit.loaded.get(place) != stored.revision:
        current = yield from _current(context, entity, prepared.key)
        if current is None:
            raise entity.missing(prepared.key)
        if current.revision != stored.revision:
            raise ConflictError(f"{entity.name}: the row changed since it was loaded")
    yield from _buffer(context, _replacement(context, entity, record, stored, prepared))


def _buffer(context: Context, change: Change) -> Flow[None]:
    """Check a write against the store and the unit as PostgreSQL would at once, then buffer it."""
    unit = context.unit
    assert unit is not None and change.prepared is not None and change.record is not None
    unit.join(change.entity)
    yield from _check_claims(context, change)
    yield from _check_references(context, change)
    record, prepared = change.record, change.prepared
    unit.touch(record, change.entity.managed)
    unit.buffer(change)
    revision = unit.provisional()
    created = change.old.created if change.old is not None else revision
    expires = change.old.expires if change.old is not None else 0
    remember(record, context.codec(change.entity).memory(prepared, revision, created, expires))
    # Until the commit sets the real values, a reader inside the transaction sees the time of the write.
    now = context.clock.now()
    for seen in (record, prepared.snapshot):
        change.entity.manage(seen, created if created > 0 else now, now)


def _check_claims(context: Context, change: Change) -> Flow[None]:
    unit = context.unit
    assert unit is not None and change.prepared is not None
    entity = change.entity
    wanted = [claim for claim in claims_of(change.prepared.entries) if claim not in change.old_entries]
    for claim in wanted:
        for other, holder in unit.claims(entity):
            if (other.unique, other.value) == (claim.unique, claim.value) and holder.key != change.key:
                raise entity.violated(claim.unique)
    if not wanted:
        return
    partition = context.partition(entity)
    owners = yield from ask(
        context, tuple(("HGET", partition.claims(entity.name, claim.unique), claim.value) for claim in wanted)
    )
    for claim, owner in zip(wanted, owners, strict=True):
        if owner is None or owner.decode() == change.key:
            continue
        if unit.change_of(entity, owner.decode()) is not None:
            continue
        if (yield from find(context, entity, owner.decode())) is not None:
            raise entity.violated(claim.unique)


def _check_references(context: Context, change: Change) -> Flow[None]:
    unit = context.unit
    assert unit is not None and change.prepared is not None
    commands: list[Command] = []
    fields: list[str] = []
    for reference in change.entity.references:
        value = getattr(change.prepared.snapshot, reference.field)
        target = context.package.entities[reference.target]
        if value is None or (target is change.entity and value == change.key):
            continue
        if change.old is not None and getattr(change.old.snapshot, reference.field, None) == value:
            continue
        own = unit.change_of(target, value)
        if own is not None:
            if own.prepared is None:
                raise dangling_reference(change.entity, reference.field)
            continue
        commands.append(("GETRANGE", context.partition(target).document(target.name, value), 0, 127))
        fields.append(reference.field)
    if not commands:
        return
    heads = yield from ask(context, tuple(commands))
    for field, text in zip(fields, heads, strict=True):
        head = read_head(text)
        if head is None or (head.expires and (yield from deadline_passed(context, head.expires))):
            raise dangling_reference(change.entity, field)
