"""Committing: changes become one plan, which the server applies once. `write.settle` handles a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keyweave.changes.answer import Applied, Refusal, Status
from keyweave.changes.change import Change
from keyweave.changes.plan import Plan
from keyweave.commit.compose import Watched, plan_of
from keyweave.commit.homed import commit_homed, concerns_homes, forget_attempt, kept, noted, report
from keyweave.commit.remember import describe, remember_writes
from keyweave.effects import Flow, Receipt
from keyweave.errors import KeyweaveError, OutcomeUnknownError
from keyweave.exchange.apply import Begun, Sending, Trailer, apply, apply_each
from keyweave.exchange.together import caught, together
from keyweave.homes.claim import keep_beside, leave
from keyweave.homes.home import leaving
from keyweave.store.context import Context

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
    elif context.homing and begun is None and concerns_homes(context, changes):
        shown = with_document
        return (yield from commit_homed(context, changes, watched or (), sweeping, shown, trailer))
    else:
        if plan is None:
            plan = plan_of(context, changes, watched or (), begun)
        if with_document:
            plan.show_on_refusal(changes[0].entity, changes[0].key)
    receipt = Receipt() if resumed and context.homing and context.durability is not None else None
    applied = apply(context, plan, trailer, repeatable=sweeping, meanwhile=meanwhile, begun=begun)
    try:
        outcome = yield from (noted(applied, trailer, receipt) if resumed else applied)
    except OutcomeUnknownError as error:
        describe(error, changes)
        raise
    if isinstance(outcome, Applied):
        remember_writes(context, changes, outcome, plan.op)
        if resumed and context.homing:
            yield from together(context, kept(context, changes, receipt, keep_beside))
            yield from report(receipt, trailer)
            yield from leave(context, [thing for change in changes for thing in leaving(change)])
        return None
    if resumed and outcome.status in _OUTDATED_HOMES:
        forget_attempt(trailer)
        return (yield from commit_homed(context, changes, watched or (), sweeping, with_document, trailer))
    return outcome


def commit_each(context: Context, changes: list[Change]) -> Flow[list[Refusal | KeyweaveError | None]]:
    """Apply changes one after another in one pipeline, each in a step of its own.

    Returns:
        For each change: None when it was written, the refusal, or the error that `commit` raises.
    """
    if context.homing:
        flows = [caught(commit_homed(context, [change], (), False, False, None)) for change in changes]
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
            describe(outcome, [change])
        found.append(outcome)
    return found
