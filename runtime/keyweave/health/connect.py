"""The first exchange of a store with its server: whether it answers, its time, and the facts that it reports.

Only PING and TIME must succeed. A fact that a server refuses to report is unknown, so a store also opens on managed
services and under narrow access rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError
from keyweave.exchange.ask import failure_error, refusal_error
from keyweave.exchange.deadline import micros_of, time_commands
from keyweave.health.facts import ServerFacts, read_facts
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_TRIAL: Final = "#!lua\nreturn 1"
"""A script without the flag no-writes: the server refuses it whenever it would refuse a write, with the same error. It
also shows whether this user may run scripts at all. It writes nothing."""

_PROBE: Final = """#!lua flags=no-writes
local reply = redis.pcall('EXISTS', ARGV[1])
if type(reply) == 'table' and string.find(string.lower(reply.err), 'declared') then
  return reply
end
return 1"""
"""A script that shows whether scripts may access a key that is not declared. A replica and a server at its memory limit
run it as well, because it only reads."""

_TRANSIENT: Final = frozenset({"LOADING", "BUSY", "UNKILLABLE", "MASTERDOWN"})
"""Error codes that do not show whether the server runs scripts at other times."""

_WRITES: Final = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS"})
"""Error codes of a server that refuses writes and would run the script otherwise."""

ELSEWHERE: Final = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"})
"""Error codes of a cluster that does not serve the keys here, or not now. Whether it runs scripts is not known."""

_UNDECLARED: Final = re.compile(
    "(?!.*rehashing of the slot).*(undeclared|not declared)", re.IGNORECASE | re.DOTALL
)
"""Matches the error of a script that accesses a key which the caller did not declare, but not where that is refused only because
its slot moves."""

_LASTING: Final = frozenset({"ERR", "NOPERM"})
"""Codes of refusals that do not depend on the server's state."""

SETTINGS: Final[Command] = ("CONFIG", "GET", "appendfsync", "save")
"""The last of `questions`, which many managed services refuse."""


def questions(context: Context, partition: Partition | None = None) -> tuple[Command, ...]:
    """Return the commands that are sent when a store is opened and when its health is examined.

    Args:
        partition: on a cluster, the one whose master is asked; the first one by default.
    """
    partition = partition or context.keyspace.partitions()[0]
    trial: Command = ("EVAL", _TRIAL, 1, partition.clock)
    probe: Command = ("EVAL", _PROBE, 1, partition.clock, partition.expiry)
    asked: tuple[Command, ...] = (("PING",), ("TIME",), ("INFO",), trial, probe)
    return asked if context.state.settings_hidden else (*asked, SETTINGS)


def connect(context: Context) -> Flow[ServerFacts]:
    """Check once that the server answers; set the store's clock, and return the facts that the server reports.

    Raises:
        StoreUnavailableError: or a subclass: the server does not answer, or refuses PING or TIME.
    """
    replies = yield from ask_once(context, questions(context))
    for reply in replies[:2]:
        if isinstance(reply, ServerError):
            raise refusal_error(context, reply)
    context.clock(context.keyspace.partitions()[0]).set(micros_of(replies[1]))
    if context.clustered:
        for partition in context.keyspace.partitions()[1:]:
            *_, time = yield from ask_once(context, time_commands(context, partition))
            if not isinstance(time, ServerError):
                context.clock(partition).set(micros_of(time))
    # A refused CONFIG GET is not sent again: a server counts and logs every refusal.
    context.state.settings_hidden = context.state.settings_hidden or isinstance(replies[-1], ServerError)
    return facts_in(replies)


def ask_once(context: Context, commands: tuple[Command, ...]) -> Flow[list[Reply]]:
    """Send commands once and return their replies. A probe reports the server as it is now, so it does not retry.

    Raises:
        StoreUnavailableError: or a subclass: the connection cannot be used.
    """
    try:
        replies: list[Reply] = yield Send(commands)
    except ConnectionFailure as failure:
        raise failure_error(context, failure) from None
    return replies


def facts_in(replies: Sequence[Reply]) -> ServerFacts:
    """Return the facts in the replies to `questions`; the reply to the last one may be missing."""
    info, trial, probe, settings = (*replies[2:], None)[:4]
    code = trial.code if isinstance(trial, ServerError) else None
    return read_facts(
        info,
        settings,
        scripts=None if code in _TRANSIENT | ELSEWHERE else code is None or code in _WRITES,
        declared_keys=isinstance(probe, ServerError) and _UNDECLARED.match(probe.message) is not None,
        refusal=code if code in _WRITES | ELSEWHERE else None,
    )


def skew(server: float, before: float, after: float) -> float:
    """Return by how many seconds the server's time lies outside the round trip in which it was read."""
    if server < before:
        return server - before
    return max(0.0, server - after)


def lasting(reply: Reply) -> bool:
    """Return whether a command was refused, and would be refused at any time."""
    return isinstance(reply, ServerError) and reply.code in _LASTING
