"""Committing: changes become one plan, which the server applies once. `write.settle` handles a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import repeat
from typing import Any, Final, TypeAlias

from keyweave.changes.answer import Applied, Refusal, Status
from keyweave.changes.change import Change
from keyweave.changes.plan import Plan
from keyweave.commit.insert import insertion, new_rows
from keyweave.document.codec import Prepared, op_of
from keyweave.effects import Flow
from keyweave.errors import ConflictError, KeyweaveError, OutcomeUnknownError, ReferenceViolationError
from keyweave.exchange.apply import Begun, Sending, Trailer, apply, apply_each
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, Entry, ViewEntry
from keyweave.model.moment import from_micros_all
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.store.recent import LARGEST

Watched: TypeAlias = tuple[Entity[Any], str, Stored | None]
"""A row that must not have changed: entity, key, and what the store held (None when the row must be absent)."""

_NO_ROWS: Final[frozenset[tuple[str, str]]] = frozenset()
_NOTHING_RELEASED: Final[Mapping[tuple[str, str, str], str]] = {}


def commit(
    context: Context,
    changes: list[Change],
    watched: list[Watched] | None = None,
    *,
    sweeping: bool = False,
    with_document: bool = False,
    trailer: Trailer | None = None,
    begun: Begun | None = None,
    plan: Plan | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Flow[Refusal | None]:
    """Apply changes of one partition in one atomic step.

    Args:
        changes: at most one per row.
        watched: rows that must not have changed.
        sweeping: whether the changes remove dead rows: then it makes no difference whether a lost try was applied.
        with_document: whether an EXISTS or CHANGED refusal for the first row includes its document.
        trailer: commands that follow the plan in its pipeline.
        begun: what the first try named, if it was sent before.
        plan: the `plan_of` the changes, where the caller has it already.
        meanwhile: as in `Send`.

    Returns:
        None when everything was written and the records remember it; otherwise the refusal.

    Raises:
        OutcomeUnknownError, StoreUnavailableError, CorruptDocumentError: as for `exchange.apply.apply`.
    """
    if isinstance(trailer, Sending) and trailer.attempt is not None:
        plan = trailer.attempt.plan
    else:
        if plan is None:
            plan = plan_of(context, changes, watched or (), begun)
        if with_document:
            plan.show_on_refusal(changes[0].entity, changes[0].key)
    try:
        outcome = yield from apply(
            context, plan, trailer, repeatable=sweeping, meanwhile=meanwhile, begun=begun
        )
    except OutcomeUnknownError as error:
        _describe(error, changes)
        raise
    if isinstance(outcome, Applied):
        remember_writes(context, changes, outcome, plan.op)
        return None
    return outcome


def commit_each(context: Context, changes: list[Change]) -> Flow[list[Refusal | KeyweaveError | None]]:
    """Apply changes one after another in one pipeline, each in a step of its own.

    Returns:
        For each change: None when it was written, the refusal, or the error that `commit` raises.
    """
    plans = [plan_of(context, [change]) for change in changes]
    outcomes = yield from apply_each(context, plans)
    found: list[Refusal | KeyweaveError | None] = []
    for change, plan, outcome in zip(changes, plans, outcomes, strict=True):
        if isinstance(outcome, Applied):
            remember_writes(context, [change], outcome, plan.op)
            found.append(None)
            continue
        if isinstance(outcome, OutcomeUnknownError):
            _describe(outcome, [change])
        found.append(outcome)
    return found


def _describe(error: OutcomeUnknownError, changes: list[Change]) -> None:
    """Give the error of a plan what is needed to settle it."""
    if error.unsettled is not None:
        error.unsettled.changes = changes
        error.unsettled.result = changes[0].record if len(changes) == 1 else None


def refused(refusal: Refusal) -> KeyweaveError:
    """Return the caller's error for a refusal."""
    guard, entity = refusal.guard, refusal.guard.entity
    if refusal.status in (Status.EXISTS, Status.DEAD, Status.FREED):
        return entity.taken(guard.key)
    if refusal.status is Status.TAKEN:
        return entity.violated(guard.detail, guard.key)
    if refusal.status is Status.NO_TARGET:
        return dangling_reference(entity, guard.detail, guard.key)
    if refusal.status is Status.MISSING:
        return entity.missing(guard.key)
    text = f"{entity.row(guard.key)}: the row changed since it was loaded"
    return ConflictError(text, key=entity.shown(guard.key))


def dangling_reference(entity: Entity[Any], field: str, key: str) -> ReferenceViolationError:
    """Return the error for a reference whose target does not exist."""
    target = next(reference.target for reference in entity.references if reference.field == field)
    return ReferenceViolationError(
        f"{entity.row(key)}: {field}: no such {target}",
        entity=entity.name,
        field=field,
        target=target,
        key=entity.shown(key),
    )


def claims_of(entries: list[Entry]) -> list[ClaimEntry]:
    """Return the claims among `entries`."""
    return [entry for entry in entries if type(entry) is ClaimEntry]


