"""Commands on hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.simulate.server.database import Database
from tools.simulate.server.strings import integer


def hget(database: Database, words: Sequence[bytes]) -> bytes | None:
    """HGET key field."""
    found = database.fields(words[0])
    return found.get(words[1]) if found else None


def hmget(database: Database, words: Sequence[bytes]) -> list[bytes | None]:
    """HMGET key field..."""
    found = database.fields(words[0]) or {}
    return [found.get(field) for field in words[1:]]


def hset(database: Database, words: Sequence[bytes]) -> int:
    """HSET key field value [field value]..."""
    key = words[0]
    return sum(database.set_field(key, words[at], words[at + 1]) for at in range(1, len(words), 2))


def hsetnx(database: Database, words: Sequence[bytes]) -> int:
    """HSETNX key field value."""
    found = database.fields(words[0])
    if found is not None and words[1] in found:
        return 0
    database.set_field(words[0], words[1], words[2])
    return 1


def hdel(database: Database, words: Sequence[bytes]) -> int:
    """HDEL key field..."""
    database.fields(words[0])
    return sum(database.remove_field(words[0], field) for field in words[1:])


def hlen(database: Database, words: Sequence[bytes]) -> int:
    """HLEN key."""
    return len(database.fields(words[0]) or ())


def hexists(database: Database, words: Sequence[bytes]) -> int:
    """HEXISTS key field."""
    return int(words[1] in (database.fields(words[0]) or ()))


def hgetall(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """HGETALL key."""
    found = database.fields(words[0]) or {}
    return [word for pair in found.items() for word in pair]


def hincrby(database: Database, words: Sequence[bytes]) -> int:
    """HINCRBY key field number."""
    key, field, by = words
    found = database.fields(key) or {}
    number = integer(found.get(field, b"0")) + integer(by)
    database.set_field(key, field, b"%d" % number)
    return number


def hscan(database: Database, words: Sequence[bytes]) -> list[Any]:
    """HSCAN key cursor [COUNT number]: every field at once, which a server may do."""
    return [b"0", hgetall(database, words[:1])]
