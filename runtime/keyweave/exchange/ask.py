"""Sending commands with retries. Every flow sends its commands through this module or through `exchange.apply`.

What bounds commands is imported where the policy asks for it, because `keyweave health` has to start quickly.

Reads may be repeated after any failure; a plan may not, see there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from keyweave.effects import Command, ConnectionFailure, Flow, Receipt, Reply, Send, ServerError, Sleep, Word
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    StoreLoadingError,
    StoreOutOfMemoryError,
    StoreReadOnlyError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from keyweave.store.context import Context

TRANSIENT: Final = frozenset(
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
    "MOVED": (
        StoreUnavailableError,
        "is one node of a Redis Cluster; open the store with a redis+cluster:// URL",
    ),
    "TRYAGAIN": (StoreUnavailableError, "is moving the keys to another node of the cluster"),
    "CLUSTERDOWN": (StoreUnavailableError, "is a Redis Cluster that does not serve these keys now"),
    "BUSY": (StoreTimeoutError, "is busy with a script"),
    "UNKILLABLE": (StoreTimeoutError, "is busy with a script"),
}

_SCRIPT_DENIED: Final = re.compile(r"ACL failure in script|user executing the script can't ")
"""In the text of an error reply with the code ERR: the user lacks a permission that a script needs."""

_MOVING: Final = re.compile("attempted to access a non local key|during rehashing of the slot", re.IGNORECASE)
"""In the text of an error reply with the code ERR: a script met a key that has moved to another node, while its slot moves. A
script that only reads may run again."""

_DENIED_COMMAND: Final = re.compile(r"run the '([^']+)' command")

_UNKNOWN_COMMAND: Final = re.compile(r"unknown (?:sub)?command '([^' ]+)'")
"""In the text of an error reply with the code ERR: a managed service does not offer the command."""


def refusal_error(context: Context, refusal: ServerError) -> KeyweaveError:
    """Return the typed error for an error reply.

    `code` is NOPERM for each kind of missing permission, and for a command that the server does not have.
    """
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
    unknown = _UNKNOWN_COMMAND.search(refusal.message) if refusal.code == "ERR" else None
    if unknown is not None:
        error = AuthenticationError(
            f"the server at {context.address} does not offer the command '{unknown[1].lower()}' that this needs; "
            "keyweave doctor shows what a managed service refuses"
        )
        error.code = "NOPERM"
        return error
    if refusal.code == "WRONGTYPE":
        error = CorruptDocumentError("a key holds another type than Keyweave writes; run: keyweave check")
        error.code = refusal.code
        return error
    code = "TRYAGAIN" if _meets_moved_key(refusal) else refusal.code
    kind, text = _REFUSALS.get(code, (StoreUnavailableError, f"refused a command: {code}"))
    error = kind(f"the server at {context.address} {text}")
    error.code = code
    return error


def _meets_moved_key(refusal: ServerError) -> bool:
    return refusal.code == "ERR" and _MOVING.search(refusal.message) is not None


def failure_error(context: Context, failure: ConnectionFailure) -> KeyweaveError:
    """Return the typed error for a connection that could not be used."""
    if failure.reason == "authentication":
        return AuthenticationError(f"the server at {context.address} refused the credentials")
    if failure.reason == "deadline":
        limit = f"its deadline of {context.policy.deadline:g} s"
        late = StoreTimeoutError(f"an operation on the server at {context.address} took longer than {limit}")
        late.__cause__ = failure
        return late
    if failure.reason == "moved":
        moved = StoreUnavailableError(
            f"an operation on the server at {context.address} could not go on: {failure}; try again"
        )
        moved.__cause__ = failure
        return moved
    if failure.reason == "timeout":
        late = StoreTimeoutError(f"the server at {context.address} did not answer in time")
        late.__cause__ = failure
        return late
    return StoreUnavailableError(f"cannot use the server at {context.address}: {failure}")


def out_of_time(error: BaseException) -> bool:
    """Return whether the error, or its cause, is that nothing more is sent for the operation: its deadline has passed, or rows have moved."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, ConnectionFailure):
        cause = cause.__cause__
    return cause is not None and cause.reason in ("deadline", "moved")


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
    context: Context,
    commands: tuple[Command, ...],
    *,
    tolerated: frozenset[str] = frozenset(),
    confirm: int = 0,
    receipt: Receipt | None = None,
    unconfirmed: str | None = None,
) -> Flow[list[Reply]]:
    """Send commands that may be repeated, and return their replies.

    Args:
        tolerated: codes of error replies that are returned among the replies, as `ServerError`.
        confirm: how many of the commands write rows; see `Send`, also for `receipt` and `unconfirmed`.

    Raises:
        StoreUnavailableError: or a subclass, when the deadline has passed or the refusal is final.
        CorruptDocumentError: a key has the wrong type.
        TransactionTooLargeError: a command has too many words and cannot be sent in parts; nothing was sent.
    """
    backoff: Backoff | None = None
    sent: Sequence[Command] = commands
    parts: list[int] | None = None
    if context.policy.command_words is not None:
        from keyweave.exchange.bound import bounded

        sent, parts = bounded(context, commands)
    while True:
        try:
            replies: list[Reply] = yield Send(sent, None, confirm, None, receipt, unconfirmed)
        except ConnectionFailure as failure:
            error = failure_error(context, failure)
        else:
            refusal = _refusal(replies, tolerated)
            if refusal is None:
                return replies if parts is None else _joined(replies, parts)
            error = refusal_error(context, refusal)
            if error.code not in TRANSIENT:
                raise error
        backoff = backoff or Backoff(context)
        yield from backoff.pause(error)


