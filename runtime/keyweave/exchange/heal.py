"""Healing: removing entries without a document. A guard ensures that a concurrent insert keeps its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keyweave.changes.answer import Applied, Status
from keyweave.changes.change import Dangling
from keyweave.changes.plan import Plan
from keyweave.effects import Flow
from keyweave.errors import StoreUnavailableError, TransactionTooLargeError
from keyweave.exchange.apply import apply
from keyweave.exchange.bound import divided
from keyweave.model.entity import Entity, View
from keyweave.model.entry import REVISION, ClaimEntry, ViewEntry
from keyweave.store.context import Context

HEALED_AT_ONCE: Final = 100
"""Maximum number of rows in one plan that heals, and of those that one read heals. A sweep, or another read, finds the rest."""


def heal_claim(
    context: Context, entity: Entity[Any], claim: ClaimEntry, revision: int | None = None
) -> Flow[bool]:
    """Release a claim whose owner has no document, or a document of `revision` that does not imply it.

    Returns:
        True if the owner no longer holds the claim, because this flow or another writer released it.
    """
    context.state.stats.meet_dangling(entity.name)
    plan = Plan(context.partition(entity), context.state.ledger.new_op())
    plan.guard_holds(entity, claim.unique, claim.value, claim.owner)
    plan.guard_at(entity, claim.owner, revision)
    plan.change_entries(entity, [claim], [])
    outcome = yield from apply(context, plan, repeatable=True)
    if isinstance(outcome, Applied):
        context.state.stats.heal(entity.name)
        return True
    return outcome.status is Status.CHANGED


def heal_on_the_way(context: Context, rows: Sequence[Dangling]) -> Flow[None]:
    """Heal some of the rows that a read has met. A server or user that may not write, such as a replica, keeps them."""
    try:
        yield from heal_entries(context.without_retries(), rows[:HEALED_AT_ONCE])
    except StoreUnavailableError:
        return


def dangling_members(
    entity: Entity[Any], view: View, values: tuple[str, ...], members: Sequence[bytes]
) -> list[Dangling]:
    """Return members of a view without a document as entries to heal."""
    return [
        (entity, view.key_in(member), None, [ViewEntry(view.name, values, member, REVISION)])
        for member in (each.decode() for each in members)
    ]


def heal_entries(context: Context, rows: Sequence[Dangling]) -> Flow[int]:
    """Remove dangling entries of rows of one partition. Returns of how many rows they were removed.

    A row that another writer has changed keeps its entries.
    """
    healed = 0
    waiting: list[Sequence[Dangling]] = [
        rows[start : start + HEALED_AT_ONCE] for start in range(0, len(rows), HEALED_AT_ONCE)
    ]
    for entity, _, _, _ in rows:
        context.state.stats.meet_dangling(entity.name)
    while waiting:
        part = waiting.pop()
        plan = Plan(context.partition(part[0][0]), context.state.ledger.new_op())
        for entity, key, revision, entries in part:
            plan.guard_at(entity, key, revision)
            plan.change_entries(entity, entries, [])
        try:
            outcome = yield from apply(context, plan, repeatable=True)
        except TransactionTooLargeError as error:
            waiting += divided(part, error) if len(part) > 1 else _with_fewer_entries(part[0], error)
            continue
        if isinstance(outcome, Applied):
            healed += len(part)
            for entity, _, _, _ in part:
                context.state.stats.heal(entity.name)
        elif len(part) > 1:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
    return healed


def _with_fewer_entries(row: Dangling, error: TransactionTooLargeError) -> list[list[Dangling]]:
    """Return a row whose entries do not fit into one plan as several with some of them each.

    Raises:
        TransactionTooLargeError: there is only one entry.
    """
    entity, key, revision, entries = row
    if len(entries) == 1:
        raise error
    return [[(entity, key, revision, part)] for part in divided(entries, error)]
