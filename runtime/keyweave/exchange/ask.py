"""Sending commands with retries. Every flow sends its commands through this module.

Reads may be repeated after any failure. A plan is repeated with the same ticket, by which the server's ledger recognises
a plan that it has applied. So the outcome of a write is unknown only as long as the server cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from keyweave.changes.plan import Outcome, Plan, Ticket
from keyweave.changes.unsettled import Unsettled
from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError, Sleep, Word
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    OutcomeUnknownError,
    StoreLoadingError,
    StoreOutOfMemoryError,
    StoreReadOnlyError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from keyweave.store.context import Context

_TRANSIENT: Final = frozenset(
    {
        "LOADING",
        "BUSY",
        "UNKILLABLE",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "READONLY",
        "NOAUTH",
    }
)
"""Codes of refusals that another try may not get, some of them because it is sent on a new connection. The server did not
run the command."""

_UNANSWERED: Final = frozenset({b"REPLAYED", b"LATE", b"NEVER", b"STALE", b"CORRUPT"})
"""Replies of `apply` that are no answer to the plan itself."""

_LEDGER: Final = 3
"""The number of the ledger among the keys of `apply`."""

_SLACK: Final = 5_000_000
"""Microseconds that a plan may be under way beyond the deadline, and that clocks may be apart."""

_LITTLE: Final = 0.05
"""Seconds before the deadline in which connecting fails for lack of time."""

_REFUSALS: Final[dict[str, tuple[type[KeyweaveError], str]]] = {
    "LOADING": (StoreLoadingError, "is still loading its data"),
    "OOM": (StoreOutOfMemoryError, "is at its memory limit and refuses writes"),
    "READONLY": (StoreReadOnlyError, "is a replica and accepts no writes"),
    "MISCONF": (StoreReadOnlyError, "accepts no writes because it cannot save to disk"),
    "NOREPLICAS": (StoreReadOnlyError, "accepts no writes because it has too few replicas"),
    "NOAUTH": (AuthenticationError, "requires a password"),
    "WRONGPASS": (AuthenticationError, "refused the credentials"),
    "BUSY": (StoreTimeoutError, "is busy with a script"),
    "UNKILLABLE": (StoreTimeoutError, "is busy with a script"),
}

_SCRIPT_DENIED: Final = re.compile(r"ACL failure in script|user executing the script can't ")
"""In the text of an error reply with the code ERR: the user lacks a permission that a script needs."""

_DENIED_COMMAND: Final = re.compile(r"run the '([^']+)' command")


def refusal_error(context: Context, refusal: ServerError) -> KeyweaveError:
    """Return the typed error for an error reply. `code` is NOPERM for each kind of missing permission."""
    error: KeyweaveError
    if refusal.code == "NOPERM" or (refusal.code == "ERR" and _SCRIPT_DENIED.search(refusal.message)):
        command = _DENIED_COMMAND.search(refusal.message)
        lacking = f"the command '{command[1]}'" if command is not None else "a command or key"
        error = AuthenticationError(
            f"the server at {context.address} does not permit this user to use {lacking} that this needs; "
            "keyweave acl prints the rules of an application and of an administrator"
        )
        error.code = "NOPERM"
        return error
    if refusal.code == "WRONGTYPE":
        error = CorruptDocumentError("a key holds another type than Keyweave writes; run: keyweave check")
    else:
        kind, text = _REFUSALS.get(
            refusal.code, (StoreUnavailableError, f"refused a command: {refusal.code}")
        )
        error = kind(f"the server at {context.address} {text}")
    error.code = refusal.code
    return error


def failure_error(context: Context, failure: ConnectionFailure) -> KeyweaveError:
    """Return the typed error for a connection that could not be used."""
    if failure.reason == "authentication":
        return AuthenticationError(f"the server at {context.address} refused the credentials")
    if failure.reason == "deadline":
        limit = f"its deadline of {context.policy.deadline:g} s"
        late = StoreTimeoutError(f"an operation on the server at {context.address} took longer than {limit}")
        late.__cause__ = failure
        return late
    if failure.reason == "timeout":
        late = StoreTimeoutError(f"the server at {context.address} did not answer in time")
        late.__cause__ = failure
        return late
    return StoreUnavailableError(f"cannot use the server at {context.address}: {failure}")


def out_of_time(error: BaseException) -> bool:
    """Return whether the error, or its cause, is that the operation's deadline has passed."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, ConnectionFailure):
        cause = cause.__cause__
    return cause is not None and cause.reason == "deadline"


