"""Settling a write: remove the expired, freed or dangling row behind a refusal, and retry the commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keyweave.changes.answer import Refusal, Status
from keyweave.changes.change import Change
from keyweave.commit.commit import commit
from keyweave.commit.compose import Watched, claims_of
from keyweave.effects import Flow
from keyweave.exchange.apply import Begun, Trailer
from keyweave.exchange.ask import ask
from keyweave.exchange.heal import heal_claim
from keyweave.expiry.forget import forget_rows
from keyweave.expiry.sweep import sweep_row
from keyweave.expiry.tend import sweep_after_write
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import memory_of
from keyweave.read.get import exists, find
from keyweave.store.context import Context
from keyweave.write.unblock import unblock

_MAX_CLEANUPS: Final = 16
"""Maximum number of refusals in a row after which nothing was found to remove."""

_OBSTACLES: Final = frozenset({Status.FREED, Status.DEAD, Status.TAKEN})
"""Refusals that may be due to an expired, freed or dangling row."""


def settle(
    context: Context,
    changes: list[Change],
    watched: list[Watched] | None = None,
    *,
    with_document: bool = False,
    trailer: Trailer | None = None,
    begun: Begun | None = None,
) -> Flow[Refusal | None]:
    """Commit changes like `commit`, but retry when a refusal is due to an expired, freed or dangling row.

    After a successful write, also sweep if it is this write's turn. For `begun` see `commit`.

    Returns:
        None when everything was written and the records remember it; otherwise the refusal.
    """
    fruitless = 0
    while True:
        refusal = yield from commit(
            context, changes, watched, with_document=with_document, trailer=trailer, begun=begun
        )
        begun = None
        if refusal is None:
            yield from sweep_after_write(context, changes[0].entity)
            return None
        met = refusal.status in _OBSTACLES or refusal.place is not None
        if not met or fruitless >= _MAX_CLEANUPS:
            return refusal
        fruitless += 1
        if len(changes) > 1 and refusal.place is None:
            removed = yield from unblock(context, changes, watched or [])
            if removed is None:
                return refusal
            if removed:
                fruitless = 0
        elif not (yield from clean_up(context, claims_of(changes[0].new_entries), refusal)):
            return refusal


def clean_up(context: Context, wanted: Iterable[ClaimEntry], refusal: Refusal) -> Flow[bool]:
    """Remove the expired, freed or dangling row behind a refusal.

    Args:
        wanted: claims of the entity that the refusal is about, including those of the refused row.

    Returns:
        True if a retry may succeed.
    """
    guard = refusal.guard
    if refusal.place is not None:
        return (yield from _clean_up_elsewhere(context, refusal, refusal.place))
    if refusal.status is Status.FREED:
        yield from forget_rows(context, context.partition(guard.entity), [(guard.entity.name, guard.key)])
        return True
    if refusal.status is Status.DEAD:
        yield from sweep_row(context, guard.entity, guard.key)
        return True  # this sweep or another one has removed the row
    if refusal.status is Status.TAKEN:
        swept = yield from sweep_row(context, guard.entity, refusal.owner)
        if swept is not None:
            return True
        value = next(each.value for each in wanted if (each.unique, each.owner) == (guard.detail, guard.key))
        claim = ClaimEntry(guard.detail, value, refusal.owner)
        owner = yield from find(context, guard.entity, refusal.owner)
        if owner is not None and claim in guard.entity.entries(owner):
            return False
        # The server freed the owner, and another row was created under its key. That row does not own the value.
        stored = memory_of(owner) if owner is not None else None
        revision = stored.revision if stored is not None else None
        return (yield from heal_claim(context, guard.entity, claim, revision))
    return False


def _clean_up_elsewhere(context: Context, refusal: Refusal, place: int) -> Flow[bool]:
    """Remove the expired or dangling row behind a home that names another place; see `clean_up`."""
    guard, entity = refusal.guard, refusal.guard.entity
    partition = context.keyspace.holder(entity.group, place)
    there = context.at(partition)
    if not guard.detail:
        if (yield from sweep_row(there, entity, guard.key)) is not None:
            return True
        return not (yield from exists(there, entity, guard.key))
    (owner,) = yield from ask(there, (("HGET", partition.claims(entity.name, guard.detail), refusal.value),))
    if owner is None:
        return True
    taken = Refusal(Status.TAKEN, guard, owner=owner.decode())
    return (yield from clean_up(there, [ClaimEntry(guard.detail, refusal.value, guard.key)], taken))
