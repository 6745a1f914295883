"""Committing: changes become one plan, which the server applies once. `write.settle` handles a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, Final

from keyweave.changes.answer import Applied, Guard, Outcome, Refusal, Status, elsewhere
from keyweave.changes.change import Change
from keyweave.changes.plan import Plan
from keyweave.commit.compose import Watched, plan_of, row_guard_of
from keyweave.commit.guess import forget_relation, remember_relation
from keyweave.document.codec import Prepared
from keyweave.effects import ConnectionFailure, Flow, Receipt, Send, Sleep
from keyweave.errors import (
    ConflictError,
    KeyweaveError,
    OutcomeUnknownError,
    ReferenceViolationError,
    TransactionConflictError,
    ValidationError,
)
from keyweave.exchange.apply import Begun, GivenUp, Sending, Trailer, apply, apply_each, begin
from keyweave.exchange.together import caught, together
from keyweave.homes.claim import claim, keep, keep_beside, leave, receipt_of
from keyweave.homes.home import Home, Homed, arriving, is_located, leaving, not_after, place_in, staying
from keyweave.homes.misplaced import remove_misplaced
from keyweave.model.entity import Entity
from keyweave.model.moment import from_micros_all
from keyweave.store.context import Context
from keyweave.store.recent import LARGEST

_OUTDATED_HOMES: Final = frozenset({Status.FENCED, Status.LATE})
"""Refusals of a plan whose homes have to be read again."""


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
    resumed = isinstance(trailer, Sending) and trailer.attempt is not None
    if isinstance(trailer, Sending) and trailer.attempt is not None:
        plan = trailer.attempt.plan
    elif context.homing and begun is None and _concerns_homes(context, changes):
        shown = with_document
        return (yield from _commit_homed(context, changes, watched or (), sweeping, shown, trailer))
    else:
        if plan is None:
            plan = plan_of(context, changes, watched or (), begun)
        if with_document:
            plan.show_on_refusal(changes[0].entity, changes[0].key)
    receipt = Receipt() if resumed and context.homing and context.durability is not None else None
    applied = apply(context, plan, trailer, repeatable=sweeping, meanwhile=meanwhile, begun=begun)
    try:
        outcome = yield from (_noted(applied, trailer, receipt) if resumed else applied)
    except OutcomeUnknownError as error:
        _describe(error, changes)
        raise
    if isinstance(outcome, Applied):
        remember_writes(context, changes, outcome, plan.op)
        if resumed and context.homing:
            yield from together(context, _kept(context, changes, receipt, keep_beside))
            yield from _report(receipt, trailer)
            yield from leave(context, [thing for change in changes for thing in leaving(change)])
        return None
    if resumed and outcome.status in _OUTDATED_HOMES:
        _forget_attempt(trailer)
        return (yield from _commit_homed(context, changes, watched or (), sweeping, with_document, trailer))
    return outcome


def commit_each(context: Context, changes: list[Change]) -> Flow[list[Refusal | KeyweaveError | None]]:
    """Apply changes one after another in one pipeline, each in a step of its own.

    Returns:
        For each change: None when it was written, the refusal, or the error that `commit` raises.
    """
    if context.homing:
        flows = [caught(_commit_homed(context, [change], (), False, False, None)) for change in changes]
        return (yield from together(context, flows))
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


def _concerns_homes(context: Context, changes: list[Change]) -> bool:
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


def _commit_homed(
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
            yield from together(context, _kept(context, changes, receipt, keep))
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
                _noted(apply(context, plan, trailer, repeatable=sweeping, begun=begun), trailer, receipt),
                _kept(context, changes, receipt, keep_beside) if context.doubling is None else [],
            )
        except OutcomeUnknownError as error:
            _describe(error, changes)
            raise
        if isinstance(outcome, Applied):
            yield from _report(receipt, trailer)
            remember_writes(context, changes, outcome, plan.op)
            yield from leave(context, [thing for change in changes for thing in leaving(change)])
            return None
        if outcome.status is Status.FENCED:
            refused_at = _refused_epochs(outcome, things, homes, refused_at)
        elif outcome.status is not Status.LATE:
            return outcome
        _forget_attempt(trailer)
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


def _kept(
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


def _noted(applied: Flow[Outcome], trailer: Trailer | None, receipt: Receipt | None) -> Flow[Outcome]:
    """Return the outcome of a plan. The callers that share it know it at once: the ledger has room for another plan now."""
    outcome = yield from applied
    if isinstance(trailer, Sending):
        trailer.fate.unconfirmed = "its homes are not confirmed yet" if receipt is not None else None
        trailer.fate.applied = isinstance(outcome, Applied)
    return outcome


def _report(receipt: Receipt | None, trailer: Trailer | None) -> Flow[None]:
    """Let the operation know what of the homes of an applied plan was not confirmed, or all callers that share the plan."""
    missing = receipt.unconfirmed if receipt is not None else None
    if isinstance(trailer, Sending):
        trailer.receipt.unconfirmed = trailer.receipt.unconfirmed or missing
        trailer.fate.applied, trailer.fate.unconfirmed = True, trailer.receipt.unconfirmed
    elif missing is not None:
        yield Send((), unconfirmed=missing)


def _forget_attempt(trailer: Trailer | None) -> None:
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


def require_same_partition(change: Change) -> None:
    """Refuse a change of the value that decides the partition of a stored row.

    Raises:
        ValidationError: the row would have another value.
    """
    old, prepared = change.old, change.prepared
    if old is None or prepared is None or old.snapshot is None:
        return
    if moves(old.snapshot, prepared):
        raise _partition_changed(old.snapshot, prepared)


def moves(before: Any, prepared: Prepared) -> bool:
    """Return whether a row would have another value of the field that decides its partition than a record of it."""
    name = prepared.entity.partition_by
    return bool(getattr(before, name) != getattr(prepared.snapshot, name))


def require_same_value(context: Context, before: Any, prepared: Prepared) -> None:
    """Refuse to give a row another value of the field that decides its partition, in a group with several.

    Args:
        before: a record of the row as it is; None for no row.

    Raises:
        ValidationError: it would have another value.
    """
    if context.homing and before is not None and moves(before, prepared):
        raise _partition_changed(before, prepared)


def _partition_changed(before: Any, prepared: Prepared) -> ValidationError:
    entity = prepared.entity
    name = entity.partition_by
    return partition_changed(entity, prepared.key, getattr(before, name), getattr(prepared.snapshot, name))


def partition_changed(entity: Entity[Any], key: str, before: object, after: object) -> ValidationError:
    """Return the error for a row that would have another value of the field that decides its partition."""
    rule = f"decides the partition of a row, so it cannot change from {before!r} to {after!r}"
    name = entity.partition_by
    error = ValidationError(f"{entity.row(key)}: {name} {rule}", entity=entity.name, field=name, rule=rule)
    error.key = entity.shown(key)
    return error


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
            forget_relation(context, change)
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
        context.state.recent.put(name, key, stored, prepared.body)
    else:
        context.state.recent.drop(name, key)
    if head[0] == head[1]:
        remember_relation(context, prepared)
