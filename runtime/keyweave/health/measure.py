"""Measures the server and the backlog of the sweepers in one round trip, for gauges.

Nothing is sent twice: the next measurement is worth more than a retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyweave.effects import Command, ConnectionFailure, Flow, Send, ServerError
from keyweave.errors import AuthenticationError, KeyweaveError
from keyweave.exchange.deadline import estimated_time
from keyweave.store.context import Context

_SECTIONS = ("memory", "stats", "clients", "persistence")


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state of a server at one moment. What the user may not read is None.

    Attributes:
        up: whether it answered.
        memory_used, memory_limit: in bytes; the limit is None without one.
        keys: number of keys in the logical database.
        clients: number of connected clients.
        evicted: number of keys that the server has evicted since it started.
        durable: whether it keeps an append-only file and its last write to it succeeded.
        overdue: number of rows past their deadline that are not swept yet, in this store's namespace.
        lag: microseconds since the earliest of their deadlines.
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


def measure(context: Context) -> Flow[ServerState]:
    """Return the server's state. A server that does not answer has `up=False`; this flow raises no error itself."""
    partitions = context.keyspace.partitions()
    try:
        now = yield from estimated_time(context.without_retries(), partitions[0])
    except AuthenticationError:
        now = context.clock(partitions[0]).now()
    except KeyweaveError:
        return ServerState(up=False)
    commands: list[Command] = [("INFO", section) for section in _SECTIONS]
    commands.append(("DBSIZE",))
    for partition in partitions:
        commands.append(("ZCOUNT", partition.expiry, "-inf", now))
        commands.append(("ZRANGE", partition.expiry, 0, 0, "WITHSCORES"))
    try:
        replies = yield Send(tuple(commands))
    except (ConnectionFailure, KeyweaveError):
        return ServerState(up=False)
    fields: dict[str, str] = {}
    for reply in replies[: len(_SECTIONS)]:
        fields |= _fields(reply)
    keys, *expiry = replies[len(_SECTIONS) :]
    overdue, lag = _backlog(expiry, now)
    return ServerState(
        up=True,
        memory_used=_number(fields, "used_memory"),
        memory_limit=_number(fields, "maxmemory") or None,
        keys=keys if isinstance(keys, int) else None,
        clients=_number(fields, "connected_clients"),
        evicted=_number(fields, "evicted_keys"),
        durable=_durable(fields),
        overdue=overdue,
        lag=lag,
    )


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
