"""Buffering one row's write inside a transaction. Constraints are checked at once, as in PostgreSQL.

One pipeline reads the row, the owners of its unique values and the targets of its references. What the transaction
has read before is not read again, because the guards of the commit detect later changes.

The first attempt of a transaction trusts. It takes for granted that a row which it creates is new, that one which it saves is
as it was loaded, that one which it upserts is as this process knows it, or else new, and that their unique values and references
are in order. The guards of its plan check that. If one of them does not hold, or if the function raises an error and
`keyweave.write.in_order` finds a reason to doubt, the function runs again, and every write is checked at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from keyweave.changes.answer import Refusal, Status
from keyweave.changes.change import Change, replacement
from keyweave.changes.unit import UnitOfWork
from keyweave.commit.compose import claims_of
from keyweave.commit.refused import dangling_reference
from keyweave.commit.same_partition import moves, partition_changed
from keyweave.document.codec import Prepared
from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadline_passed, estimated_time
from keyweave.homes.home import read_home
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import Record, Stored, memory_of, remember
from keyweave.read.get import find
from keyweave.store.context import Context
from keyweave.write.elsewhere import needing_homes, owned_elsewhere, row_elsewhere
from keyweave.write.require_empty import require_empty

_OF_THE_ROW: Final = (Status.EXISTS, Status.CHANGED, Status.MISSING, Status.DEAD)
"""Refusals because a row is not as it was guessed."""


@dataclass(slots=True)
class _Lookup:
    """What the store holds for a write.

    Attributes:
        row: the row's document or its head; None when it does not exist or was not read.
        owners: the owner of each new unique value of the row, or None.
        heads: the first bytes of the document of each new reference's target, by field; empty bytes for none.
        elsewhere: partitions that homes name for the new row's key and for its new unique values, if they are others than this one;
            by the constraint (empty for the key) and the value.
    """

    row: bytes | None = None
    owners: dict[ClaimEntry, bytes | None] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    elsewhere: dict[tuple[str, str], Partition] = field(default_factory=dict)

    def at_key(self, key: str) -> Partition | None:
        """Return the other partition that the home of the key names."""
        return self.elsewhere.get(("", key))


def buffer_create(
    context: Context,
    entity: Entity[Any],
    record: Record,
    prepared: Prepared,
    if_none: tuple[str, tuple[str, ...]] | None,
) -> Flow[None]:
    """Buffer an insert. `if_none` is a view and the values for which it must have no live row.

    Raises:
        AlreadyExistsError: a row with this key exists.
        ViewNotEmptyError: the view has a live row with these values.
        UniqueViolationError, ReferenceViolationError: as for a write outside a transaction.
    """
    unit = _unit_of(context, entity)
    change = replacement(context.codecs[entity.name], record, None, prepared)
    facts: _Lookup | None = None
    if not unit.trusts(entity, prepared.key):
        present, facts = yield from _current_row(context, unit, entity, prepared)
        if present is not None or (
            yield from row_elsewhere(context, unit, entity, prepared.key, facts.at_key(prepared.key))
        ):
            raise entity.taken(prepared.key)
    if if_none is not None:
        yield from require_empty(context, entity, *if_none)
        change.counts = [(entity, *if_none, unit.changed_members(entity, *if_none))]
    yield from _buffer(context, unit, change, facts)


def buffer_save(
    context: Context, entity: Entity[Any], record: Record, stored: Stored, prepared: Prepared
) -> Flow[None]:
    """Buffer a write of a record that remembers the row as `stored`.

    Raises:
        NotFoundError: the row does not exist any more.
        ConflictError: the row changed since the record was loaded.
        UniqueViolationError, ReferenceViolationError: as for a write outside a transaction.
    """
    unit = _unit_of(context, entity)
    own = unit.change_of(entity, prepared.key)
    revision: int | None = stored.revision
    if unit.trusts(entity, prepared.key):
        change = replacement(context.codecs[entity.name], record, stored, prepared)
        yield from _buffer(context, unit, change, None)
        return
    loaded = unit.loaded.get((entity.name, prepared.key))
    if own is not None or (loaded is not None and loaded.revision == stored.revision):
        facts = yield from _look_up(context, unit, entity, prepared, stored, None)
        if own is not None:
            latest = buffered_memory(own)
            revision = latest.revision if latest is not None else None
    else:
        facts = yield from _look_up(
            context, unit, entity, prepared, stored, head_of(context, entity, prepared.key)
        )
        head = read_head(facts.row or b"")
        revision = head.revision if head is not None else None
        if (
            head is not None
            and head.expires
            and (yield from deadline_passed(context, context.partition(entity), head.expires))
        ):
            context.state.stats.meet_expired(entity.name)
            revision = None
    if revision is None:
        raise entity.missing(prepared.key)
    if revision != stored.revision:
        raise unit.conflict_error(entity, prepared.key)
    yield from _buffer(
        context, unit, replacement(context.codecs[entity.name], record, stored, prepared), facts
    )


def buffer_upsert(context: Context, entity: Entity[Any], record: Record, prepared: Prepared) -> Flow[None]:
    """Buffer an insert, or the replacement of the row that this transaction sees.

    Raises:
        ValidationError: the row is in another partition, so it has another value of the field that decides it.
        UniqueViolationError, ReferenceViolationError: as for a write outside a transaction.
    """
    unit = _unit_of(context, entity)
    if unit.trusts(entity, prepared.key) and _may_guess(context, unit, entity):
        stored = probable(context, entity, memory_of(record), prepared.key)
        prepared = context.codec(entity).rebased(prepared, stored)
        if stored is None or not (context.homing and moves(stored.snapshot, prepared)):
            unit.guessed.add((entity.name, prepared.key))
            change = replacement(context.codecs[entity.name], record, stored, prepared)
            yield from _buffer(context, unit, change, None)
            return
    stored, facts = yield from _current_row(context, unit, entity, prepared)
    if facts.elsewhere and stored is None:
        found = yield from row_elsewhere(context, unit, entity, prepared.key, facts.at_key(prepared.key))
        if found is not None:
            name = entity.partition_by
            raise partition_changed(
                entity, prepared.key, getattr(found, name), getattr(prepared.snapshot, name)
            )
    prepared = context.codec(entity).rebased(prepared, stored)
    yield from _buffer(
        context, unit, replacement(context.codecs[entity.name], record, stored, prepared), facts
    )


def _may_guess(context: Context, unit: UnitOfWork, entity: Entity[Any]) -> bool:
    """Return whether an attempt may guess at the rows of an entity: at all of them or at none, because one wrong guess is as bad as many."""
    may = unit.guessing.get(entity.name)
    if may is None:
        may = unit.guessing[entity.name] = context.state.recent.guesses.take(entity.name)
    return may


def probable(context: Context, entity: Entity[Any], stored: Stored | None, key: str) -> Stored | None:
    """Return what the store probably holds of a row: the newer of what its record remembers and what was written last; None for neither."""
    if stored is not None and entity.key_of(context.codecs[entity.name].snapshot_of(stored)) != key:
        stored = None
    cached = context.state.recent.get(entity.name, key)
    return cached if cached is not None and (stored is None or cached.revision > stored.revision) else stored


def learn_guesses(context: Context, unit: UnitOfWork, refusal: Refusal | None) -> None:
    """Note whether the upserts of an attempt were right about their rows, from what became of its plan."""
    if refusal is None or refusal.status in _OF_THE_ROW:
        for name in {entity for entity, _ in unit.guessed}:
            if refusal is None or refusal.guard.entity.name == name:
                context.state.recent.guesses.note(name, right=refusal is None)


def doubt_guesses(context: Context, unit: UnitOfWork) -> None:
    """Note that the upserts of an attempt may have been wrong about their rows."""
    for name in {entity for entity, _ in unit.guessed}:
        context.state.recent.guesses.note(name, right=False)


def buffered_memory(own: Change) -> Stored | None:
    """Return the memory that later writes in the transaction see for a changed row; None for a deletion."""
    if own.prepared is None:
        return None
    return memory_of(own.record) if own.record is not None else own.old


def _unit_of(context: Context, entity: Entity[Any]) -> UnitOfWork:
    unit = context.unit
    assert unit is not None
    unit.enlist(entity, context.partition(entity))
    return unit


def _current_row(
    context: Context, unit: UnitOfWork, entity: Entity[Any], prepared: Prepared
) -> Flow[tuple[Stored | None, _Lookup]]:
    """Return the row as the transaction sees it, and what else the store holds for the write."""
    row = (entity.name, prepared.key)
    own = unit.change_of(entity, prepared.key)
    if own is not None or row in unit.loaded or row in unit.watched:
        visible = buffered_memory(own) if own is not None else unit.loaded.get(row)
        return visible, (yield from _look_up(context, unit, entity, prepared, visible, None))
    name = context.partition(entity).document(entity.name, prepared.key)
    facts = yield from _look_up(context, unit, entity, prepared, None, ("GET", name))
    if facts.row is None:
        return None, facts
    stored = context.codec(entity).read_memory(facts.row)
    if stored.expires and (yield from deadline_passed(context, context.partition(entity), stored.expires)):
        context.state.stats.meet_expired(entity.name)
        return None, facts
    return stored, facts


def _look_up(
    context: Context,
    unit: UnitOfWork,
    entity: Entity[Any],
    prepared: Prepared,
    old: Stored | None,
    row: Command | None,
) -> Flow[_Lookup]:
    """Read what the checks of a write need: the reply to `row`, and the claims and references that `old` lacks."""
    partition = context.partition(entity)
    claims, fields = facts_needed(context, unit, entity, prepared, old)
    commands: list[Command] = [] if row is None else [row]
    commands += [("HGET", partition.claims(entity.name, claim.unique), claim.value) for claim in claims]
    commands += [head_of(context, target, value) for target, value in fields.values()]
    homed = needing_homes(entity, prepared, claims, row is not None and old is None) if context.homing else []
    commands += [("HGET", each.at(context).homes(entity.name, each.unique), each.value) for each in homed]
    if not commands:
        return _Lookup()
    replies = iter((yield from ask(context, tuple(commands))))
    facts = _Lookup(
        row=next(replies) if row is not None else None,
        owners=dict(zip(claims, islice(replies, len(claims)), strict=True)),
        heads=dict(zip(fields, islice(replies, len(fields)), strict=True)),
    )
    for each, stored in zip(homed, replies, strict=True):
        if stored is not None:
            there = context.keyspace.holder(entity.group, read_home(stored).place)
            if there.index != partition.index:
                facts.elsewhere[each.unique, each.value] = there
    return facts


def facts_needed(
    context: Context, unit: UnitOfWork, entity: Entity[Any], prepared: Prepared, old: Stored | None
) -> tuple[list[ClaimEntry], dict[str, tuple[Entity[Any], str]]]:
    """Return the claims that `old` lacks, and by field the targets of the references that it lacks and the unit does not change."""
    before = context.codec(entity).entries_of(old) if old is not None and entity.uniques else []
    claims = [claim for claim in claims_of(prepared.entries) if claim not in before]
    fields = {
        reference.field: (target, value)
        for reference, target, value in _new_references(context, entity, prepared, old)
        if unit.change_of(target, value) is None
    }
    return claims, fields


def _new_references(
    context: Context, entity: Entity[Any], prepared: Prepared, old: Stored | None
) -> list[tuple[Any, Entity[Any], str]]:
    """Return the references to other rows that `old` does not have: reference, target entity, target key."""
    found = []
    before = context.codec(entity).snapshot_of(old) if old is not None else None
    for reference in entity.references:
        value = reference.key_in(prepared.snapshot)
        target = context.package.entities[reference.target]
        if value is None or (target is entity and value == prepared.key):
            continue
        if (None if before is None else reference.key_in(before)) != value:
            found.append((reference, target, value))
    return found


def head_of(context: Context, entity: Entity[Any], key: str) -> Command:
    """Return the command that reads the first bytes of a row's document."""
    return ("GETRANGE", context.partition(entity).document(entity.name, key), 0, HEAD_LENGTH - 1)


