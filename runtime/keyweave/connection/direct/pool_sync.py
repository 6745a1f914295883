"""The direct channel of the blocking flavour: a pool of links to one server, shared by threads.

An exception can strike a thread between any two bytecodes: Ctrl-C, a signal handler that raises, a job time limit. So
nothing here depends on a second statement that undoes a first one. There is no counter and no lock. A place exists as
long as a `_Place` does, and the interpreter itself counts them: a place that an exception dropped has died, and is free
again. A place is in exactly one list at a time (`_idle`, the inbox of a waiter, or a lease) and moves in one
expression; no local variable refers to it, so no traceback keeps it alive.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias
from weakref import WeakSet, ref

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.direct.link_sync import Link
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import StoreUnavailableError

_RESCAN: Final = 0.1
"""Seconds after which a waiter checks for a free place itself: an exception may have struck the thread that would serve it."""


class _Place:
    """The right to have one link open, and the link once it is open."""

    __slots__ = ("__weakref__", "link")

    def __init__(self) -> None:
        self.link: Link | None = None

    def close(self) -> None:
        """Close the link, if one is open."""
        if self.link is not None:
            self.link.close()


class _Inbox(SimpleQueue[_Place]):
    """Receives the place that another thread passes to a waiter.

    Attributes:
        abandoned: the waiter does not read it any more.
    """

    abandoned = False


Lease: TypeAlias = list[_Place]
"""A leased place; empty once it is released. It exists before the lease, so that it can always be released."""


class Pool:
    """At most `pool_size` links; the most recently used is leased first. Waiting threads are served in order.

    Args:
        settings: how many links may be open, and how long to wait for one.
        connect: opens a link, by the monotonic time that it gets, if any.
        polling: the busy polling that the links share; None without it.
        on_close: called once, when the pool is closed.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        connect: Callable[[float | None], Link],
        polling: BusyPoll | None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.settings: Final = settings
        self._connect = connect
        self._polling = polling
        self._closed = False
        self._on_close = on_close
        self._watch: PoolWatch | None = None
        self._start_empty()
        _POOLS.add(self)

    def _start_empty(self) -> None:
        self._places: dict[ref[_Place], None] = {}
        self._idle: list[_Place] = []
        self._waiters: deque[_Inbox] = deque()

    def exchange(
        self,
        commands: Sequence[Command],
        until: float | None = None,
        within: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        """Send commands as one pipeline on one link and return their replies. Raises ConnectionFailure.

        Args:
            commands: the pipeline.
            until: the monotonic time after which nothing is sent; waiting and connecting end by then.
            within: seconds that the exchange may take; the link's own timeout by default.
            meanwhile: as in `Channel.exchange`.
        """
        if not commands:
            return []
        lease: Lease = []
        try:
            try:
                link = self._acquire(lease, until)
                if meanwhile is not None:
                    return link.exchange(commands, within, meanwhile)
                return link.exchange(commands) if within is None else link.exchange(commands, within)
            finally:
                self.release(lease)
        except BaseException:
            self.release(lease)  # an exception from outside may have interrupted the release
            raise

    def lease(self) -> Lease:
        """Return a lease of a link for this thread alone, until `release`. Raises ConnectionFailure."""
        lease: Lease = []
        try:
            self._acquire(lease, None)
            return lease
        except BaseException:
            self.release(lease)
            raise

    def _acquire(self, lease: Lease, until: float | None) -> Link:
        """Put a place into an empty lease, and return its link, which is open and fit for use by `until`."""
        while True:
            self._require_open()
            if self._waiters or not self._idle:
                if self._waiters or not self._claim(lease):
                    self._wait(lease, until)
            else:
                try:
                    lease.append(self._idle.pop())
                except IndexError:
                    continue  # another thread was faster
            link = lease[0].link
            if link is None:
                lease[0].link = link = self._connect(until)
                return link
            if self._alive(link, until):
                return link
            self._discard(lease)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")

    def _claim(self, lease: Lease) -> bool:
        """Put a place without a link into a lease, if the pool has fewer places than its size."""
        places, size = self._places, self.settings.pool_size
        if len(places) >= size:
            return False
        lease.append(_Place())
        # The interpreter removes the entry when the place dies, in one step that runs no Python code.
        entry = ref(lease[0], places.pop)
        places[entry] = None
        if len(places) > size and list(places).index(entry) >= size:
            lease.clear()  # threads claimed the last place at the same time, and another one was first
            return False
        return True

    def _wait(self, lease: Lease, until: float | None) -> None:
        """Wait up to `pool_timeout` until another thread passes a place, or one is free."""
        started = time.monotonic()
        limit = wire.seconds_left(self.settings.pool_timeout, until)
        end = started + limit
        timed_out = False
        inbox = _Inbox()
        try:
            self._waiters.append(inbox)
            while True:
                self._serve()  # a link may have become idle before this waiter could be seen
                remaining = end - time.monotonic()
                try:
                    lease.append(inbox.get(timeout=max(min(remaining, _RESCAN), 0)))
                    return
                except Empty:
                    self._require_open()
                    if self._claim(lease):
                        return
                    if remaining <= 0:
                        timed_out = True
                        raise wire.pool_exhausted(self.settings, limit) from None
                    if inbox not in self._waiters:
                        # The thread that was about to serve this waiter was interrupted.
                        self._waiters.appendleft(inbox)
        finally:
            self._abandon(inbox)
            if self._watch is not None:
                self._watch.pool_waited(time.monotonic() - started, timed_out=timed_out)

    def _abandon(self, inbox: _Inbox) -> None:
        """End a wait. A place that another thread passes at the same moment goes to the next waiter."""
        inbox.abandoned = True
        with contextlib.suppress(ValueError):
            self._waiters.remove(inbox)
        self._empty(inbox)

    def _empty(self, inbox: _Inbox) -> None:
        lease: Lease = []
        with contextlib.suppress(Empty):
            while True:
                lease.append(inbox.get_nowait())
                self.release(lease)

    def _serve(self) -> None:
        """Pass idle links to the longest waiters."""
        waiters, idle = self._waiters, self._idle
        while waiters and idle:
            try:
                inbox = waiters.popleft()
            except IndexError:
                return
            try:
                inbox.put(idle.pop())
            except IndexError:
                waiters.appendleft(inbox)
            if inbox.abandoned:
                self._empty(inbox)

    def state(self) -> PoolState | None:
        """Return the current state of the pool; None once it is closed."""
        if self._closed:
            return None
        return PoolState(len(self._places), len(self._idle), len(self._waiters), self.settings.pool_size)

    def watch(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a link."""
        self._watch = watch

    def _alive(self, link: Link, until: float | None) -> bool:
        if link.stale():
            link.usable = False
            return False
        interval = self.settings.health_check_interval
        if not interval or time.monotonic() - link.last_used < interval:
            return True
        try:
            link.exchange((wire.PING,))
        except ConnectionFailure:
            link.usable = False
        if until is not None and time.monotonic() >= until:
            raise wire.deadline_passed()
        return link.usable

    def release(self, lease: Lease) -> None:
        """End a lease, unless it has ended. A link whose exchange did not complete is closed, not reused."""
        if not lease:
            return
        link = lease[0].link
        if link is None or not link.usable:
            self._discard(lease)
            return
        self._idle.append(lease.pop())
        if self._closed:
            _close_all(self._idle)
        elif self._waiters:
            self._serve()

    def _discard(self, lease: Lease) -> None:
        """End a lease and close its link, with the idle ones if it was condemned. The longest waiter may open another one."""
        link = lease[0].link
        lease.clear()
        if link is not None:
            if link.condemned:
                _close_all(self._idle)
            link.close()
        permit: Lease = []
        while self._waiters and self._claim(permit):
            try:
                inbox = self._waiters.popleft()
            except IndexError:
                permit.clear()
                return
            inbox.put(permit.pop())
            if inbox.abandoned:
                self._empty(inbox)

    def close(self) -> None:
        """Close idle links now. A leased link is closed when it is released."""
        self._closed = True
        _close_all(self._idle)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def forget(self) -> None:
        """Start empty in a forked child. Closes only the child's copies: the parent still uses its connections."""
        inherited = self._idle
        self._start_empty()
        if self._polling is not None:
            self._polling.forget()
        _close_all(inherited)


def _close_all(places: list[_Place]) -> None:
    while places:
        with contextlib.suppress(IndexError):
            places.pop().close()


_POOLS: Final[WeakSet[Pool]] = WeakSet()


def _forget_inherited() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
