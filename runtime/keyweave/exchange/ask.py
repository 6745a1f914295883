"""Sending commands with retries. Every flow sends its commands through this module.

Reads may be repeated after any failure. A plan is repeated with the same op, so that the server recognizes a plan
that it has applied. This is why a broken connection usually does not leave the outcome of a write unknown.
"""

from __future__ import annotations

import re
from typing import Any, Final

from keyweave.changes.plan import Applied, Outcome, Plan
from keyweave.document.codec import HEAD_LENGTH, read_head
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

_TRANSIENT: Final = frozenset({"LOADING", "BUSY", "UNKILLABLE", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"})
"""Codes of transient refusals. The server did not run the command."""

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
            f"the server at {context.address} does not permit this user to use {lacking} that Keyweave needs"
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
    if failure.reason == "timeout":
        return StoreTimeoutError(f"the server at {context.address} did not answer in time")
    return StoreUnavailableError(f"cannot use the server at {context.address}: {failure}")


class Backoff:
    """The retries of one operation: pauses before each, until the policy's deadline."""

    __slots__ = ("_attempt", "_context", "_until")

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._until: Final = context.monotonic() + context.policy.deadline
        self._attempt = 0

    def pause(self, error: KeyweaveError) -> Flow[None]:
        """Pause before the next attempt.

        Raises:
            KeyweaveError: `error`, when it is not transient or when the deadline leaves no time.
        """
        pause = self._context.backoff(self._attempt + 2)
        if isinstance(error, AuthenticationError) or self._context.monotonic() + pause >= self._until:
            raise error
        self._attempt += 1
        self._context.state.stats.retry()
        yield Sleep(pause)


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


def apply(context: Context, plan: Plan, trailer: Trailer | None = None) -> Flow[Outcome]:
    """Apply a plan exactly once, and return its outcome.

    Raises:
        OutcomeUnknownError: the connection broke, and no attempt was answered before the deadline.
        StoreUnavailableError: or another subclass; nothing was written.
        CorruptDocumentError: a key has the wrong type; nothing was written.
    """
    script = context.scripts["free" if plan.only_removes else "apply"]
    policy = context.policy
    backoff: Backoff | None = None
    verb, text, again = "EVALSHA", script.sha, False
    while True:
        command = plan.command(
            text,
            verb,
            again=again,
            grace_ms=policy.grace_ms,
            marker_ttl=policy.marker_ttl,
            writer=context.package.writer,
        )
        try:
            if trailer is None:
                (reply,) = yield Send((command,))
            else:
                reply, *trailer.replies = yield Send((command, *trailer.commands))
        except ConnectionFailure as failure:
            again = again or failure.sent
            error = failure_error(context, failure)
        else:
            if type(reply) is not ServerError:
                return (yield from _outcome(context, plan, reply))
            if reply.code == "NOSCRIPT":
                verb, text = "EVAL", script.text
                continue
            error = refusal_error(context, reply)
            if reply.code not in _TRANSIENT:
                raise _outcome_unknown(context, error) if again else error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(_outcome_unknown(context, error) if again else error)


def _outcome_unknown(context: Context, error: KeyweaveError) -> KeyweaveError:
    unknown = OutcomeUnknownError(f"a write may or may not have reached the server at {context.address}")
    unknown.__cause__ = error
    unknown.code = error.code
    return unknown


def _outcome(context: Context, plan: Plan, reply: list[Any]) -> Flow[Outcome]:
    word = reply[0]
    if word == b"CORRUPT":
        raise CorruptDocumentError(
            "a key that this write needs does not hold what Keyweave writes; run: keyweave check"
        )
    if word != b"REPLAYED":
        return plan.outcome(reply)
    context.state.stats.replay()
    if not plan.written:
        return Applied(())
    commands: tuple[Command, ...] = tuple(
        ("GETRANGE", key, 0, HEAD_LENGTH - 1) for key in plan.document_keys()
    )
    documents = yield from ask(context, commands)
    heads = []
    for document in documents:
        head = read_head(document)
        # If another writer has changed the row since, this writer must not guard by the row's new revision.
        ours = head is not None and head.op == plan.op
        heads.append((head.revision, head.created, head.expires) if head is not None and ours else (0, 0, 0))
    return Applied(tuple(heads))