def _refusal(replies: Sequence[Reply], tolerated: frozenset[str] = frozenset()) -> ServerError | None:
    """Return the first reply that is an error with a code that is not tolerated."""
    if ServerError not in map(type, replies):  # this runs for each exchange
        return None
    return next((each for each in replies if type(each) is ServerError and each.code not in tolerated), None)


def _joined(replies: list[Reply], parts: list[int]) -> list[Reply]:
    from keyweave.exchange.bound import joined

    return joined(replies, parts)


def ask_script(
    context: Context,
    name: str,
    keys: tuple[Word, ...],
    arguments: tuple[Word, ...],
    receipt: Receipt | None = None,
) -> Flow[Reply]:
    """Run a script that only reads, or that may run twice, and return its reply.

    Args:
        receipt: what notes whether a durable store has it confirmed; None: it is not.

    Raises:
        StoreUnavailableError: or a subclass.
        CorruptDocumentError: a key has the wrong type.
    """
    replies = yield from ask_scripts(context, name, ((keys, arguments),), receipt)
    return replies[0]


def ask_scripts(
    context: Context,
    name: str,
    calls: tuple[tuple[tuple[Word, ...], tuple[Word, ...]], ...],
    receipt: Receipt | None = None,
) -> Flow[list[Reply]]:
    """Run a script once for each of `calls` (keys, arguments) in one pipeline; see `ask_script`."""
    script = context.scripts[name]
    backoff: Backoff | None = None
    verb, text = "EVALSHA", script.sha
    while True:
        commands = tuple((verb, text, len(keys), *keys, *arguments) for keys, arguments in calls)
        if context.policy.command_words is not None:
            from keyweave.exchange.bound import bounded

            bounded(context, commands)
        try:
            replies: list[Reply] = yield Send(
                commands, None, len(commands) if receipt is not None else 0, None, receipt
            )
        except ConnectionFailure as failure:
            error = failure_error(context, failure)
        else:
            refusal = _refusal(replies)
            if refusal is None:
                return replies
            if refusal.code == "NOSCRIPT":
                verb, text = "EVAL", script.text
                continue
            error = refusal_error(context, refusal)
            if error.code not in TRANSIENT:
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
