"""Asking the server, with Keyweave's own retries. Everything that leaves a flow passes through here.

Reads may be sent again after any failure. A plan is sent again with the same op, so that a try which
did land is recognised; only then is a broken connection not an unknown outcome.
"""

from __future__ import annotations

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
"""Refusals that pass by themselves. The command was not carried out."""

_REFUSALS: Final[dict[str, tuple[type[KeyweaveError], str]]] = {
    "LOADING": (StoreLoadingError, "is still loading its data"),
    "OOM": (StoreOutOfMemoryError, "is at its memory limit and refuses writes"),
    "READONLY": (StoreReadOnlyError, "is a replica and takes no writes"),
    "MISCONF": (StoreReadOnlyError, "takes no writes because it cannot save to disk"),
    "NOREPLICAS": (StoreReadOnlyError, "takes no writes because it has too few replicas"),
    "NOAUTH": (AuthenticationError, "asks for a password"),
    "WRONGPASS": (AuthenticationError, "refused the credentials"),
    "NOPERM": (AuthenticationError, "does not permit this user a command or key that Keyweave needs"),
    "BUSY": (StoreTimeoutError, "is busy with a script"),
    "UNKILLABLE": (StoreTimeoutError, "is busy with a script"),
}


def refusal_error(context: Context, refusal: ServerError) -> KeyweaveError:
    """The typed error for an error reply."""
    error: KeyweaveError
    if refusal.code == "WRONGTYPE":
        error = CorruptDocumentError("a key holds another type than Keyweave writes; run a check")
    else:
        kind, text = _REFUSALS.get(
            refusal.code, (StoreUnavailableError, f"refused a command: {refusal.code}")
        )
        error = kind(f"the server at {context.address} {text}")
    error.code = refusal.code
    return error


def failure_error(context: Context, failure: ConnectionFailure) -> KeyweaveError:
    """The typed error for a connection that could not be used."""
    if failure.reason == "authentication":
        return AuthenticationError(f"the server at {context.address} refused the credentials")
    if failure.reason == "timeout":
        return StoreTimeoutError(f"the server at {context.address} did not answer in time")
    return StoreUnavailableError(f"cannot use the server at {context.address}: {failure}")


class Backoff:
    """Decides whether there is time for another try, and how long to pause before it."""

    __slots__ = ("_attempt", "_context", "_until")

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._until: Final = context.monotonic() + context.policy.deadline
        self._attempt = 0

    def pause(self, error: KeyweaveError) -> Flow[None]:
        """Pause before the next try.

        Raises:
            KeyweaveError: `error`, when it will not pass or when the deadline leaves no time.
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
    """Send commands that may be sent again, and return their replies.

    Args:
        tolerated: codes of refusals that are returned among the replies, as `ServerError`.

    Raises:
        StoreUnavailableError: or one of its children, when the deadline passed or the refusal is final.
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
        StoreUnavailableError: or one of its children.
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
    """The call of a script that only reads, for a pipeline with other commands; `script_ran` tells of its reply."""
    return ("EVALSHA", context.scripts[name].sha, len(keys), *keys, *arguments)


def script_ran(context: Context, reply: Reply) -> bool:
    """Whether a `script_call` was carried out: not where the server does not know the script.

    Raises:
        StoreUnavailableError: or one of its children, for any other refusal.
    """
    if type(reply) is not ServerError:
        return True
    if reply.code == "NOSCRIPT":
        return False
    raise refusal_error(context, reply)


class Trailer:
    """Commands that follow a plan in its pipeline, whatever becomes of the plan. They may be sent again.

    Attributes:
        commands: what to send.
        replies: the latest answers; none before there was one.
    """

    __slots__ = ("commands", "replies")

    def __init__(self, *commands: Command) -> None:
        self.commands: Final = commands
        self.replies: list[Reply] = []


def apply(context: Context, plan: Plan, trailer: Trailer | None = None) -> Flow[Outcome]:
    """Carry out a plan exactly once.

    Raises:
        OutcomeUnknownError: the connection broke, and no answer came before the deadline.
        StoreUnavailableError: or another of its children; nothing was written.
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
    doubt = OutcomeUnknownError(f"a write may or may not have reached the server at {context.address}")
    doubt.__cause__ = error
    doubt.code = error.code
    return doubt


def _outcome(context: Context, plan: Plan, reply: list[Any]) -> Flow[Outcome]:
    word = reply[0]
    if word == b"CORRUPT":
        raise CorruptDocumentError("a key that this write needs holds something else; run a check")
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
        # A row that somebody wrote since has no revision that this writer could guard by.
        ours = head is not None and head.op == plan.op
        heads.append((head.revision, head.created, head.expires) if head is not None and ours else (0, 0, 0))
    return Applied(tuple(heads))
