"""Committing where keys and unique values have homes: these are there before the rows, and leave after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keyweave.changes.answer import Applied, Guard, Outcome, Refusal, Status, elsewhere
from keyweave.changes.change import Change
from keyweave.commit.compose import Watched, plan_of, row_guard_of
from keyweave.commit.remember import describe, remember_writes
from keyweave.commit.same_partition import require_same_partition
from keyweave.effects import ConnectionFailure, Flow, Receipt, Send, Sleep
from keyweave.errors import OutcomeUnknownError, TransactionConflictError
from keyweave.exchange.apply import GivenUp, Sending, Trailer, apply, begin
from keyweave.exchange.together import together
from keyweave.homes.claim import claim, keep, keep_beside, leave, receipt_of
from keyweave.homes.home import Home, Homed, arriving, is_located, leaving, not_after, place_in, staying
from keyweave.homes.misplaced import remove_misplaced
from keyweave.store.context import Context


def concerns_homes(context: Context, changes: list[Change]) -> bool:
    """Return whether a key or unique value may need a home, or give one up. Nearly no save does, nor an insert of a located key.

    Raises:
        ValidationError: a row would have another value of the field that decides its partition.
    """
    if context.doubling is not None:
        return True
    for change in changes:
        entity = change.entity
        if entity.uniques:
            return True
        if change.prepared is not None and change.old is not None:
            require_same_partition(change)
        elif not is_located(entity):
            return True
    return False


def commit_homed(
    context: Context,
    changes: list[Change],
    watched: Sequence[Watched],
    sweeping: bool,
    with_document: bool,
    trailer: Trailer | None,
) -> Flow[Refusal | None]:
    """Do what `commit` does where keys and unique values have homes: they are there before the rows, and leave after them."""
    things = homes_before(changes)
    refused_at = [0] * len(things)
    partition = context.partition(changes[0].entity if changes else watched[0][0])
    for change in changes:
        require_same_partition(change)
    if context.doubling is not None:
        yield from remove_misplaced(context, partition, [thing for thing, _, _ in things])
    for attempt in range(context.policy.attempts):
        # The plan rests on homes that are read after this moment, so their fences outlive it.
        until = not_after(context, partition)
        receipt = receipt_of(context) if not sweeping else None
        homes = yield from together(
            context,
            [
                claim(context, thing, place, epoch, receipt)
                for (thing, _, place), epoch in zip(things, refused_at, strict=True)
            ],
        )
        refusal = yield from _elsewhere(context, changes, things, homes, with_document)
        if refusal is not None:
            return refusal
        if context.doubling is not None:  # nothing may be written when what it believes is outdated
            yield from together(context, kept(context, changes, receipt, keep))
        begun = begin(context, partition)
        plan = plan_of(context, changes, watched, begun)
        if things:
            begun.until = until
        if receipt is not None:
            begun.unconfirmed = receipt.unconfirmed
            receipt = Receipt()
        for (thing, key, _), home in zip(things, homes, strict=True):
            plan.guard_unfenced(thing.entity, thing.unique, thing.value, home.epoch, key)
        if with_document:
            plan.show_on_refusal(changes[0].entity, changes[0].key)
        try:
            outcome = yield from _beside(
                context,
                noted(apply(context, plan, trailer, repeatable=sweeping, begun=begun), trailer, receipt),
                kept(context, changes, receipt, keep_beside) if context.doubling is None else [],
            )
        except OutcomeUnknownError as error:
            describe(error, changes)
            raise
        if isinstance(outcome, Applied):
            yield from report(receipt, trailer)
            remember_writes(context, changes, outcome, plan.op)
            yield from leave(context, [thing for change in changes for thing in leaving(change)])
            return None
        if outcome.status is Status.FENCED:
            refused_at = _refused_epochs(outcome, things, homes, refused_at)
        elif outcome.status is not Status.LATE:
            return outcome
        forget_attempt(trailer)
        if attempt > 0:
            try:
                yield Sleep(context.backoff(attempt))
            except ConnectionFailure:
                break  # the deadline leaves no time for another attempt
    raise TransactionConflictError(
        f"{changes[0].entity.name}: the homes of a write changed in all {attempt + 1} attempts",
        attempts=attempt + 1,
    )


def _refused_epochs(
    refusal: Refusal, things: list[tuple[Homed, str, int]], homes: list[Home], before: list[int]
) -> list[int]:
    """Return the highest epoch that is known to be refused for each of `things`, after a refusal that is about one of them."""
    fenced = (refusal.guard.detail, refusal.guard.key)
    return [
        home.epoch if (thing.unique, key) == fenced else epoch
        for (thing, key, _), home, epoch in zip(things, homes, before, strict=True)
    ]


def homes_before(changes: list[Change]) -> list[tuple[Homed, str, int]]:
    """Return what needs a home before changes are made, with the key and the place of its row."""
    return [
        (thing, change.key, place_in(change.entity, change.prepared.snapshot))
        for change in changes
        if change.prepared is not None
        for thing in arriving(change)
    ]


def kept(
    context: Context,
    changes: Sequence[Change],
    receipt: Receipt | None,
    flow: Callable[[Context, Homed, int, Receipt], Flow[None]],
) -> list[Flow[None]]:
    """Return what a durable store runs to have the homes confirmed that rows need and do not claim."""
    if receipt is None:
        return []
    return [
        flow(context, thing, place_in(change.entity, change.prepared.snapshot), receipt)
        for change in changes
        if change.prepared is not None
        for thing in staying(change)
    ]


def _beside(context: Context, applied: Flow[Outcome], others: list[Flow[None]]) -> Flow[Outcome]:
    """Return the outcome of a plan that is applied at the same time as other flows run."""
    if not others:
        return (yield from applied)
    flows: list[Flow[Any]] = [applied, *others]
    outcome: Outcome = (yield from together(context, flows))[0]
    return outcome


def noted(applied: Flow[Outcome], trailer: Trailer | None, receipt: Receipt | None) -> Flow[Outcome]:
    """Return the outcome of a plan. The callers that share it know it at once: the ledger has room for another plan now."""
    outcome = yield from applied
    if isinstance(trailer, Sending):
        trailer.fate.unconfirmed = "its homes are not confirmed yet" if receipt is not None else None
        trailer.fate.applied = isinstance(outcome, Applied)
    return outcome


def report(receipt: Receipt | None, trailer: Trailer | None) -> Flow[None]:
    """Let the operation know what of the homes of an applied plan was not confirmed, or all callers that share the plan."""
    missing = receipt.unconfirmed if receipt is not None else None
    if isinstance(trailer, Sending):
        trailer.receipt.unconfirmed = trailer.receipt.unconfirmed or missing
        trailer.fate.applied, trailer.fate.unconfirmed = True, trailer.receipt.unconfirmed
    elif missing is not None:
        yield Send((), unconfirmed=missing)


def forget_attempt(trailer: Trailer | None) -> None:
    """Let the next plan be sent with a ticket of its own: the one before it was answered, and rests on homes that are outdated.

    Raises:
        GivenUp: a caller has left, and knows of the plan before it only.
    """
    if isinstance(trailer, Sending):
        trailer.attempt = None
        # Read after the attempt was taken away: a caller of another thread that leaves does it the other way round.
        if trailer.given_up:
            raise GivenUp
        trailer.fate.applied = trailer.fate.unconfirmed = None


def _elsewhere(
    context: Context,
    changes: list[Change],
    things: list[tuple[Homed, str, int]],
    homes: list[Home],
    with_document: bool,
) -> Flow[Refusal | None]:
    """Return the refusal of changes whose key or unique value another partition has, or None.

    What is wrong with the row itself is reported before a unique value.
    """
    for (thing, key, place), home in zip(things, homes, strict=True):
        if home.place == place:
            continue
        if thing.unique and len(changes) == 1:
            plan = row_guard_of(context, changes[0])
            if with_document:
                plan.show_on_refusal(changes[0].entity, changes[0].key)
            outcome = yield from apply(context, plan, repeatable=True)
            if isinstance(outcome, Refusal):
                return outcome
        guard = Guard("home", thing.entity, key, thing.unique)
        return elsewhere(guard, home.place, thing.value)
    return None