def _buffer(context: Context, unit: UnitOfWork, change: Change, facts: _Lookup | None) -> Flow[None]:
    """Check a write against the store, as far as `facts` are given, and against the unit's changes, then buffer it."""
    record, prepared = change.record, change.prepared
    assert prepared is not None and record is not None
    if facts is None:
        claims, references = facts_needed(context, unit, change.entity, prepared, change.old)
        unit.needed.update([(target.name, value) for target, value in references.values()])
        unit.claimed.update([(change.entity.name, claim.unique, claim.value) for claim in claims])
        unit.unchecked[change.entity.name, change.key] = change
    yield from _check_claims(context, unit, change, facts)
    yield from _check_references(context, unit, change, facts)
    unit.save_memory(record, change.entity.managed)
    unit.buffer(change)
    revision = unit.provisional_revision()
    created = change.old.created if change.old is not None else revision
    expires = change.old.expires if change.old is not None else 0
    remember(record, context.codec(change.entity).memory(prepared, revision, created, expires))
    # Until the commit sets the real values, reads inside the transaction see the time of the buffered write.
    now = (
        (yield from estimated_time(context, context.partition(change.entity))) if change.entity.managed else 0
    )
    for target in (record, prepared.snapshot):
        change.entity.manage(target, created if created > 0 else now, now)


