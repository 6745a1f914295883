"""Applying plans. Every write is sent from here.

A plan is repeated with the same ticket, by which the server's ledger recognises a plan that it has applied. So the outcome of
a write is unknown only as long as the server cannot be reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from keyweave.changes.answer import Outcome, Ticket
from keyweave.changes.plan import Plan
from keyweave.changes.unsettled import Fate, Unsettled
from keyweave.effects import Command, ConnectionFailure, Flow, Receipt, Reply, Send, ServerError
from keyweave.errors import (
    CorruptDocumentError,
    KeyweaveError,
    OutcomeUnknownError,
    StoreTimeoutError,
    StoreUnavailableError,
    TransactionTooLargeError,
)
from keyweave.exchange.ask import TRANSIENT, Backoff, failure_error, refusal_error
from keyweave.exchange.bound import require_fit
from keyweave.exchange.outdated import outdated
from keyweave.exchange.recall import recall, renewal
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context
from keyweave.store.doubling import PLAN_LIFE, SPLIT_REPLY

_UNANSWERED: Final = frozenset({b"REPLAYED", b"LATE", b"NEVER", b"STALE", b"CORRUPT"})
"""Replies of `apply` that are no answer to the plan itself."""

_LEDGER: Final = 3
"""The number of the ledger among the keys of `apply`."""

_SLACK: Final = 5_000_000
"""Microseconds that a plan may be under way beyond the deadline, and that clocks may be apart."""


class Begun(msgspec.Struct, gc=False):
    """A plan whose first try was sent before the plan was built.

    Attributes:
        op: id of the plan.
        ticket: its place in the ledger.
        until: the server's time, in microseconds, after which it must not be applied.
        renew: whether it is to extend the life of the ledger.
        reply: the reply to the first try, or the failure of the connection.
        unconfirmed: why homes on which the plan rests were not confirmed, in words; None if nothing was missing.
    """

    op: str
    ticket: Ticket
    until: int
    renew: bool
    reply: Reply | ConnectionFailure = None
    unconfirmed: str | None = None


def begin(context: Context, partition: Partition) -> Begun:
    """Return what the first try of a plan names. `answered` or `apply` follows, or else the slot has to be left open."""
    ledger = context.state.ledger
    renew = ledger.due_for_renewal(partition.tag)
    return Begun(ledger.new_op(), ledger.take(), _not_after(context, partition), renew)


class Trailer:
    """Commands that follow a plan in its pipeline, also when the plan is refused. They may be repeated.

    Attributes:
        commands: the commands.
        replies: the latest replies; empty before the first ones.
    """

    __slots__ = ("commands", "replies")

    def __init__(self, *commands: Command) -> None:
        self.commands: Final = commands
        self.replies: list[Reply] = []


class GivenUp(Exception):
    """A caller left a `Sending` whose next plan would have been sent with the effects of that caller. Nothing was written."""


class Sending(Trailer):
    """A plan that several callers have sent by one of them. If that one is interrupted, another one takes it over.

    Attributes:
        attempt: the plan on its way; None before it is first sent, and while homes are claimed for the next one.
        given_up: whether a caller left. The plan that was on its way then is the last one with the effects of that caller.
        receipt: whether the write was confirmed.
        fate: what became of the plan, for callers that leave while the one that has sent it still removes homes.
    """

    __slots__ = ("attempt", "fate", "given_up", "receipt")

    def __init__(self, *commands: Command, fate: Fate | None = None) -> None:
        super().__init__(*commands)
        self.fate: Final = fate or Fate()
        self.attempt: Attempt | None = None
        self.given_up = False
        self.receipt: Final = Receipt()


def apply(
    context: Context,
    plan: Plan,
    trailer: Trailer | None = None,
    *,
    repeatable: bool = False,
    begun: Begun | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Flow[Outcome]:
    """Apply a plan exactly once, and return its outcome.

    Every try carries the same ticket, so the server answers a retry as it answered the try that was applied, whatever
    happened to the rows since.

    Args:
        trailer: commands that follow the plan in its pipeline. A `Sending` that was interrupted is resumed: the plan is sent
            with the ticket that it has.
        repeatable: whether it makes no difference if the plan was applied, as for a repair: then no outcome is unknown.
        begun: what the first try named, if it was sent.
        meanwhile: as in `Send`.

    Raises:
        OutcomeUnknownError: a try was sent, and none was answered before the deadline; or its answer was damaged. The error can
            be settled later, unless the answer was damaged.
        StoreUnavailableError: or another subclass; nothing was written.
        CorruptDocumentError: a key has the wrong type; nothing was written.
        TransactionTooLargeError: the plan does not fit into one command; nothing was sent.
        GivenUp: a caller had left a `Sending` before its plan was sent.
    """
    if context.policy.command_words is not None:
        require_fit(context, plan.words + context.clustered)
    first = begun.reply if begun is not None else None
    if not isinstance(trailer, Sending):
        state = Attempt(context, plan, begun)
        return _finish(context, state, trailer, first=first, repeatable=repeatable, meanwhile=meanwhile)
    if trailer.attempt is None:
        trailer.attempt = Attempt(context, plan, begun)
        # Read after the attempt was set: a caller of another thread that leaves does it the other way round.
        if trailer.given_up:
            context.state.ledger.answered(trailer.attempt.ticket)
            trailer.attempt = None
            raise GivenUp
    else:
        context.state.ledger.resume(trailer.attempt.ticket)
    return _finish(context, trailer.attempt, trailer, first=first)


def apply_each(context: Context, plans: Sequence[Plan]) -> Flow[list[Outcome | KeyweaveError]]:
    """Apply plans, each exactly once, in one pipeline: one after another, and whatever becomes of the others.

    A plan whose answer was lost, or that the server could not run, is tried again alone.

    Returns:
        The outcome of each plan in their order, or the error that `apply` raises.
    """
    misfits = [_misfit(context, plan) for plan in plans]
    fitting = [plan for plan, misfit in zip(plans, misfits, strict=True) if misfit is None]
    applied = iter((yield from _apply_each(context, fitting)) if fitting else ())
    return [next(applied) if misfit is None else misfit for misfit in misfits]


def _apply_each(context: Context, plans: Sequence[Plan]) -> Flow[list[Outcome | KeyweaveError]]:
    waiting = deque(Attempt(context, plan) for plan in plans)
    outcomes: list[Outcome | KeyweaveError] = []
    try:
        try:
            commands = [state.command(context, "EVALSHA", state.script.sha) for state in waiting]
            replies: list[Reply | None] = yield Send(commands, None, len(commands))
        except ConnectionFailure as failure:
            for state in waiting:
                state.sent = failure.sent
            replies = [None] * len(waiting)
        for reply in replies:
            try:
                outcomes.append((yield from _finish(context, waiting.popleft(), first=reply)))
            except KeyweaveError as error:
                outcomes.append(error)
    finally:
        for state in waiting:  # the caller was interrupted while these may be on their way
            context.state.ledger.leave_open(state.ticket)
    return outcomes


def _misfit(context: Context, plan: Plan) -> TransactionTooLargeError | None:
    """Return the error of a plan that does not fit into one command."""
    try:
        require_fit(context, plan.words + context.clustered)
    except TransactionTooLargeError as error:
        return error
    return None


def _finish(
    context: Context,
    state: Attempt,
    trailer: Trailer | None = None,
    *,
    first: Reply | ConnectionFailure | None = None,
    repeatable: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Flow[Outcome]:
    """Bring a plan to its outcome; see `apply`. `first` is what came of a try that was sent already, if there is one."""
    ledger, plan = context.state.ledger, state.plan
    try:
        reply = yield from _answer(context, state, trailer, first, 0 if repeatable else 1, meanwhile)
    except KeyweaveError as error:
        if not state.sent or repeatable:
            raise
        level = context.durability
        unsettled = Unsettled(
            plan,
            state.ticket,
            state.until,
            durable=level.level if level is not None else None,
            unconfirmed=state.unconfirmed,
        )
        raise _outcome_unknown(context, error, unsettled) from error
    finally:
        if state.sent:
            ledger.leave_open(state.ticket)
        else:
            ledger.answered(state.ticket)
    if state.renew and reply[0] == b"OK":
        ledger.renewed(plan.partition.tag)
    return plan.outcome(reply)


class Attempt:
    """A plan on its way.

    Attributes:
        ticket: its place in the ledger.
        renew: whether it is to extend the life of the ledger.
        until: the server's time, in microseconds, after which it must not be applied.
        sent: whether a try may have been applied, and none was answered.
        script: the script that applies it.
        unconfirmed: as in `Begun`.
    """

    __slots__ = ("plan", "renew", "script", "sent", "ticket", "unconfirmed", "until")

    def __init__(self, context: Context, plan: Plan, begun: Begun | None = None) -> None:
        begun = begun or begin(context, plan.partition)
        self.plan: Final = plan
        self.script: Final = context.scripts["free" if plan.only_removes else "apply"]
        self.ticket = begun.ticket
        self.renew: Final = begun.renew
        self.until = begun.until
        self.unconfirmed: Final = begun.unconfirmed
        self.sent = False
        if context.doubling is not None:
            plan.guard_share(context.share_of(plan.partition))

    def command(self, context: Context, verb: str, text: str) -> Command:
        """Return the command of the next try."""
        return self.plan.command(
            text,
            verb,
            ticket=self.ticket,
            until=self.until,
            grace_ms=context.policy.grace_ms,
            renew=self.renew,
            again=self.sent,
            writer=context.package.writer,
            clustered=context.clustered,
        )


def _answer(
    context: Context,
    state: Attempt,
    trailer: Trailer | None,
    first: Reply | ConnectionFailure | None,
    confirm: int,
    meanwhile: Callable[[], None] | None,
) -> Flow[Sequence[Any]]:
    """Send a plan until it is answered, and return the answer: OK, or a guard that did not hold.

    `confirm` is 1 for a plan that a durable store has confirmed, also if an earlier try was applied, else 0.
    """
    script = state.script
    backoff: Backoff | None = None
    more: tuple[Command, ...] = ()
    verb, text = "EVALSHA", script.sha
    while True:
        try:
            if first is not None:
                earlier, first = first, None
                reply = _what_came(earlier)
            elif trailer is None and not more and state.unconfirmed is None:
                (reply,) = yield Send((state.command(context, verb, text),), None, confirm, meanwhile)
            else:
                command, last = state.command(context, verb, text), trailer.commands if trailer else ()
                receipt = trailer.receipt if isinstance(trailer, Sending) else None
                reply, *replies = yield Send(
                    (command, *more, *last), None, confirm, meanwhile, receipt, state.unconfirmed
                )
                if trailer is not None:
                    trailer.replies = replies[len(more) :]
        except ConnectionFailure as failure:
            state.sent = state.sent or failure.sent
            error = failure_error(context, failure)
        except BaseException:
            state.sent = True  # the caller gave up, or was interrupted, while the plan may be on its way
            raise
        else:
            if type(reply) is not ServerError:
                _require_current(context, state, reply)
                if reply[0] not in _UNANSWERED:
                    state.sent = False
                    answer: Sequence[Any] | None = reply
                elif not state.sent and _damaged(reply):
                    state.ticket = context.state.ledger.take()  # the damaged slot is not used again
                    continue
                elif reply[0] == b"REPLAYED" and confirm == 1 and context.durability is not None:
                    # Asked again with a write behind it, in case this connection has none that could be confirmed.
                    state.sent, confirm, more = True, 2, (renewal(state.plan.partition, state.ticket),)
                    continue
                else:
                    answer = _replayed(context, state, reply)
                if answer is not None:
                    return answer
                error = StoreTimeoutError(f"a write reached the server at {context.address} too late")
            elif reply.code == "NOSCRIPT":
                verb, text = "EVAL", script.text
                continue
            else:
                error = refusal_error(context, reply)
                if reply.code not in TRANSIENT:
                    if state.sent:
                        return (yield from _earlier_answer(context, state, error, confirm, trailer))
                    raise error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(error)


def _require_current(context: Context, state: Attempt, reply: Sequence[Any]) -> None:
    """Raise the exception of a plan that its partition has refused, because its rows move or have moved."""
    if reply[0] == SPLIT_REPLY:
        # What was sent before is refused as well: the partition does not go back.
        state.sent = False
        raise outdated(context)


def _what_came(first: Reply | ConnectionFailure) -> Reply:
    """Return the reply to a try that was sent already; raise the failure of its connection."""
    if type(first) is ConnectionFailure:
        raise first
    return first


def _damaged(reply: Sequence[Any]) -> bool:
    """Return whether the plan's slot holds what Keyweave did not write, or has a number that only a later plan can have."""
    return bool(reply[0] == b"STALE" or (reply[0] == b"CORRUPT" and reply[1] == _LEDGER))


