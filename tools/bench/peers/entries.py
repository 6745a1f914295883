"""Index entries that a server holds, counted by its types and not by what a library says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import redis

_SIZES: Final = {b"zset": "ZCARD", b"set": "SCARD", b"hash": "HLEN"}


def entries(client: redis.Redis, prefix: str, counted: Callable[[str], bool]) -> int:
    """The members of sorted sets, sets and hashes, and each string as one.

    Args:
        prefix: of the names to look at.
        counted: whether a name is one of an index.
    """
    found = 0
    for key in client.scan_iter(f"{prefix}*", count=1000):
        name: Any = key
        if counted(name.decode()):
            kind: Any = client.type(name)
            size = _SIZES.get(kind)
            found += 1 if size is None else int(client.execute_command(size, name))  # type: ignore[no-untyped-call]
    return found
