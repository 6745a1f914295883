"""Measures the server and the backlog of the sweepers in one round trip, for gauges. On a cluster, every master that holds groups, in two.

Nothing is sent twice: the next measurement is worth more than a retry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError
from keyweave.errors import AuthenticationError, KeyweaveError
from keyweave.exchange.deadline import estimated_time
from keyweave.health.partitions import sizes_asked, sizes_in
from keyweave.store.context import Context

if TYPE_CHECKING:
    from keyweave.health.report import PartitionFacts

_SECTIONS = ("memory", "stats", "clients", "persistence")


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state of a server at one moment, or of the masters that hold the groups. What the user may not read is None.

    Attributes:
        up: whether it answered, or all of them did.
        memory_used, memory_limit: in bytes; the limit is None without one. Of several masters, those of the fullest.
        keys: number of keys in the logical database, on all masters.
        clients: number of connected clients, of all these masters.
        evicted: number of keys that they have evicted since they started.
        durable: whether each keeps an append-only file and its last write to it succeeded.
        overdue: number of rows past their deadline that are not swept yet, in this store's namespace.
        lag: microseconds since the earliest of their deadlines.
        partitions: what each partition of groups with several holds, without its homes.
    """

    up: bool
    memory_used: int | None = None
    memory_limit: int | None = None
    keys: int | None = None
    clients: int | None = None
    evicted: int | None = None
    durable: bool | None = None
    overdue: int | None = None
    lag: int | None = None
    partitions: tuple[PartitionFacts, ...] = ()


def measure(context: Context) -> Flow[ServerState]:
    """Return the server's state. A server that does not answer has `up=False`; this flow raises no error itself."""
    partitions = context.keyspace.partitions()
    try:
        now = yield from estimated_time(context.without_retries(), partitions[0])
    except AuthenticationError:
        now = context.clock(partitions[0]).now()
    except KeyweaveError:
        return ServerState(up=False)
    sections = (*_SECTIONS, "server") if context.clustered else _SECTIONS
    asked: tuple[Command, ...] = tuple(("INFO", section) for section in sections)
    commands: list[Command] = [*asked, ("DBSIZE",)]
    for partition in partitions:
        commands.append(("ZCOUNT", partition.expiry, "-inf", now))
        commands.append(("ZRANGE", partition.expiry, 0, 0, "WITHSCORES"))
    cut = len(commands)
    sizes = sizes_asked(context, homes=False)
    sized = [command for _, asking in sizes for command in asking]
    commands += sized
    rest = len(commands)
    others = partitions[1:] if context.clustered else ()
    for partition in others:
        commands += (("EXISTS", partition.clock), ("INFO", "server"))  # the key leads to its master
    try:
        replies = yield Send(tuple(commands))
        answers = [replies[: len(asked)]]
        known = {_fields(answers[0][-1]).get("run_id")}
        elsewhere: list[Command] = []
        for partition, reply in zip(others, replies[rest + 1 :: 2], strict=True):
            name = _fields(reply).get("run_id")
            if name not in known:
                known.add(name)
                elsewhere += (("EXISTS", partition.clock), *asked)
        there = (yield Send(tuple(elsewhere))) if elsewhere else []
        answers += [
            there[start + 1 : start + 1 + len(asked)] for start in range(0, len(there), len(asked) + 1)
        ]
    except (ConnectionFailure, KeyweaveError):
        return ServerState(up=False)
    servers = _servers(answers)
    fullest = max(servers, key=_fullness)
    keys, *expiry = replies[len(asked) : cut]
    overdue, lag = _backlog(expiry, now)
    return ServerState(
        up=True,
        memory_used=_number(fullest, "used_memory"),
        memory_limit=_number(fullest, "maxmemory") or None,
        keys=keys if isinstance(keys, int) else None,
        clients=_sum(servers, "connected_clients"),
        evicted=_sum(servers, "evicted_keys"),
        durable=_all(map(_durable, servers)),
        overdue=overdue,
        lag=lag,
        partitions=sizes_in(context, sizes, replies[cut:rest], homes=False),
    )


def _servers(answers: Sequence[Sequence[Reply]]) -> list[dict[str, str]]:
    """Return what each server reported, once for each server."""
    found: dict[str, dict[str, str]] = {}
    for number, replies in enumerate(answers):
        fields: dict[str, str] = {}
        for reply in replies:
            fields |= _fields(reply)
        found[fields.get("run_id", str(number))] = fields
    return list(found.values())


def _fullness(fields: dict[str, str]) -> tuple[float, int]:
    used, limit = _number(fields, "used_memory") or 0, _number(fields, "maxmemory") or 0
    return used / limit if limit else 0.0, used


def _sum(servers: Sequence[dict[str, str]], name: str) -> int | None:
    numbers = [number for fields in servers if (number := _number(fields, name)) is not None]
    return sum(numbers) if len(numbers) == len(servers) else None


def _all(found: Iterable[bool | None]) -> bool | None:
    """Return False if one is False, else None if one is not known."""
    states = set(found)
    return False if False in states else None if None in states else True


def _fields(reply: Any) -> dict[str, str]:
    if not isinstance(reply, bytes):
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _number(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    return int(text) if text.isdigit() else None


def _durable(fields: dict[str, str]) -> bool | None:
    if "aof_enabled" not in fields:
        return None
    return fields["aof_enabled"] == "1" and fields.get("aof_last_write_status", "ok") == "ok"


def _backlog(expiry: list[Any], now: int) -> tuple[int | None, int | None]:
    """Return the number of due rows in all partitions, and microseconds since their earliest deadline."""
    if any(type(reply) is ServerError for reply in expiry):
        return None, None
    overdue = sum(int(number) for number in expiry[0::2])
    deadlines = [float(first[1]) for first in expiry[1::2] if first]
    return overdue, max([0, *(now - int(deadline) for deadline in deadlines)])
