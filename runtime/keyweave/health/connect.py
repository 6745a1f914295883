"""The first exchange of a store with its server: does it answer, what time is it there, what does it say about itself.

Only PING and TIME have to succeed. What a server refuses to tell is unknown, so a store also opens on managed services
and under narrow access rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError
from keyweave.exchange.ask import failure_error, refusal_error
from keyweave.exchange.deadline import micros_of
from keyweave.health.facts import ServerFacts, read_facts
from keyweave.store.context import Context

_TRIAL: Final = """#!lua
local reply = redis.pcall('EXISTS', ARGV[1])
if type(reply) == 'table' and string.find(string.lower(reply.err), 'declared') then
  return reply
end
return 1"""
"""A script that might write, as far as the server knows: it refuses this one whenever it would refuse a write, and for the
same reason. It also shows whether this user may run scripts at all, and whether they may touch a key that is not declared.
Nothing is written."""

_PASSING: Final = frozenset({"LOADING", "BUSY", "UNKILLABLE", "MASTERDOWN"})
"""Refusals that say nothing about whether the server runs scripts at other times."""

_WRITES: Final = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS"})
"""Refusals of writes by a server that would run the script otherwise."""

_UNDECLARED: Final = re.compile("undeclared|not declared", re.IGNORECASE)
"""What servers say about a script that touches a key which the caller did not declare."""

SETTINGS: Final[Command] = ("CONFIG", "GET", "appendfsync", "save")
"""The last question, which many services refuse."""


def questions(context: Context) -> tuple[Command, ...]:
    """What is asked of a server when a store is opened, and whenever its health is."""
    partition = context.keyspace.partitions()[0]
    trial: Command = ("EVAL", _TRIAL, 1, partition.clock, partition.expiry)
    asked: tuple[Command, ...] = (("PING",), ("TIME",), ("INFO",), trial)
    return asked if context.state.settings_hidden else (*asked, SETTINGS)


def connect(context: Context) -> Flow[ServerFacts]:
    """Make sure that the server answers, once; take its time and what it says about itself.

    Raises:
        StoreUnavailableError: or one of its children.
    """
    replies = yield from ask_once(context, questions(context))
    for reply in replies[:2]:
        if isinstance(reply, ServerError):
            raise refusal_error(context, reply)
    context.state.clock.set(micros_of(replies[1]))
    # Asked once and refused, it is not asked again: a server counts and logs every refusal.
    context.state.settings_hidden = isinstance(replies[4], ServerError)
    return facts_in(replies)


def ask_once(context: Context, commands: tuple[Command, ...]) -> Flow[list[Reply]]:
    """Send commands once. A probe reports the server as it is now, so nothing is sent again.

    Raises:
        StoreUnavailableError: or one of its children: the connection cannot be used.
    """
    try:
        replies: list[Reply] = yield Send(commands)
    except ConnectionFailure as failure:
        raise failure_error(context, failure) from None
    return replies


def facts_in(replies: Sequence[Reply]) -> ServerFacts:
    """What a server says about itself, in the replies to `questions`; the last one may be missing."""
    info, trial, settings = (*replies[2:], None)[:3]
    refused = trial if isinstance(trial, ServerError) else None
    code = refused.code if refused is not None else None
    declared = refused is not None and _UNDECLARED.search(refused.message) is not None
    runs = code is None or code in _WRITES or declared
    return read_facts(
        info,
        settings,
        scripts=None if code in _PASSING else runs,
        declared_keys=declared,
        refusal=code if code in _WRITES else None,
    )
