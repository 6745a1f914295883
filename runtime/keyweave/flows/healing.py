"""Healing: removing an entry that leads to no document, guarded so that a row in the making is never hurt."""

from __future__ import annotations

from typing import Any

from keyweave.context import Context, new_op
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.entry import REVISION, ClaimEntry, Entry, ViewEntry
from keyweave.flows.asking import apply
from keyweave.plan import Applied, Plan, Status


def heal_claim(
    context: Context, entity: Entity[Any], claim: ClaimEntry, revision: int | None = None
) -> Flow[bool]:
    """Release a claim whose owner has no document, or one that does not imply it: the one of `revision`.

    Tells whether the owner holds it no more, by whatever hand.
    """
    context.stats.meet_dangling(entity.name)
    plan = Plan(context.partition(entity), new_op())
    plan.guard_holds(entity, claim.unique, claim.value, claim.owner)
    plan.guard_at(entity, claim.owner, revision)
    plan.change_entries(entity, [claim], [])
    outcome = yield from apply(context, plan)
    if isinstance(outcome, Applied):
        context.stats.heal(entity.name)
        return True
    return outcome.status is Status.CHANGED


def heal_members(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...], members: list[str]
) -> Flow[None]:
    """Remove members of a view that have no document."""
    for member in members:
        yield from heal_entries(context, entity, member, None, [ViewEntry(view, values, member, REVISION)])


def heal_entries(
    context: Context, entity: Entity[Any], key: str, revision: int | None, entries: list[Entry]
) -> Flow[None]:
    """Remove entries of a row that has no document, or whose document of `revision` does not imply them."""
    context.stats.meet_dangling(entity.name)
    plan = Plan(context.partition(entity), new_op())
    plan.guard_at(entity, key, revision)
    plan.change_entries(entity, entries, [])
    outcome = yield from apply(context, plan)
    if isinstance(outcome, Applied):
        context.stats.heal(entity.name)
