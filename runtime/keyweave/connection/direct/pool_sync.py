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
    """At most `pool_size` links; the most recently used is leased first. Waiting threads are served in order."""

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
        self._idle: list[Link] = []
        self._open = 0
        self._waiters: deque[SimpleQueue[Link | None]] = deque()

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands as one pipeline on one link and return their replies. Raises ConnectionFailure."""
        if not commands:
            return []
        link = self.lease()
        try:
            return link.exchange(commands)
        finally:
            self.release(link)

    def lease(self) -> Link:
        """Return a link for this thread alone, until `release`. Raises ConnectionFailure."""
        while True:
            link = self._link_or_permit()
            if link is None:
                return self._open_link()
            if self._alive(link):
                return link
            self.release(link)

    def _link_or_permit(self) -> Link | None:
        """Return an idle link, or None as a permit to open one. Waits up to `pool_timeout` for either."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"this store is closed ({self._settings.address})")
            if self._idle:
                return self._idle.pop()
            if self._open < self._settings.pool_size:
                self._open += 1
                return None
            waiter: SimpleQueue[Link | None] = SimpleQueue()
            self._waiters.append(waiter)
        started = time.monotonic()
        timed_out = False
        try:
            return waiter.get(timeout=self._settings.pool_timeout)
        except BaseException as error:
            with self._lock:
                served = waiter not in self._waiters
                if not served:
                    self._waiters.remove(waiter)
            if served:
                link = waiter.get()
                if isinstance(error, Empty):
                    return link
                self._reassign(link)
            if isinstance(error, Empty):
                timed_out = True
                raise wire.pool_exhausted(self._settings) from None
            raise
        finally:
            if self.watch is not None:
                self.watch.pool_waited(time.monotonic() - started, timed_out=timed_out)

    def state(self) -> PoolState | None:
        """Return the current state of the pool; None once it is closed."""
        if self._closed:
            return None
        with self._lock:
            return PoolState(self._open, len(self._idle), len(self._waiters), self._settings.pool_size)

    def _open_link(self) -> Link:
        try:
            return self._connect()
        except BaseException:
            self._reassign(None)
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

    def release(self, link: Link) -> None:
        """Return a leased link to the pool. A link whose exchange did not complete is closed, not reused."""
        if not link.usable or self._closed:
            link.close()
            self._reassign(None)
        else:
            self._reassign(link)

    def _reassign(self, link: Link | None) -> None:
        """Pass a link, or None as a permit to open one, to the longest waiter; without waiters, take it back."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().put(link)
            elif link is None:
                self._open -= 1
            else:
                self._idle.append(link)

    def close(self) -> None:
        """Close idle links now. A leased link is closed when it is released."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._open -= len(idle)
        for link in idle:
            link.close()

    def forget(self) -> None:
        """Start empty in a forked child. Closes only the child's copies: the parent still uses its connections."""
        inherited = self._idle
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
