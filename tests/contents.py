"""What the keys of a server hold, as its commands read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyweave.effects import Command

READERS: dict[bytes, Callable[[Any], Command]] = {
    b"string": lambda key: ("GET", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    b"hash": lambda key: ("HGETALL", key),
    b"list": lambda key: ("LRANGE", key, 0, -1),
    b"set": lambda key: ("SMEMBERS", key),
}


def names(ask: Callable[..., Any], pattern: str) -> set[bytes]:
    """Every key of a pattern. `ask` sends one command and returns its reply."""
    found: set[bytes] = set()
    cursor: Any = 0
    while True:
        cursor, batch = ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        found.update(batch)
        if int(cursor) == 0:
            return found


def content(ask: Callable[..., Any], key: bytes | str) -> tuple[bytes, Any, int]:
    """Type, value and native end of a key.

    Not its dump: the order of a hash in a dump changes while the server rehashes, and no write has changed anything then.
    """
    kind = ask("TYPE", key)
    value = ask(*READERS[kind](key))
    if kind == b"hash":
        fields = value.items() if isinstance(value, dict) else zip(value[0::2], value[1::2], strict=True)
        value = sorted(fields)
    elif kind == b"set":
        value = sorted(value)
    return kind, value, ask("PEXPIRETIME", key)


def contents(ask: Callable[..., Any], pattern: str) -> dict[bytes, tuple[bytes, Any, int]]:
    """`content` of every key of a pattern."""
    return {key: content(ask, key) for key in names(ask, pattern)}