class Backoff:
    """The retries of one exchange: pauses before each, until the policy's deadline or that of the operation."""

    __slots__ = ("_attempt", "_context", "_last", "_until")

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._until: Final = context.monotonic() + context.policy.deadline
        self._attempt = 0
        self._last: KeyweaveError | None = None

    def pause(self, error: KeyweaveError) -> Flow[None]:
        """Pause before the next attempt.

        Raises:
            KeyweaveError: `error`, when it is not transient or when a deadline leaves no time. If the shell has refused
                the attempt because the operation's deadline has passed, the error of the attempt before.
        """
        if self._last is not None and (out_of_time(error) or self._cut_short(error)):
            raise self._last
        if out_of_time(error):
            raise error
        self._last = error
        pause = self._context.backoff(self._attempt + 2)
        # A new connection authenticates itself. If that does not help, nothing does.
        denied = isinstance(error, AuthenticationError) and (error.code != "NOAUTH" or self._attempt > 0)
        if denied or self._context.monotonic() + pause >= self._until:
            raise error
        self._attempt += 1
        self._context.state.stats.retry()
        try:
            yield Sleep(pause)
        except ConnectionFailure:
            pass
        else:
            return
        raise error

    def _cut_short(self, error: KeyweaveError) -> bool:
        """Return whether the deadline left too little time to connect, which says less than the attempt before."""
        cause = error.__cause__
        unsent = isinstance(cause, ConnectionFailure) and not cause.sent
        return unsent and self._context.monotonic() >= self._until - _LITTLE


def ask(
    context: Context, commands: tuple[Command, ...], *, tolerated: frozenset[str] = frozenset()
) -> Flow[list[Reply]]:
    """Send commands that may be repeated, and return their replies.

    Args:
        tolerated: codes of error replies that are returned among the replies, as `ServerError`.

    Raises:
        StoreUnavailableError: or a subclass, when the deadline has passed or the refusal is final.
        CorruptDocumentError: a key has the wrong type.
    """
    backoff: Backoff | None = None
    while True:
        try:
            replies: list[Reply] = yield Send(commands)
        except ConnectionFailure as failure:
            error = failure_error(context, failure)
        else:
            refusal = next(
                (reply for reply in replies if type(reply) is ServerError and reply.code not in tolerated),
                None,
            )
            if refusal is None:
                return replies
            error = refusal_error(context, refusal)
            if refusal.code not in _TRANSIENT:
                raise error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(error)


def ask_script(
    context: Context, name: str, keys: tuple[Word, ...], arguments: tuple[Word, ...]
) -> Flow[Reply]:
    """Run a script that only reads, or that may run twice, and return its reply.

    Raises:
        StoreUnavailableError: or a subclass.
        CorruptDocumentError: a key has the wrong type.
    """
    replies = yield from ask_scripts(context, name, ((keys, arguments),))
    return replies[0]


def ask_scripts(
    context: Context, name: str, calls: tuple[tuple[tuple[Word, ...], tuple[Word, ...]], ...]
) -> Flow[list[Reply]]:
    """Run a script once for each of `calls` (keys, arguments) in one pipeline; see `ask_script`."""
    script = context.scripts[name]
    backoff: Backoff | None = None
    verb, text = "EVALSHA", script.sha
    while True:
        commands = tuple((verb, text, len(keys), *keys, *arguments) for keys, arguments in calls)
        try:
            replies: list[Reply] = yield Send(commands)
        except ConnectionFailure as failure:
            error = failure_error(context, failure)
        else:
            refusal = next((reply for reply in replies if type(reply) is ServerError), None)
            if refusal is None:
                return replies
            if refusal.code == "NOSCRIPT":
                verb, text = "EVAL", script.text
                continue
            error = refusal_error(context, refusal)
            if refusal.code not in _TRANSIENT:
                raise error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(error)


def script_call(context: Context, name: str, keys: tuple[Word, ...], arguments: tuple[Word, ...]) -> Command:
    """Return the call of a script that only reads, for a pipeline with other commands; `script_ran` checks its reply."""
    return ("EVALSHA", context.scripts[name].sha, len(keys), *keys, *arguments)


def script_ran(context: Context, reply: Reply) -> bool:
    """Return whether a `script_call` ran; False when the server does not know the script.

    Raises:
        StoreUnavailableError: or a subclass, for any other refusal.
        CorruptDocumentError: a key has the wrong type.
    """
    if type(reply) is not ServerError:
        return True
    if reply.code == "NOSCRIPT":
        return False
    raise refusal_error(context, reply)


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


