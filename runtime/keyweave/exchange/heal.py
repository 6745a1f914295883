"""Healing: removing an entry without a document. A guard ensures that a concurrent insert keeps its entries."""

from __future__ import annotations

from typing import Any

from keyweave.changes.plan import Applied, Plan, Status, new_op
from keyweave.effects import Flow
from keyweave.exchange.ask import apply
from keyweave.model.entity import Entity
from keyweave.model.entry import REVISION, ClaimEntry, Entry, ViewEntry
from keyweave.store.context import Context


def heal_claim(
    context: Context, entity: Entity[Any], claim: ClaimEntry, revision: int | None = None
) -> Flow[bool]:
    """Release a claim whose owner has no document, or a document of `revision` that does not imply it.

    Returns:
        True if the owner no longer holds the claim, because this flow or another writer released it.
    """
    context.state.stats.meet_dangling(entity.name)
    plan = Plan(context.partition(entity), new_op())
    plan.guard_holds(entity, claim.unique, claim.value, claim.owner)
    plan.guard_at(entity, claim.owner, revision)
    plan.change_entries(entity, [claim], [])
    outcome = yield from apply(context, plan, repeatable=True)
    if isinstance(outcome, Applied):
        context.state.stats.heal(entity.name)
        return True
    return outcome.status is Status.CHANGED


def heal_members(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...], members: list[str]
) -> Flow[None]:
    """Remove members without a document from a view."""
    for member in members:
        yield from heal_entries(context, entity, member, None, [ViewEntry(view, values, member, REVISION)])


def heal_entries(
    context: Context, entity: Entity[Any], key: str, revision: int | None, entries: list[Entry]
) -> Flow[None]:
    """Remove entries of a row that has no document, or a document of `revision` that does not imply them."""
    context.state.stats.meet_dangling(entity.name)
    plan = Plan(context.partition(entity), new_op())
    plan.guard_at(entity, key, revision)
    plan.change_entries(entity, entries, [])
    outcome = yield from apply(context, plan, repeatable=True)
    if isinstance(outcome, Applied):
        context.state.stats.heal(entity.name)
