"""Examining a server: when a store opens, and whenever somebody asks how it is. One round trip each time.

Only PING and TIME have to succeed. Whatever else a server refuses to tell is unknown, so that a store opens as well
on managed services and under narrow access rules.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from keyweave.context import Context
from keyweave.diagnosis import diagnose
from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError
from keyweave.errors import ConfigurationError
from keyweave.flows.asking import failure_error, refusal_error
from keyweave.health import Health
from keyweave.limits import Limits
from keyweave.registry import FINGERPRINT
from keyweave.server_facts import ServerFacts, read_facts

_TRIAL: Final = "#!lua\nreturn 1"
"""The smallest script that might write, as far as the server knows: it refuses this one whenever it would refuse a write,
and for the same reason, and it shows whether this user may run scripts at all. Nothing is written."""

_PASSING: Final = frozenset({"LOADING", "BUSY", "UNKILLABLE", "MASTERDOWN"})
"""Refusals that say nothing about whether the server runs scripts at other times."""

_WRITES: Final = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS"})
"""Refusals of writes by a server that would run the script otherwise."""

_QUESTIONS: Final[tuple[Command, ...]] = (
    ("PING",),
    ("TIME",),
    ("INFO",),
    ("EVAL", _TRIAL, 0),
    ("CONFIG", "GET", "appendfsync", "save"),
)


def connect(context: Context) -> Flow[ServerFacts]:
    """Make sure that the server answers, once; take its time and what it says about itself.

    Raises:
        StoreUnavailableError: or one of its children.
    """
    replies = yield from _once(context, _QUESTIONS)
    for reply in replies[:2]:
        if isinstance(reply, ServerError):
            raise refusal_error(context, reply)
    context.clock.set(_micros(replies[1]))
    # Asked once and refused, it is not asked again: a server counts and logs every refusal.
    context.settings_hidden = isinstance(replies[4], ServerError)
    return _facts(replies)


def examine(
    context: Context,
    *,
    memory_budget: int | None = None,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
) -> Flow[Health]:
    """Look at the server and the namespace. Nothing is retried: a probe wants to know how it is now.

    Args:
        memory_budget: bytes that the data may take; the server's own limit by default.
        limits: from where on something is a finding.
        wall: this machine's clock, in seconds since 1970.

    Raises:
        ConfigurationError: the budget is not positive.
        StoreUnavailableError: or one of its children: the server does not answer at all.
    """
    if memory_budget is not None and memory_budget <= 0:
        raise ConfigurationError("memory_budget: must be more than 0 bytes")
    partitions = context.keyspace.partitions()
    oldest: list[Command] = [("ZRANGE", partition.expiry, 0, 0, "WITHSCORES") for partition in partitions]
    schemas: list[Command] = [("HGET", partition.schema, FINGERPRINT) for partition in partitions]
    before, started = wall(), context.monotonic()
    questions = _QUESTIONS[:-1] if context.settings_hidden else _QUESTIONS
    replies = yield from _once(context, (*questions, *oldest, *schemas))
    latency = context.monotonic() - started
    refusal = replies[1]
    if isinstance(refusal, ServerError):
        raise refusal_error(context, refusal)
    now = _micros(refusal)
    lags, prints = replies[len(questions) : -len(schemas)], replies[-len(schemas) :]
    facts = _facts(replies[: len(questions)])
    health = Health(
        address=context.address,
        encrypted=context.encrypted,
        local=context.local,
        serving=not isinstance(replies[0], ServerError) and not isinstance(replies[3], ServerError),
        latency=latency,
        clock_skew=_skew(now / 1_000_000, before, before + latency),
        sweep_lag=_lag(now, lags),
        memory_budget=memory_budget or facts.max_memory or None,
        schema=context.package.fingerprint,
        data_schema=_data_schema(context.package.fingerprint, prints),
        server=facts,
    )
    limits = limits or Limits(grace=context.policy.grace_ms / 1000)
    return dataclasses.replace(health, findings=diagnose(health, limits))


def _once(context: Context, commands: tuple[Command, ...]) -> Flow[list[Reply]]:
    try:
        replies: list[Reply] = yield Send(commands)
    except ConnectionFailure as failure:
        raise failure_error(context, failure) from None
    return replies


def _facts(replies: Sequence[Reply]) -> ServerFacts:
    info, trial, settings = (*replies[2:], None)[:3]
    code = trial.code if isinstance(trial, ServerError) else None
    scripts = None if code in _PASSING else code is None or code in _WRITES
    return read_facts(info, settings, scripts=scripts, refusal=code if code in _WRITES else None)


def _micros(reply: Any) -> int:
    seconds, micros = reply
    return int(seconds) * 1_000_000 + int(micros)


def _skew(server: float, before: float, after: float) -> float:
    """How far the server's time lies outside the round trip in which it was read."""
    if server < before:
        return server - before
    return max(0.0, server - after)


def _lag(now: int, oldest: Sequence[Reply]) -> float:
    scores = [float(reply[1]) for reply in oldest if isinstance(reply, list) and len(reply) == 2]
    return max([0.0, *((now - score) / 1_000_000 for score in scores)])


def _data_schema(own: str, replies: Sequence[Reply]) -> str | None:
    """The fingerprint that the partitions carry: one that is not this code's, if any is."""
    carried = [reply.decode() for reply in replies if isinstance(reply, bytes)]
    return next((each for each in carried if each != own), own if carried else None)
