"""Composing: changes of one partition become one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

from keyweave.changes.change import Change
from keyweave.changes.plan import Plan
from keyweave.changes.required import Required
from keyweave.commit.insert import insertion, new_rows
from keyweave.document.codec import Prepared, op_of
from keyweave.exchange.apply import Begun
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, Entry, ViewEntry
from keyweave.model.record import Stored
from keyweave.store.context import Context

Watched: TypeAlias = tuple[Entity[Any], str, Stored | Required | None]
"""A row that must not have changed: entity, key, and what the store held (None when the row must be absent); or what is required of it."""

_NO_ROWS: Final[frozenset[tuple[str, str]]] = frozenset()
_NOTHING_RELEASED: Final[Mapping[tuple[str, str, str], str]] = {}


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
        plan = Plan(context.partition(first), op)
    for change in changes:
        _guard_row(plan, change)
        if change.prepared is not None:
            if change.entity.uniques:
                _guard_claims(plan, change, released)
            if change.entity.references:
                _guard_references(context, plan, change, change.prepared.snapshot, puts)
        if change.counts:
            _guard_views(plan, change)
    if watched:
        _guard_watched(plan, watched)
    for change in changes:
        if change.prepared is not None:
            _put(plan, change, change.prepared)
        elif change.old is not None:
            plan.delete(change.entity, change.key, change.old_entries)
        for entity, _, _, entries in change.dangling:
            plan.change_entries(entity, entries, [])
    return plan


def row_guard_of(context: Context, change: Change) -> Plan:
    """Return a plan that writes nothing, and requires of the row of a change what the change does."""
    plan = Plan(context.partition(change.entity), context.state.ledger.new_op())
    _guard_row(plan, change)
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
    elif change.guard == "same":
        plan.guard_same(entity, key, change.document)
    elif change.guard == "gone":
        plan.guard_gone(entity, key, change.deadline)
    else:
        plan.guard_dead(entity, key, old.revision, op_of(old))


def _guard_watched(plan: Plan, watched: Sequence[Watched]) -> None:
    for entity, key, stored in watched:
        if stored is None:
            plan.guard_absent(entity, key)
        elif isinstance(stored, Required):
            plan.guard_exists(entity, key, entity, key, "")
            if stored.entry is not None:
                plan.guard_member(entity, stored.entry, key)
        else:
            plan.guard_revision(entity, key, stored.revision, op_of(stored))


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
