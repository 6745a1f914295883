"""Busy polling: check for a reply repeatedly for a short time before the wait blocks.

On one machine, putting a thread to sleep and waking it takes longer than most replies do. So a connection polls for
its reply if the server is on the same machine and no other connection of the shell waits. While several connections
wait, none of them starts to poll: the processor has other work. After a poll that found nothing the server is
slow, so the next waits do not poll. Between two polls the processor is yielded to other processes.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Final

from keyweave.connection.settings import ConnectionSettings

_MAX_SKIPPED: Final = 256
_yield_processor: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)


class BusyPoll:
    """Decides which waits poll, and polls. All connections of a shell share one instance, also between threads.

    Args:
        limit: the longest time that one wait polls, in seconds.
    """

    __slots__ = ("_limit", "_misses", "_skip", "_waiting")

    def __init__(self, limit: float) -> None:
        self._limit: Final = limit
        self._waiting: set[int] = set()
        self._misses = 0
        self._skip = 0

    def begin(self, connection: int) -> bool:
        """Record that a connection waits for replies. Returns True if it is to poll for them."""
        self._waiting.add(connection)
        if len(self._waiting) > 1:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def end(self, connection: int) -> None:
        """Record that a connection no longer waits for replies."""
        self._waiting.discard(connection)

    def poll(self, poller: select.poll, since: float) -> bool:
        """Poll until there is something to read or the limit is reached. Returns False at the limit.

        After each miss, polling is skipped for twice as many waits as after the miss before, up to 256.

        Args:
            poller: has the connection's socket registered.
            since: when the connection began to wait, on the monotonic clock.
        """
        until = since + self._limit
        while not poller.poll(0):
            if time.monotonic() >= until:
                self._misses += 1
                self._skip = min(1 << self._misses, _MAX_SKIPPED)
                return False
            _yield_processor()
        self._misses = 0
        return True

    def forget(self) -> None:
        """Forget the waits of the parent, in a forked child."""
        self._waiting.clear()


def busy_poll(settings: ConnectionSettings) -> BusyPoll | None:
    """Return the busy polling of a server's connections.

    Returns None where polling does not help: a server on another machine, TLS, a single processor.
    """
    if not settings.busy_poll or not settings.local or settings.encrypted or _processors() < 2:
        return None
    return BusyPoll(settings.busy_poll)


def _processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
