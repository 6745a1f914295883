"""Confirming writes: WAITAOF or WAIT goes into the pipeline of a write, directly behind it.

Only the flows of a store with the option `durable` run inside `confirmed`. Flows say which of the commands that they send
write rows (`Send.confirm`), and know nothing else of durability. An operation goes on to its end when a write of it was not
confirmed, so that the error has its result.

A row of one partition may need entries of another one, its homes. They are confirmed before the row is written: what a server
loses when it fails is then never something that an acknowledged row needs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError, Sleep
from keyweave.errors import ConfigurationError, DurabilityError
from keyweave.exchange.ask import ask
from keyweave.exchange.trial import answers_before_fsync
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context
from keyweave.store.durability import Durability

T = TypeVar("T")

_LOG: Final = logging.getLogger("keyweave")

_TICK: Final = 0.1
"""Seconds by which a quiet server may answer WAIT and WAITAOF after their time: it looks `hz` times a second, 10 by default."""

_RESERVE: Final = 0.1
_MOST_RESERVED: Final = 0.15
"""The share of the time left, and the seconds at most, that are kept for the reply and for what follows it."""

_WROTE: Final = frozenset({b"OK", b"NEVER", b"HOME"})
"""First words of the replies of scripts that have written."""

_JOINING: Final = 2.0
_PAUSE: Final = 0.05
"""Seconds for which replicas that have just connected may need until they confirm for the first time, and between two looks."""

_RUN_ID: Final = re.compile(rb"(?m)^run_id:(\w+)")

_TOLERATED: Final = frozenset({"ERR", "NOPERM"})


def confirmed(context: Context, flow: Flow[T], until: float | None = None, *, budget: bool = True) -> Flow[T]:
    """Run an operation of a store with the option `durable`, and have every write of it confirmed.

    Args:
        until: the monotonic time at which the operation's budget ends; by default the policy's `deadline` from now on.
        budget: whether the operation has one. If not, each exchange has the policy's `deadline`.

    Raises:
        DurabilityError: a write was not confirmed in time. Its `result` is what the operation returned.
        ConfigurationError: the server cannot confirm writes on this level; nothing was written.
    """
    end = context.monotonic() + context.policy.deadline if until is None and budget else until
    level = context.durability
    return flow if level is None else _confirmed(context, level, flow, end)


def _confirmed(context: Context, level: Durability, flow: Flow[T], end: float | None) -> Flow[T]:
    lacking: str | None = None
    answer: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                result: T = stop.value
                break
            answer = failure = None
            waits = type(effect) is Send and effect.confirm > 0
            if type(effect) is Send and not waits:
                lacking = lacking or _note(effect)
                if not effect.commands:
                    answer = []
                    continue
            if waits and level not in context.state.confirmable:
                yield from require_confirmable(context, level)
            try:
                if type(effect) is Send and waits:
                    answer, reason = yield from _exchange(context, level, effect, end)
                    lacking = lacking or reason
                else:
                    answer = yield effect
            except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                failure = error
    finally:
        # The frame and the exception's traceback refer to each other: only the garbage collector would free them.
        failure = None
    if lacking is None:
        return result
    raise unconfirmed(context, lacking, result)


def unconfirmed(context: Context, lacking: str, result: Any) -> DurabilityError:
    """Return the error of an operation with a write that was not confirmed; `lacking` says in words what was missing."""
    level = context.durability.level if context.durability is not None else ""
    return DurabilityError(
        f"the write is there, and the server at {context.address} did not confirm durable='{level}' in time: {lacking}",
        level=level,
        result=result,
    )


def _exchange(
    context: Context, level: Durability, effect: Send, end: float | None
) -> Flow[tuple[list[Reply], str | None]]:
    """Send commands with the confirmation; return their replies, and in words what was missing if no receipt notes that."""
    left = context.policy.deadline if end is None else end - context.monotonic()
    parts = effect.parts or (effect,)
    wait = _longest_wait(left) * min(map(_share, parts))
    commands, places = _with_confirmations(context, effect, level.command(int(wait * 1000)))
    replies: list[Reply] = yield Send(commands, max(left, 0.001), 0, effect.meanwhile)
    confirmations = [replies.pop(place) for place in reversed(places)]
    lacking: str | None = None
    start = 0
    for part in parts:
        lacking = lacking or _note(part)
        if part.confirm:
            confirmation = confirmations.pop() if len(confirmations) > 1 else confirmations[0]
            wrote = any(map(_wrote, replies[start : start + part.confirm]))
            reason = (_missing(context, level, confirmation) or part.unconfirmed) if wrote else None
            if part.receipt is None:
                lacking = lacking or reason
            else:
                part.receipt.unconfirmed = part.receipt.unconfirmed or reason
        start += len(part.commands)
    return replies, lacking


def _longest_wait(left: float) -> float:
    """Return how many of the seconds that are left the server may wait, so that its answer comes in time: at least half."""
    return max(left - _TICK - min(left * _RESERVE, _MOST_RESERVED), left / 2)


def _note(part: Send) -> str | None:
    """Return what a flow wants to be known in addition: something that was not confirmed."""
    notes = [each.unconfirmed for each in part.parts or (part,) if not each.commands]
    return next(filter(None, notes), None)


def _share(part: Send) -> float:
    """Return how much of the time that is left the confirmation of a part may take."""
    return part.receipt.share if part.receipt is not None and part.confirm else 1.0


def _with_confirmations(
    context: Context, effect: Send, confirmation: Command
) -> tuple[list[Command], list[int]]:
    """Return commands with what confirms their writes, and where that is.

    One server answers once for all of them. A cluster is asked behind the writes of each part, and sends it to each master once.
    """
    commands: list[Command] = []
    places: list[int] = []
    parts = effect.parts or (effect,)
    last = max([number for number, part in enumerate(parts) if part.confirm], default=-1)
    for number, part in enumerate(parts):
        commands += part.commands[: part.confirm]
        if number == last or (context.clustered and part.confirm):
            places.append(len(commands))
            commands.append(confirmation)
        commands += part.commands[part.confirm :]
    # A doubling of partitions asks for their state behind everything else.
    commands += effect.commands[len(commands) - len(places) :]
    return commands, places


def _missing(context: Context, level: Durability, confirmation: Reply) -> str | None:
    """Return in words what the reply to WAIT or WAITAOF says is missing; None if it confirms.

    Raises:
        ConnectionFailure: the primary became a replica meanwhile. What it wrote may be lost, so it has to be sent again.
    """
    if level.confirmed(confirmation):
        return None
    if type(confirmation) is not ServerError:
        return level.missing(confirmation)
    if confirmation.code == "UNBLOCKED":
        raise ConnectionFailure("closed", f"the server at {context.address} became a replica", sent=True)
    return confirmation.message


def _wrote(reply: Reply) -> bool:
    """Return whether a reply says that its command has written: a script's answer, or a number from 1 on."""
    if type(reply) is list:
        return reply[0] in _WROTE
    return type(reply) is int and reply > 0


