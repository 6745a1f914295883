"""What each level of durability means on a server: whether it can be had, whether it is true, and what it costs.

The answer of WAITAOF is tried where it can be untrue; everything else are facts.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

import msgspec

from keyweave.effects import Command, Flow, Reply
from keyweave.exchange.ask import ask
from keyweave.exchange.trial import answers_before_fsync
from keyweave.health.facts import ServerFacts
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_SETTING: Final[Command] = ("CONFIG", "GET", "min-replicas-to-write")
_REFUSED: Final = frozenset({"ERR", "NOPERM"})

_UNTRIED: Final = (
    "WAITAOF could not be tried: it takes the permission (keyweave acl --durable disk), Redis 7.2 or Valkey, and a server "
    "that accepts writes"
)
_EARLY: Final = (
    "the server answers WAITAOF before it has called fsync: a loss of power loses confirmed writes of the last second or "
    "two; set appendfsync always"
)


class Standing(enum.StrEnum):
    """Whether a store gets a level on this server."""

    TRUE = "true"
    UNTRUE = "untrue"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One level of durability on one server.

    Attributes:
        name: `none`, `disk` or `replicas`.
        standing: whether a store with the level gets it.
        meaning: what a write waits for, and what a failure loses.
    """

    name: str
    standing: Standing
    meaning: str


def levels(
    context: Context, server: ServerFacts, partition: Partition | None = None
) -> Flow[tuple[Level, ...]]:
    """Return what each level means on a server, of which everything else is known.

    Under `appendfsync everysec` WAITAOF is tried, which takes up to 0.9 s and writes a key that expires at once.

    Args:
        server: the facts that it reports.
        partition: on a cluster, one that the server holds; the first one by default.

    Raises:
        StoreUnavailableError: or a subclass: the server does not answer, or is loading.
    """
    partition = partition or context.keyspace.partitions()[0]
    there: tuple[Command, ...] = (("EXISTS", partition.clock),) if context.clustered else ()
    reply, *_ = yield from ask(context, (_SETTING, *there), tolerated=_REFUSED)
    early: bool | None = None
    if server.role == "primary" and server.aof and server.refusal is None:
        if server.appendfsync in ("everysec", None):
            early = yield from answers_before_fsync(context, partition)
        else:
            early = False
    return tuple(_levels(server, _number(reply), early))


def _number(reply: Reply) -> int | None:
    known = type(reply) is list and len(reply) == 2 and bytes(reply[1]).isdigit()
    return int(reply[1]) if known else None


def _levels(server: ServerFacts, least: int | None, early: bool | None) -> Iterator[Level]:
    yield Level(name="none", standing=Standing.TRUE, meaning=_without(server))
    standing, meaning = _disk(server, early)
    yield Level(name="disk", standing=standing, meaning=meaning)
    standing, meaning = _replicas(server, least)
    yield Level(name="replicas", standing=standing, meaning=meaning)


def _without(server: ServerFacts) -> str:
    kept = {
        "always": "a loss of power loses no answered write",
        "everysec": "a loss of power loses the last second or two",
        "no": "a loss of power loses about 30 seconds",
        None: "what a loss of power loses depends on appendfsync, which the server does not report",
    }
    if server.aof is False:
        lost = "everything since the last snapshot" if server.snapshots else "everything that no snapshot has"
        return f"a write is answered when it is in memory; a restart loses {lost}"
    return (
        f"a write is answered when it is in memory; {kept.get(server.appendfsync, kept[None])}, "
        "and a failover what the replica had not received"
    )


def _disk(server: ServerFacts, early: bool | None) -> tuple[Standing, str]:
    if server.role == "replica":
        return Standing.REFUSED, "the server is a replica"
    if server.aof is False:
        return Standing.REFUSED, "the server keeps no append-only file; set appendonly yes"
    if server.appendfsync == "no":
        return Standing.REFUSED, "under appendfsync no the server never confirms; set always or everysec"
    if early is None:
        return Standing.UNKNOWN, _UNTRIED
    if early:
        return Standing.UNTRUE, _EARLY
    if server.appendfsync == "always":
        return Standing.TRUE, "a write waits for its fsync, which under appendfsync always every write does"
    return Standing.TRUE, "a write waits up to a second, until the server calls fsync"


def _replicas(server: ServerFacts, least: int | None) -> tuple[Standing, str]:
    if server.role == "replica":
        return Standing.REFUSED, "the server is a replica"
    if server.role is None:
        return Standing.UNKNOWN, "the server does not report its replicas"
    online = sum(replica.state == "online" for replica in server.replicas)
    if least is None:
        also = "whether the server refuses writes without replicas is not reported (min-replicas-to-write)"
    elif least:
        also = f"min-replicas-to-write is {least}: with fewer replicas the server refuses every write"
    else:
        also = "min-replicas-to-write is 0: the server also answers writes that no replica will receive"
    if not online:
        return Standing.REFUSED, f"no replica is online; {also}"
    most = "" if online == 1 else f" to replicas:{online}"
    return Standing.TRUE, f"replicas:1{most}: a write waits until so many replicas have it in memory; {also}"
