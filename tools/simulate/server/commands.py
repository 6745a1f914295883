"""The table of commands: what carries each out, and whether it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from tools.simulate.server import hashes, sorted_sets, strings
from tools.simulate.server.database import Database


class Command(NamedTuple):
    """One command of the server.

    Attributes:
        run: carries it out on a database, with the words behind its name.
        writes: a replica refuses it.
        grows: a server at its memory limit refuses it.
    """

    run: Callable[[Database, Sequence[bytes]], Any]
    writes: bool = False
    grows: bool = False


def time(database: Database, _words: Sequence[bytes]) -> list[bytes]:
    """TIME."""
    seconds, micros = divmod(database.now, 1_000_000)
    return [b"%d" % seconds, b"%d" % micros]


def ping(_database: Database, _words: Sequence[bytes]) -> bytes:
    """PING."""
    return strings.StatusReply(b"PONG")


def dbsize(database: Database, _words: Sequence[bytes]) -> int:
    """DBSIZE."""
    return len(database.values)


def info(_database: Database, _words: Sequence[bytes]) -> bytes:
    """INFO, as far as opening a store reads it."""
    return (
        b"redis_version:8.0.0\r\nrole:master\r\nloading:0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"
    )


def config(_database: Database, _words: Sequence[bytes]) -> list[bytes]:
    """CONFIG GET, as far as opening a store reads it."""
    return [b"appendfsync", b"everysec", b"save", b""]


_READS: Final = (
    strings.get,
    strings.getrange,
    strings.strlen,
    strings.mget,
    strings.exists,
    strings.pexpiretime,
    strings.pttl,
    strings.scan,
    hashes.hget,
    hashes.hmget,
    hashes.hlen,
    hashes.hexists,
    hashes.hgetall,
    hashes.hscan,
    sorted_sets.zcard,
    sorted_sets.zscore,
    sorted_sets.zmscore,
    sorted_sets.zrank,
    sorted_sets.zrevrank,
    sorted_sets.zrange,
    sorted_sets.zrevrange,
    sorted_sets.zcount,
    sorted_sets.zrangebyscore,
    sorted_sets.zrevrangebyscore,
    sorted_sets.zlexcount,
    sorted_sets.zrangebylex,
    sorted_sets.zrevrangebylex,
    sorted_sets.zinter,
    sorted_sets.zintercard,
    sorted_sets.zscan,
    time,
    ping,
    dbsize,
    info,
    config,
)
_FREES: Final = (
    strings.expire,
    strings.pexpire,
    strings.pexpireat,
    strings.persist,
    strings.renamenx,
    hashes.hdel,
    sorted_sets.zrem,
    sorted_sets.zremrangebyscore,
    sorted_sets.zremrangebyrank,
)
_GROWS: Final = (
    strings.setrange,
    strings.incrby,
    hashes.hset,
    hashes.hsetnx,
    hashes.hincrby,
    sorted_sets.zadd,
)

COMMANDS: Final[dict[bytes, Command]] = {
    **{run.__name__.upper().encode(): Command(run) for run in _READS},
    **{run.__name__.upper().encode(): Command(run, writes=True) for run in _FREES},
    **{run.__name__.upper().encode(): Command(run, writes=True, grows=True) for run in _GROWS},
    b"TYPE": Command(strings.type_),
    b"SET": Command(strings.set_, writes=True, grows=True),
    b"INCR": Command(strings.incrby, writes=True, grows=True),
    b"DEL": Command(strings.delete, writes=True),
    b"UNLINK": Command(strings.delete, writes=True),
}