def _replayed(context: Context, state: Attempt, reply: list[Any]) -> Sequence[Any] | None:
    """Return the answer of an earlier try, which the ledger kept; None when the plan came too late, and can be sent again.

    A bounded plan that came too late is answered LATE.

    Raises:
        StoreUnavailableError: the plan was not applied, and never will be.
        CorruptDocumentError: a key does not hold what Keyweave writes. If it is the slot, an earlier try may have been applied.
    """
    word = reply[0]
    if word == b"REPLAYED":
        context.state.stats.replay()
        state.sent = False
        return cast(Sequence[Any], reply[1].split())
    if word == b"LATE":
        # The server's clock is ahead of what this process believed. Earlier tries are too late as well.
        context.clock(state.plan.partition).set(int(reply[1]))
        if state.plan.bounded:
            state.sent = False
            return cast(Sequence[Any], reply)
        state.until, state.sent = _not_after(context, state.plan.partition), False
        return None
    state.sent = _damaged(reply)
    if word != b"NEVER":
        raise CorruptDocumentError(
            "a key that this write needs does not hold what Keyweave writes; run: keyweave check"
        )
    raise StoreUnavailableError(f"a write was given up before it reached the server at {context.address}")


def _earlier_answer(
    context: Context, state: Attempt, error: KeyweaveError, confirm: int, trailer: Trailer | None
) -> Flow[Sequence[Any]]:
    """Return the answer of an earlier try after a later one was refused; raise the refusal when none was applied."""
    receipt = trailer.receipt if isinstance(trailer, Sending) else None
    try:
        reply = yield from recall(
            context,
            state.plan.partition,
            state.ticket,
            confirm=confirm > 0,
            receipt=receipt,
            unconfirmed=state.unconfirmed,
        )
    except KeyweaveError:
        raise error from None
    if reply[0] == b"REPLAYED":
        context.state.stats.replay()
        state.sent = False
        return cast(Sequence[Any], reply[1].split())
    state.sent = reply[0] != b"NEVER"
    raise error


def _not_after(context: Context, partition: Partition) -> int:
    """The server's time, in microseconds, from which on a plan that is sent now must not be applied any more."""
    clock = context.clock(partition) if context.clustered else context.state.clock
    return clock.now() + int(min(context.policy.deadline, PLAN_LIFE) * 1_000_000) + _SLACK


def _outcome_unknown(context: Context, error: KeyweaveError, unsettled: Unsettled) -> OutcomeUnknownError:
    unknown = OutcomeUnknownError(f"a write may or may not have reached the server at {context.address}")
    unknown.code = error.code
    unknown.unsettled = unsettled
    return unknown