def _check_claims(context: Context, unit: UnitOfWork, change: Change, facts: _Lookup | None) -> Flow[None]:
    entity = change.entity
    wanted = [claim for claim in claims_of(change.new_entries) if claim not in change.old_entries]
    for claim in wanted:
        buffered = unit.owner(entity, claim.unique, claim.value)
        if buffered is not None and buffered.key != change.key:
            raise entity.violated(claim.unique, change.key)
    for claim in wanted if facts is not None else ():
        assert facts is not None
        there = facts.elsewhere.get((claim.unique, claim.value))
        if there is not None and (yield from owned_elsewhere(context, unit, entity, claim, there)):
            raise entity.violated(claim.unique, change.key)
        owner = facts.owners[claim]
        if owner is None or owner.decode() == change.key:
            continue
        if unit.change_of(entity, owner.decode()) is not None:
            continue
        if (yield from find(context, entity, owner.decode())) is not None:
            raise entity.violated(claim.unique, change.key)


def _check_references(
    context: Context, unit: UnitOfWork, change: Change, facts: _Lookup | None
) -> Flow[None]:
    assert change.prepared is not None
    for reference, target, value in _new_references(context, change.entity, change.prepared, change.old):
        own = unit.change_of(target, value)
        if own is not None:
            if own.prepared is None:
                raise dangling_reference(change.entity, reference.field, change.key)
            continue
        if facts is None:
            continue
        head = read_head(facts.heads[reference.field])
        if head is None or (
            head.expires
            and (yield from deadline_passed(context, context.partition(change.entity), head.expires))
        ):
            raise dangling_reference(change.entity, reference.field, change.key)
