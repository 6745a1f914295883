"""Busy polling: looking for a reply again and again for a moment, before going to sleep.

On one machine, falling asleep and being woken takes longer than most answers do. So whoever waits alone for a server
that is near looks for the reply first. Who waits beside others sleeps, because they have better things to do with the
processor, and so does who looked in vain lately, because then the server is slow. Other processes that want the
processor get it between two looks.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Final

from keyweave.connection.settings import ConnectionSettings

_LONGEST_REST: Final = 256
_give_way: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)


class BusyPoll:
    """Decides which waits begin with polling, and polls. The connections of a shell share one, threads included.

    Args:
        limit: the longest that one wait polls, in seconds.
    """

    __slots__ = ("_limit", "_missed", "_rest", "_waiting")

    def __init__(self, limit: float) -> None:
        self._limit: Final = limit
        self._waiting: set[int] = set()
        self._missed = 0
        self._rest = 0

    def begin(self, connection: int) -> bool:
        """A connection begins to wait for replies. Tells whether it is to poll for them."""
        self._waiting.add(connection)
        if len(self._waiting) > 1:
            return False
        if self._rest:
            self._rest -= 1
            return False
        return True

    def end(self, connection: int) -> None:
        """A connection has its replies, or waits no longer."""
        self._waiting.discard(connection)

    def poll(self, poller: select.poll, since: float) -> bool:
        """Look until there is something to read, or until the limit. After looks in vain, more and more waits do without.

        Args:
            poller: asks for the socket of the connection.
            since: when the connection began to wait, on the monotonic clock.
        """
        until = since + self._limit
        while not poller.poll(0):
            if time.monotonic() >= until:
                self._missed += 1
                self._rest = min(1 << self._missed, _LONGEST_REST)
                return False
            _give_way()
        self._missed = 0
        return True

    def forget(self) -> None:
        """In a forked child: nobody waits yet."""
        self._waiting.clear()


def busy_poll(settings: ConnectionSettings) -> BusyPoll | None:
    """How the connections to a server poll; None where it cannot pay: far servers, TLS, a single processor."""
    if not settings.busy_poll or not settings.local or settings.encrypted or _processors() < 2:
        return None
    return BusyPoll(settings.busy_poll)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
