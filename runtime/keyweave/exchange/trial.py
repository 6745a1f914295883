"""A trial of whether a server's WAITAOF is true under `appendfsync everysec`.

The server then calls fsync once a second. So it cannot confirm two writes, one after the other, within less than a second: a
server that does has answered before fsync. Valkey 9.1.2 does, Redis 8 does not.
"""

from __future__ import annotations

from typing import Final

from keyweave.effects import Command, Flow, ServerError
from keyweave.exchange.ask import ask
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_WAIT_MS: Final = 400
"""Valkey looks one or two tenths of a second later whether a write is confirmed that came in the same pipeline."""

_SECOND: Final = 0.9
"""Seconds within which a server calls fsync once at most, with a margin."""

_REFUSED: Final = frozenset({"ERR", "NOPERM"})


def answers_before_fsync(context: Context, partition: Partition) -> Flow[bool | None]:
    """Return whether WAITAOF confirms writes that are not on the disk. Takes up to 0.9 s.

    Two writes of a key, which expires within a millisecond, are sent to the server of a partition. None: the server refuses WAITAOF.

    Raises:
        StoreUnavailableError: or a subclass: the server cannot be reached, or accepts no writes.
    """
    key = partition.lock("@trial", "")
    write: Command = ("SET", key, "", "PX", 1)
    began = context.monotonic()
    for _ in range(2):
        _, reply = yield from ask(context, (write, ("WAITAOF", 1, 0, _WAIT_MS)), tolerated=_REFUSED)
        if type(reply) is ServerError:
            return None
        if type(reply) is not list or reply[:1] != [1]:
            return False
    return context.monotonic() - began < _SECOND