def apply(
    context: Context, plan: Plan, trailer: Trailer | None = None, *, repeatable: bool = False
) -> Flow[Outcome]:
    """Apply a plan exactly once, and return its outcome.

    Every try carries the same ticket, so the server answers a retry as it answered the try that was applied, whatever
    happened to the rows since.

    Args:
        trailer: commands that follow the plan in its pipeline.
        repeatable: whether it makes no difference if the plan was applied, as for a repair: then no outcome is unknown.

    Raises:
        OutcomeUnknownError: a try was sent, and none was answered before the deadline; or its answer was damaged. The error can
            be settled later, unless the answer was damaged.
        StoreUnavailableError: or another subclass; nothing was written.
        CorruptDocumentError: a key has the wrong type; nothing was written.
    """
    ledger = context.state.ledger
    state = _Try(context, plan, ledger.take())
    try:
        reply = yield from _answer(context, state, trailer)
    except KeyweaveError as error:
        if not state.sent or repeatable:
            raise
        raise _outcome_unknown(context, error, Unsettled(plan, state.ticket, state.until)) from error
    finally:
        if state.sent:
            ledger.leave_open(state.ticket)
        else:
            ledger.answered(state.ticket)
    if state.renew and reply[0] == b"OK":
        ledger.renewed(plan.partition.tag)
    return plan.outcome(reply)


class _Try:
    """A plan on its way.

    Attributes:
        ticket: its place in the ledger.
        renew: whether it is to extend the life of the ledger.
        until: the server's time, in microseconds, after which it must not be applied.
        sent: whether a try may have been applied, and none was answered.
    """

    __slots__ = ("plan", "renew", "sent", "ticket", "until")

    def __init__(self, context: Context, plan: Plan, ticket: Ticket) -> None:
        self.plan: Final = plan
        self.ticket = ticket
        self.renew: Final = context.state.ledger.due_for_renewal(plan.partition.tag)
        self.until = _not_after(context)
        self.sent = False


def _answer(context: Context, state: _Try, trailer: Trailer | None) -> Flow[Sequence[Any]]:
    """Send a plan until it is answered, and return the answer: OK, or a guard that did not hold."""
    plan = state.plan
    script = context.scripts["free" if plan.only_removes else "apply"]
    policy = context.policy
    backoff: Backoff | None = None
    verb, text = "EVALSHA", script.sha
    while True:
        command = plan.command(
            text,
            verb,
            ticket=state.ticket,
            until=state.until,
            grace_ms=policy.grace_ms,
            renew=state.renew,
            again=state.sent,
            writer=context.package.writer,
        )
        try:
            if trailer is None:
                (reply,) = yield Send((command,))
            else:
                reply, *trailer.replies = yield Send((command, *trailer.commands))
        except ConnectionFailure as failure:
            state.sent = state.sent or failure.sent
            error = failure_error(context, failure)
        except BaseException:
            state.sent = True  # the caller gave up, or was interrupted, while the plan may be on its way
            raise
        else:
            if type(reply) is not ServerError:
                if reply[0] not in _UNANSWERED:
                    state.sent = False
                    answer: Sequence[Any] | None = reply
                elif not state.sent and _damaged(reply):
                    state.ticket = context.state.ledger.take()  # the damaged slot is not used again
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
                if reply.code not in _TRANSIENT:
                    if state.sent:
                        return (yield from _earlier_answer(context, state, error))
                    raise error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(error)


def _damaged(reply: Sequence[Any]) -> bool:
    """Return whether the plan's slot holds what Keyweave did not write, or has a number that only a later plan can have."""
    return bool(reply[0] == b"STALE" or (reply[0] == b"CORRUPT" and reply[1] == _LEDGER))


def _replayed(context: Context, state: _Try, reply: list[Any]) -> Sequence[Any] | None:
    """Return the answer of an earlier try, which the ledger kept; None when the plan came too late, and can be sent again.

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
        context.state.clock.set(int(reply[1]))
        state.until, state.sent = _not_after(context), False
        return None
    state.sent = _damaged(reply)
    if word != b"NEVER":
        raise CorruptDocumentError(
            "a key that this write needs does not hold what Keyweave writes; run: keyweave check"
        )
    raise StoreUnavailableError(f"a write was given up before it reached the server at {context.address}")


def _earlier_answer(context: Context, state: _Try, error: KeyweaveError) -> Flow[Sequence[Any]]:
    """Return the answer of an earlier try after a later one was refused; raise the refusal when none was applied."""
    ticket = state.ticket
    try:
        reply = yield from ask_script(
            context, "outcome", (state.plan.partition.ledger(ticket.session),), (ticket.slot, ticket.sequence)
        )
    except KeyweaveError:
        raise error from None
    if reply[0] == b"REPLAYED":
        context.state.stats.replay()
        state.sent = False
        return cast(Sequence[Any], reply[1].split())
    state.sent = reply[0] != b"NEVER"
    raise error


def _not_after(context: Context) -> int:
    """The server's time, in microseconds, from which on a plan that is sent now must not be applied any more."""
    return context.state.clock.now() + int(context.policy.deadline * 1_000_000) + _SLACK


def _outcome_unknown(context: Context, error: KeyweaveError, unsettled: Unsettled) -> OutcomeUnknownError:
    unknown = OutcomeUnknownError(f"a write may or may not have reached the server at {context.address}")
    unknown.code = error.code
    unknown.unsettled = unsettled
    return unknown