def require_confirmable(context: Context, level: Durability) -> Flow[None]:
    """Check that every server of the namespace can confirm writes on a level: on a cluster, the master of each partition.

    Under `everysec`, a warning is logged if WAITAOF is not true.

    Raises:
        ConfigurationError: it cannot; the message says what to do.
        StoreUnavailableError: or a subclass.
    """
    partitions = context.keyspace.partitions()
    tried: set[str] = set()
    for partition in partitions if context.clustered else partitions[:1]:
        yield from _require_confirmable(context, level, partition, tried)
    context.state.confirmable.add(level)


def _require_confirmable(
    context: Context, level: Durability, partition: Partition, tried: set[str]
) -> Flow[None]:
    """Check the server of one partition. `tried` has the ids of servers whose WAITAOF was tried."""
    hidden = context.state.settings_hidden
    commands: tuple[Command, ...] = (level.command(1),)
    if not level.replicas and not hidden:
        commands = (*commands, ("CONFIG", "GET", "appendfsync"))
    if context.clustered:
        commands = (*commands, ("EXISTS", partition.clock))  # leads the others to its master
    until = context.monotonic() + _JOINING
    while True:
        reply, *settings = yield from ask(context, commands, tolerated=_TOLERATED)
        if type(reply) is not int or reply >= level.replicas or context.monotonic() >= until:
            break
        yield Sleep(_PAUSE)
    appendfsync = _appendfsync(settings)
    reason = _refusal(level, reply, appendfsync)
    place = f"the server at {context.address}"
    if context.clustered:
        place = f"the master of {partition.group} in the cluster at {context.address}"
    if reason is not None:
        raise ConfigurationError(f"durable='{level.level}': {place} {reason}")
    if appendfsync != "everysec":
        return
    if context.clustered:
        name = yield from _server_id(context, partition)
        if name in tried:
            return
        if name is not None:
            tried.add(name)
    if (yield from answers_before_fsync(context, partition)):
        _LOG.warning(
            "durable='disk': %s answers WAITAOF before it has called fsync; set appendfsync always, "
            "or a power failure loses confirmed writes",
            place,
        )


def _server_id(context: Context, partition: Partition) -> Flow[str | None]:
    """Return the id that the process of a partition's master gave itself; None if it does not report it."""
    info, _ = yield from ask(context, (("INFO", "server"), ("EXISTS", partition.clock)), tolerated=_TOLERATED)
    found = _RUN_ID.search(info) if isinstance(info, bytes) else None
    return found[1].decode() if found is not None else None


def _appendfsync(settings: Sequence[Reply]) -> str | None:
    """Return the setting in the reply to CONFIG GET; None if it was not asked for or is refused."""
    if not settings or type(settings[0]) is not list or len(settings[0]) != 2:
        return None
    return str(settings[0][1], "utf-8", "replace")


def _refusal(level: Durability, reply: Reply, appendfsync: str | None) -> str | None:
    """Return in words why the server cannot confirm writes, and what to do; None if it can."""
    if type(reply) is ServerError:
        text = reply.message.lower()
        if reply.code == "NOPERM":
            return f"does not permit {level.verb} to this user; keyweave acl --durable {level.level} prints the rule"
        if "appendonly" in text:
            return "keeps no append-only file; set appendonly yes on it, or open the store without durable"
        if "replica" in text:
            return "is a replica; open the store on the primary"
        if "unknown command" in text:
            return f"does not know {level.verb}; it takes Redis 7.2 or Valkey"
        return f"refuses {level.verb}: {reply.message}"
    if level.replicas:
        if type(reply) is int and reply >= level.replicas:
            return None
        found = reply if type(reply) is int else "an unknown number of"
        return f"has {found} replicas online; add replicas, or lower the number"
    if appendfsync == "no":
        return "has appendfsync no, and never confirms; set appendfsync always or everysec"
    if type(reply) is list and len(reply) == 2:
        return None
    return "does not answer WAITAOF with two numbers; it cannot confirm writes"
