"""The pool of the blocking flavour: links to one server, shared by threads."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final
from weakref import WeakSet

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.direct.link_sync import Link
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import StoreUnavailableError


class Pool:
    """At most `pool_size` links, the most recently used first. Waiting threads are served in order."""

    def __init__(
        self, settings: ConnectionSettings, connect: Callable[[], Link], polling: BusyPoll | None
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._polling = polling
        self._closed = False
        self.watch: PoolWatch | None = None
        self._start_empty()
        _POOLS.add(self)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Link] = []
        self._open = 0
        self._waiters: deque[SimpleQueue[Link | None]] = deque()

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands as one pipeline on one link, and read their replies. Raises ConnectionFailure."""
        if not commands:
            return []
        link = self.take()
        try:
            return link.exchange(commands)
        finally:
            self.give_back(link)

    def take(self) -> Link:
        """A link that no other thread uses. Raises ConnectionFailure."""
        while True:
            link = self._next()
            if link is None:
                return self._opened()
            if self._alive(link):
                return link
            self.give_back(link)

    def _next(self) -> Link | None:
        """An idle link, or None for the right to open one."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"this store is closed ({self._settings.address})")
            if self._free:
                return self._free.pop()
            if self._open < self._settings.pool_size:
                self._open += 1
                return None
            turn: SimpleQueue[Link | None] = SimpleQueue()
            self._waiters.append(turn)
        started = time.monotonic()
        in_vain = False
        try:
            return turn.get(timeout=self._settings.pool_timeout)
        except BaseException as error:
            with self._lock:
                late = turn not in self._waiters
                if not late:
                    self._waiters.remove(turn)
            if late:
                handed = turn.get()
                if isinstance(error, Empty):
                    return handed
                self._hand_on(handed)
            if isinstance(error, Empty):
                in_vain = True
                raise wire.pool_exhausted(self._settings) from None
            raise
        finally:
            if self.watch is not None:
                self.watch.pool_waited(time.monotonic() - started, in_vain=in_vain)

    def state(self) -> PoolState | None:
        """The pool as it is; None once it is closed."""
        if self._closed:
            return None
        with self._lock:
            return PoolState(self._open, len(self._free), len(self._waiters), self._settings.pool_size)

    def _opened(self) -> Link:
        try:
            return self._connect()
        except BaseException:
            self._hand_on(None)
            raise

    def _alive(self, link: Link) -> bool:
        if link.stale():
            link.usable = False
            return False
        interval = self._settings.health_check_interval
        if not interval or time.monotonic() - link.last_used < interval:
            return True
        try:
            link.exchange((wire.PING,))
        except ConnectionFailure:
            return False
        return True

    def give_back(self, link: Link) -> None:
        """Return a link; one whose exchange was cut short is closed instead of being used again."""
        if not link.usable or self._closed:
            link.close()
            self._hand_on(None)
        else:
            self._hand_on(link)

    def _hand_on(self, link: Link | None) -> None:
        """Give a link, or the right to open one, to who waits longest."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().put(link)
            elif link is None:
                self._open -= 1
            else:
                self._free.append(link)

    def close(self) -> None:
        """Close idle links now; the others are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._free = self._free, []
            self._open -= len(idle)
        for link in idle:
            link.close()

    def forget(self) -> None:
        """In a forked child: the parent goes on using its connections; only the child's copies are closed."""
        inherited = self._free
        self._start_empty()
        if self._polling is not None:
            self._polling.forget()
        for link in inherited:
            link.close()


_POOLS: Final[WeakSet[Pool]] = WeakSet()


def _forget_inherited() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
