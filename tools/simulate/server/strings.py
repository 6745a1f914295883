"""Commands on strings and on keys of any type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from tools.simulate.server.database import Database, Refused
from tools.simulate.server.sorted_set import SortedSet


class StatusReply(bytes):
    """A status reply, which Lua sees as a table."""

    __slots__ = ()


OK: Final = StatusReply(b"OK")
_INTEGER: Final = re.compile(rb"-?[1-9][0-9]*|0")
_NOT_A_NUMBER: Final = "ERR value is not an integer or out of range"


def integer(word: bytes) -> int:
    """A word as a whole number."""
    if _INTEGER.fullmatch(word) is None:
        raise Refused(_NOT_A_NUMBER)
    return int(word)


def get(database: Database, words: Sequence[bytes]) -> bytes | None:
    """GET key."""
    return database.text(words[0])


def set_(database: Database, words: Sequence[bytes]) -> StatusReply | bytes | None:
    """SET key value [NX | XX] [PX ms | EX s | PXAT ms | EXAT s | KEEPTTL] [GET]."""
    key, value = words[0], words[1]
    deadline: int | None = None
    reply: StatusReply | bytes | None = OK
    if len(words) > 2:
        at = 2
        while at < len(words):
            option = words[at].upper()
            at += 1
            if option == b"NX":
                if database.find(key) is not None:
                    return None
            elif option == b"XX":
                if database.find(key) is None:
                    return None
            elif option == b"KEEPTTL":
                deadline = database.deadlines.get(key)
            elif option == b"GET":
                reply = database.text(key)
            else:
                deadline = _deadline(database, option, integer(words[at]))
                at += 1
    database.put(key, value, deadline)
    return reply


def _deadline(database: Database, option: bytes, number: int) -> int:
    now = database.now // 1000
    if option == b"PX":
        return now + number
    if option == b"EX":
        return now + number * 1000
    if option == b"PXAT":
        return number
    if option == b"EXAT":
        return number * 1000
    raise Refused("ERR syntax error")


def getrange(database: Database, words: Sequence[bytes]) -> bytes:
    """GETRANGE key start end."""
    text = database.text(words[0]) or b""
    start, stop = integer(words[1]), integer(words[2])
    if stop < start < 0:
        return b""
    size = len(text)
    start = max(start + size, 0) if start < 0 else start
    stop = max(stop + size, 0) if stop < 0 else stop
    return text[start : stop + 1]


def setrange(database: Database, words: Sequence[bytes]) -> int:
    """SETRANGE key offset value."""
    key, offset, value = words[0], integer(words[1]), words[2]
    text = database.text(key) or b""
    if value:
        padded = text.ljust(offset, b"\0")
        changed = padded[:offset] + value + padded[offset + len(value) :]
        database.put(key, changed, database.deadlines.get(key))
        return len(changed)
    return len(text)


def strlen(database: Database, words: Sequence[bytes]) -> int:
    """STRLEN key."""
    return len(database.text(words[0]) or b"")


def incrby(database: Database, words: Sequence[bytes]) -> int:
    """INCR key, INCRBY key number."""
    key = words[0]
    number = integer(database.text(key) or b"0") + (integer(words[1]) if len(words) > 1 else 1)
    database.put(key, b"%d" % number, database.deadlines.get(key))
    return number


def mget(database: Database, words: Sequence[bytes]) -> list[bytes | None]:
    """MGET key..."""
    found = []
    for key in words:
        value = database.find(key)
        found.append(value if type(value) is bytes else None)
    return found


def delete(database: Database, words: Sequence[bytes]) -> int:
    """DEL key..., UNLINK key..."""
    return sum(database.find(key) is not None and database.drop(key) for key in words)


def exists(database: Database, words: Sequence[bytes]) -> int:
    """EXISTS key..."""
    return sum(database.find(key) is not None for key in words)


def type_(database: Database, words: Sequence[bytes]) -> StatusReply:
    """TYPE key."""
    value = database.find(words[0])
    if value is None:
        return StatusReply(b"none")
    kinds = {bytes: b"string", dict: b"hash", SortedSet: b"zset"}
    return StatusReply(kinds[type(value)])


def pexpireat(database: Database, words: Sequence[bytes]) -> int:
    """PEXPIREAT key ms."""
    return _expire_at(database, words[0], integer(words[1]))


def expire(database: Database, words: Sequence[bytes]) -> int:
    """EXPIRE key seconds."""
    return _expire_at(database, words[0], database.now // 1000 + integer(words[1]) * 1000)


def pexpire(database: Database, words: Sequence[bytes]) -> int:
    """PEXPIRE key ms."""
    return _expire_at(database, words[0], database.now // 1000 + integer(words[1]))


def _expire_at(database: Database, key: bytes, deadline: int) -> int:
    if database.find(key) is None:
        return 0
    if deadline * 1000 <= database.now:
        database.drop(key)
    else:
        database.expire(key, deadline)
    return 1


def persist(database: Database, words: Sequence[bytes]) -> int:
    """PERSIST key."""
    key = words[0]
    if database.find(key) is None or key not in database.deadlines:
        return 0
    database.expire(key, None)
    return 1


def pexpiretime(database: Database, words: Sequence[bytes]) -> int:
    """PEXPIRETIME key."""
    key = words[0]
    if database.find(key) is None:
        return -2
    return database.deadlines.get(key, -1)


def pttl(database: Database, words: Sequence[bytes]) -> int:
    """PTTL key."""
    deadline = pexpiretime(database, words)
    return deadline if deadline < 0 else deadline - database.now // 1000


def renamenx(database: Database, words: Sequence[bytes]) -> int:
    """RENAMENX key new."""
    key, new = words
    if database.find(key) is None:
        raise Refused("ERR no such key")
    if database.find(new) is not None:
        return 0
    database.rename(key, new)
    return 1


def scan(database: Database, words: Sequence[bytes]) -> list[Any]:
    """SCAN cursor [MATCH pattern] [COUNT number] [TYPE type]: every key at once, which a server may do."""
    keys = database.live_keys()
    for at in range(1, len(words), 2):
        option = words[at].upper()
        if option == b"MATCH":
            matches = glob(words[at + 1]).fullmatch
            keys = [key for key in keys if matches(key)]
        elif option == b"TYPE":
            keys = [key for key in keys if type_(database, (key,)) == words[at + 1]]
    return [b"0", keys]


@lru_cache(64)
def glob(pattern: bytes) -> re.Pattern[bytes]:
    """A pattern of SCAN without character classes."""
    out, at = [], 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"\\" and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at : at + 1]))
        else:
            out.append({b"*": b".*", b"?": b"."}.get(byte) or re.escape(byte))
        at += 1
    return re.compile(b"".join(out), re.DOTALL)
