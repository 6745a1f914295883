"""Inserting rows of one entity by one plan, as many as there are."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.changes.insertion import Insertion
from keyweave.changes.plan import Plan
from keyweave.document.codec import Prepared
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.store.context import Context


def new_rows(changes: list[Change]) -> list[Prepared] | None:
    """Return what changes insert; None unless all of them insert rows of one entity without a deadline, and do nothing else."""
    entity = changes[0].entity
    rows: list[Prepared] = []
    for change in changes:
        row = change.prepared
        if row is None or row.retain or change.old is not None or change.entity is not entity:
            return None
        if change.recreated or change.counts or change.dangling:
            return None
        rows.append(row)
    return rows


def insertion(context: Context, entity: Entity[Any], rows: list[Prepared]) -> Insertion:
    """Return the plan that inserts rows with different keys."""
    partition = context.partition(entity)
    plan = Insertion(partition, context.state.ledger.new_op(), entity, [row.key for row in rows])
    if entity.uniques:
        for row in rows:
            for entry in row.entries:
                if type(entry) is ClaimEntry:
                    plan.guard_free(entity, entry)
    _guard_targets(context, plan, entity, rows)
    prefixes = context.view_prefixes(entity)
    plan.insert(prefixes, [row.body for row in rows], [row.snapshot for row in rows])
    return plan


def _guard_targets(context: Context, plan: Plan, entity: Entity[Any], rows: list[Prepared]) -> None:
    """Require that the rows exist that new rows refer to, each once."""
    for reference in entity.references:
        target, field = context.package.entities[reference.target], reference.field
        found = {row.key for row in rows} if target is entity else set()
        seen: set[Any] = {None}
        for row in rows:
            value = getattr(row.snapshot, field)
            if value in seen:
                continue
            seen.add(value)
            key = reference.key_in(row.snapshot)
            if key is not None and key not in found:
                plan.guard_exists(target, key, entity, row.key, field)
