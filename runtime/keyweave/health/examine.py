"""Examines a server and a namespace: one round trip, no retries. A fact that a server refuses to report is unknown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import refusal_error
from keyweave.exchange.deadline import micros_of
from keyweave.health.connect import ask_once, facts_in, questions
from keyweave.health.diagnose import diagnose
from keyweave.health.limits import Limits
from keyweave.health.report import Health
from keyweave.store.context import Context
from keyweave.store.registry import FINGERPRINT


def examine(
    context: Context,
    *,
    memory_budget: int | None = None,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
) -> Flow[Health]:
    """Examine the server and the namespace. Nothing is retried: a probe reports the state as it is now.

    Args:
        memory_budget: bytes that the data may take; the server's own limit by default.
        limits: thresholds above which something is a finding.
        wall: this machine's clock, in seconds since 1970.

    Raises:
        ConfigurationError: the budget is not positive.
        StoreUnavailableError: or a subclass: the server does not answer.
    """
    if memory_budget is not None and memory_budget <= 0:
        raise ConfigurationError("memory_budget: must be more than 0 bytes")
    partitions = context.keyspace.partitions()
    oldest: list[Command] = [("ZRANGE", partition.expiry, 0, 0, "WITHSCORES") for partition in partitions]
    schemas: list[Command] = [("HGET", partition.schema, FINGERPRINT) for partition in partitions]
    before, started = wall(), context.monotonic()
    asked = questions(context)
    replies = yield from ask_once(context, (*asked, *oldest, *schemas))
    latency = context.monotonic() - started
    refusal = replies[1]
    if isinstance(refusal, ServerError):
        raise refusal_error(context, refusal)
    now = micros_of(refusal)
    lags, prints = replies[len(asked) : -len(schemas)], replies[-len(schemas) :]
    facts = facts_in(replies[: len(asked)])
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
    return msgspec.structs.replace(health, findings=diagnose(health, limits))


def _skew(server: float, before: float, after: float) -> float:
    """Return by how many seconds the server's time lies outside the round trip in which it was read."""
    if server < before:
        return server - before
    return max(0.0, server - after)


def _lag(now: int, oldest: Sequence[Reply]) -> float:
    scores = [float(reply[1]) for reply in oldest if isinstance(reply, list) and len(reply) == 2]
    return max([0.0, *((now - score) / 1_000_000 for score in scores)])


def _data_schema(own: str, replies: Sequence[Reply]) -> str | None:
    """Return the fingerprint that the partitions carry, preferring one that differs from this code's."""
    carried = [reply.decode() for reply in replies if isinstance(reply, bytes)]
    return next((each for each in carried if each != own), own if carried else None)
