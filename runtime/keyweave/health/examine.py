"""Examines a server and a namespace: one round trip, no retries. A fact that a server refuses to report is unknown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import refusal_error
from keyweave.exchange.deadline import micros_of
from keyweave.health.connect import ELSEWHERE, ask_once, facts_in, lasting, questions, skew
from keyweave.health.diagnose import diagnose
from keyweave.health.facts import ServerFacts
from keyweave.health.limits import Limits
from keyweave.health.partitions import sizes_asked, sizes_in
from keyweave.health.report import Health, Master, SentinelAnswer
from keyweave.store.context import Context
from keyweave.store.registry import FINGERPRINT

_PROBES: Final[tuple[tuple[str, Command], ...]] = (
    ("no-script", ("SCRIPT", "EXISTS", "0" * 40)),
    ("keys-required", ("EVAL", "#!lua flags=no-writes\nreturn 1", 0)),
    ("no-scan", ("SCAN", 0, "COUNT", 1)),
)
"""Restrictions, and harmless commands that are refused where there is one."""


def examine(
    context: Context,
    *,
    memory_budget: int | None = None,
    limits: Limits | None = None,
    probing: bool = False,
    database: int | None = None,
    sentinels: tuple[SentinelAnswer, ...] = (),
    wall: Callable[[], float] = time.time,
) -> Flow[Health]:
    """Examine the server and the namespace, in one exchange if `database` is None; on a cluster with two more for the other masters.

    Nothing is retried: a probe reports the state as it is now.

    Args:
        memory_budget: bytes that the data may take; the server's own limit by default.
        limits: thresholds above which something is a finding.
        probing: look for restrictions, by commands that only show whether they are refused. A server may log each refusal.
        database: the number of the connection's database, to look also for restrictions that need exchanges of their own.
        sentinels: what the Sentinels say.
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
    more = tuple([command for _, command in _PROBES]) if probing else ()
    sizes = sizes_asked(context)
    sized = [command for _, commands in sizes for command in commands]
    replies = yield from ask_once(context, (*asked, *oldest, *schemas, *sized, *more))
    latency = context.monotonic() - started
    refusal = replies[1]
    if isinstance(refusal, ServerError):
        raise refusal_error(context, refusal)
    now = micros_of(refusal)
    refusals = replies[len(replies) - len(more) :]
    del replies[len(replies) - len(more) :]
    numbers = replies[len(replies) - len(sized) :]
    del replies[len(replies) - len(sized) :]
    lags, prints = replies[len(asked) : -len(schemas)], replies[-len(schemas) :]
    facts = facts_in(replies[: len(asked)])
    if facts.refusal is None:
        facts = msgspec.structs.replace(facts, refusal=_elsewhere((*lags, *prints)))
    if probing:
        found = _restrictions(facts, replies[len(asked) - 1], refusals)
        if database is not None:
            from keyweave.health.restrictions import costly_restrictions  # probes do without

            found += yield from costly_restrictions(context, database)
        facts = msgspec.structs.replace(facts, restrictions=tuple(found))
    health = Health(
        address=context.address,
        encrypted=context.encrypted,
        local=context.local,
        serving=facts.refusal not in ELSEWHERE
        and not isinstance(replies[0], ServerError)
        and not isinstance(replies[3], ServerError),
        latency=latency,
        clock_skew=skew(now / 1_000_000, before, before + latency),
        sweep_lag=_lag(now, lags),
        memory_budget=memory_budget or facts.max_memory or None,
        schema=context.package.fingerprint,
        data_schema=_data_schema(context.package.fingerprint, prints),
        server=facts,
        command_words=context.policy.command_words,
        sentinels=sentinels,
        partitions=sizes_in(context, sizes, numbers),
    )
    limits = limits or Limits(grace=context.policy.grace_ms / 1000)
    if not context.clustered:
        return msgspec.structs.replace(health, findings=diagnose(health, limits))
    from keyweave.health.masters import all_masters, with_masters  # stores on one server do without

    first = Master(
        groups=(partitions[0].group,),
        partitions={partitions[0].group: (0,)},
        serving=health.serving,
        clock_skew=health.clock_skew,
        server=facts,
    )
    masters = yield from all_masters(context, first, replies[2], wall)
    return with_masters(health, masters, limits, memory_budget)


def _elsewhere(replies: Sequence[Reply]) -> str | None:
    """Return the error code with which a node of a cluster says that it does not serve the keys of some group."""
    codes = [reply.code for reply in replies if isinstance(reply, ServerError)]
    return next((code for code in codes if code in ELSEWHERE), None)


def _restrictions(facts: ServerFacts, settings: Reply, refusals: Sequence[Reply]) -> list[str]:
    """Return the restrictions in the facts, in the reply to CONFIG GET, and in those to the probes."""
    found = ["no-config"] if lasting(settings) else []
    found += [name for (name, _), reply in zip(_PROBES, refusals, strict=True) if lasting(reply)]
    return [*found, "declared-keys"] if facts.declared_keys else found


def _lag(now: int, oldest: Sequence[Reply]) -> float:
    scores = [float(reply[1]) for reply in oldest if isinstance(reply, list) and len(reply) == 2]
    return max([0.0, *((now - score) / 1_000_000 for score in scores)])


def _data_schema(own: str, replies: Sequence[Reply]) -> str | None:
    """Return the fingerprint that the partitions carry, preferring one that differs from this code's."""
    carried = [reply.decode() for reply in replies if isinstance(reply, bytes)]
    return next((each for each in carried if each != own), own if carried else None)