def plan_of(
    context: Context, changes: list[Change], watched: Sequence[Watched] = (), begun: Begun | None = None
) -> Plan:
    """Return the plan that makes changes of one partition, as `commit` does; `begun` if its first try was sent."""
    first = changes[0].entity if changes else watched[0][0]
    puts: AbstractSet[tuple[str, str]] = _NO_ROWS
    released: Mapping[tuple[str, str, str], str] = _NOTHING_RELEASED
    inserted: list[Prepared] | None = None
    if len(changes) > 1:
        inserted = new_rows(changes)
        if inserted is None:
            puts = {(change.entity.name, change.key) for change in changes if change.prepared is not None}
            released = _released(changes)
    if inserted is not None:
        plan: Plan = insertion(context, first, inserted)
        changes = []
    else:
        op = begun.op if begun is not None else context.state.ledger.new_op()
        plan = Plan(context.keyspace.partition(first.group), op)
    for change in changes:
        _guard_row(plan, change)
        if change.prepared is not None:
            if change.entity.uniques:
                _guard_claims(plan, change, released)
            if change.entity.references:
                _guard_references(context, plan, change, change.prepared.snapshot, puts)
        if change.counts:
            _guard_views(plan, change)
    for entity, key, stored in watched:
        if stored is None:
            plan.guard_absent(entity, key)
        else:
            plan.guard_revision(entity, key, stored.revision, op_of(stored))
    for change in changes:
        if change.prepared is not None:
            _put(plan, change, change.prepared)
        elif change.old is not None:
            plan.delete(change.entity, change.key, change.old_entries)
        for entity, _, _, entries in change.dangling:
            plan.change_entries(entity, entries, [])
    return plan


def _put(plan: Plan, change: Change, prepared: Prepared) -> None:
    """Write the row of a change with what differs in its entries."""
    entity, old = change.entity, change.old
    removed: list[Entry] = []
    if change.recreated:
        plan.delete(entity, change.key, change.old_entries)
        old = None
    if old is None:
        added = prepared.entries
    else:
        removed = entity.entries(old.snapshot, prepared.snapshot)
        added = entity.entries(prepared.snapshot, old.snapshot)
    plan.put(entity, change.key, prepared.body, prepared.retain, removed, added)


def _guard_row(plan: Plan, change: Change) -> None:
    entity, key, old = change.entity, change.key, change.old
    if old is None:
        plan.guard_absent(entity, key)
    elif change.guard == "revision":
        plan.guard_revision(entity, key, old.revision, op_of(old))
    elif change.guard == "unchanged":
        plan.guard_unchanged(entity, key, old.revision, op_of(old))
    elif change.guard == "gone":
        plan.guard_gone(entity, key, change.deadline)
    else:
        plan.guard_dead(entity, key, old.revision, op_of(old))


def _released(changes: list[Change]) -> dict[tuple[str, str, str], str]:
    """Return the present owner of each unique value (entity, constraint, value) that the changes release.

    Another row of the same plan may claim such a value.
    """
    return {
        (change.entity.name, claim.unique, claim.value): claim.owner
        for change in changes
        for claim in claims_of(change.old_entries)
        if claim not in change.new_entries
    }


def _guard_views(plan: Plan, change: Change) -> None:
    for entity, view, values, number in change.counts:
        plan.guard_count(entity, view, values, number, change.key)
    for entity, key, revision, entries in change.dangling:
        plan.guard_at(entity, key, revision)
        for entry in entries:
            if type(entry) is ViewEntry:
                plan.guard_member(entity, entry, change.key)


def _guard_claims(plan: Plan, change: Change, released: Mapping[tuple[str, str, str], str]) -> None:
    for claim in claims_of(change.new_entries):
        if claim in change.old_entries:
            continue
        owner = released.get((change.entity.name, claim.unique, claim.value))
        if owner is not None:
            plan.guard_holds(change.entity, claim.unique, claim.value, owner)
        else:
            plan.guard_free(change.entity, claim)


def _guard_references(
    context: Context, plan: Plan, change: Change, after: Any, puts: AbstractSet[tuple[str, str]]
) -> None:
    entity, key = change.entity, change.key
    before = change.old.snapshot if change.old is not None else None
    for reference in entity.references:
        field = reference.field
        if before is not None and getattr(before, field) == getattr(after, field):
            continue
        value = reference.key_in(after)
        itself = value == key and reference.target == entity.name
        if value is not None and not itself and (reference.target, value) not in puts:
            plan.guard_exists(context.package.entities[reference.target], value, entity, key, field)


def remember_writes(context: Context, changes: list[Change], applied: Applied, op: str) -> None:
    """Make the records of an applied plan, and the cache of recent rows, remember what it wrote."""
    heads = applied.heads
    moments: Iterable[datetime | None] = repeat(None)
    if len(heads) > 1:
        moments = from_micros_all([revision for revision, _, _ in heads])
    written = zip(heads, moments, strict=False)
    recent = context.state.recent
    for change in changes:
        entity, key, prepared = change.entity, change.key, change.prepared
        if prepared is None:
            recent.drop(entity.name, key)
            continue
        head, moment = next(written)
        if change.record is None:
            continue
        remember_write(context, prepared, change.record, head, op, moment)
        for number, (record, earlier) in enumerate(change.superseded):
            before = change.old.revision if change.old is not None else head[1]
            revision = max(head[0] - len(change.superseded) + number, before)
            context.codec(entity).remember_superseded(record, earlier, (revision, head[1], head[2]), op)


def remember_write(
    context: Context,
    prepared: Prepared,
    record: Any,
    head: tuple[int, int, int],
    op: str,
    moment: datetime | None = None,
) -> None:
    """Make a record, and the cache of recent rows, remember its write; see `Codec.remember_write`."""
    name, key = prepared.entity.name, prepared.key
    stored = context.codecs[name].remember_write(record, prepared, head, op, moment)
    # A purge of unknown members keeps the revision, so a cached document with such members could restore them.
    if not prepared.unknown and len(prepared.body) <= LARGEST:
        context.state.recent.put(name, key, stored)
    else:
        context.state.recent.drop(name, key)
