"""The direct channel of the asyncio flavour: a pool of links to one server, shared by tasks of one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast
from weakref import WeakSet

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.direct.link_aio import Link, StreamLink
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import ConfigurationError, StoreUnavailableError

_BLOCKING: Final = frozenset({"WAIT", "WAITAOF"})
"""Commands behind which the server answers nothing on the same connection until they have ended."""

_EXCLUSIVE: Final = 2
"""Links that each serve one caller before callers share links."""


class Pool:
    """At most `pool_size` links; the most recently used is leased first. Waiting tasks are served in order.

    A link carries several exchanges at once where it can. A few callers have a link each. More callers share links:
    pipelines sent in the same iteration of the event loop then take fewer system calls, here and in the server, and so
    do their replies.

    Args:
        settings: how many links may be open, and how long to wait for one.
        connect: opens a link, by the monotonic time that it gets, if any.
        depth: the most exchanges that one link carries at once.
        polling: the busy polling that the links share; None without it.
        on_close: called once in a thread, when the pool is closed.
        blocking: the pool for pipelines that block their link, if the links of this one are shared.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        connect: Callable[[float | None], Awaitable[Link]],
        depth: int,
        polling: BusyPoll | None,
        on_close: Callable[[], None] | None = None,
        blocking: Pool | None = None,
    ) -> None:
        self.settings: Final = settings
        self._blocking: Final = blocking
        self._connect = connect
        self._depth = depth
        self._exclusive = min(_EXCLUSIVE, settings.pool_size) if depth > 1 else settings.pool_size
        self._polling = polling
        self._closed = False
        self._on_close = on_close
        self._watch: PoolWatch | None = None
        self._inherited: list[tuple[list[Link], dict[Link, int]]] = []
        self._start_empty()
        _POOLS.add(self)

    def _start_empty(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Link] = []
        self._users: dict[Link, int] = {}
        self._open = 0
        self._opening = 0
        self._waiters: deque[asyncio.Future[Link | None]] = deque()

    async def exchange(
        self, commands: Sequence[Command], until: float | None = None, within: float | None = None, /
    ) -> list[Reply]:
        """Send commands as one pipeline on one link and return their replies. Raises ConnectionFailure.

        Args:
            commands: the pipeline.
            until: the monotonic time after which nothing is sent; waiting and connecting end by then.
            within: seconds that the exchange may take; the link's own timeout by default.
        """
        if not commands:
            return []
        if within is not None and self._blocking is not None and _blocks(commands):
            return await self._blocking.exchange(commands, until, within)
        link = self.try_lease() or await self.lease(until)
        try:
            if within is None:
                return await link.exchange(commands)
            try:
                async with asyncio.timeout(within):
                    return await link.exchange(commands)
            except TimeoutError:
                raise wire.timed_out(self.settings, within) from None
        finally:
            self.release(link)

    def try_lease(self) -> Link | None:
        """Return a link that needs neither waiting nor a health check; None when there is none."""
        if self._loop is not asyncio.get_running_loop() or self._closed:
            self._bind_loop()
        while self._idle:
            interval = self.settings.health_check_interval
            if interval and time.monotonic() - self._idle[-1].last_used >= interval:
                return None
            link = self._idle.pop()
            self._users[link] = 1
            if not link.stale():
                return link
            self._discard(link)
        return self._share() if len(self._users) >= self._exclusive else None

    def _share(self) -> Link | None:
        """Lease the leased link with the fewest exchanges once more; None when every link is at its depth."""
        if self._depth == 1:
            return None
        chosen, least = None, self._depth
        for link, users in cast(dict[StreamLink, int], self._users).items():
            if users >= least or link.broken or link.condemned:
                continue
            # A user may not have begun its exchange; an abandoned exchange has no user any more.
            load = max(users, link.in_flight)
            if load < least:
                chosen, least = link, load
        if chosen is not None:
            self._users[chosen] += 1
        return chosen

    def _bind_loop(self) -> None:
        """Bind an open pool to the first event loop that uses it; refuse any other loop, and a closed pool."""
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")
        if self._loop is not None:
            raise ConfigurationError(
                "this store belongs to another event loop: open one store per event loop (each asyncio.run has its own)"
            )
        self._loop = asyncio.get_running_loop()

    async def lease(self, until: float | None = None) -> Link:
        """Return a link that is fit for use, until `release`. Raises ConnectionFailure."""
        while True:
            link = await self._link_or_permit(until)
            if link is None:
                return await self._open_link(until)
            if self._users[link] > 1:
                return link
            alive = await self._alive(link)
            if not alive:
                self._discard(link)
            if until is not None and time.monotonic() >= until:
                if alive:
                    self.release(link)
                raise wire.deadline_passed()
            if alive:
                return link

    async def _link_or_permit(self, until: float | None) -> Link | None:
        """Return a link, or None as a permit to open one. Waits up to `pool_timeout` for either."""
        if self._idle:
            link = self._idle.pop()
            self._users[link] = 1
            return link
        # A link that is being opened can be shared by every caller that arrives until it is open.
        enough = self._opening and self._open >= self._exclusive
        if self._open < self.settings.pool_size and not enough:
            self._open += 1
            return None
        waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        started = time.monotonic()
        limit = wire.seconds_left(self.settings.pool_timeout, until)
        timed_out = False
        try:
            async with asyncio.timeout(limit):
                return await waiter
        except BaseException as error:
            served = waiter.done() and not waiter.cancelled()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                if served:
                    return waiter.result()
                if self._open < self.settings.pool_size:
                    # The wait was for links that other callers are opening, not for a full pool.
                    self._open += 1
                    return None
                timed_out = True
                raise wire.pool_exhausted(self.settings, limit) from None
            if served:
                self._decline(waiter.result())
            raise
        finally:
            if self._watch is not None:
                self._watch.pool_waited(time.monotonic() - started, timed_out=timed_out)

    def state(self) -> PoolState | None:
        """Return the current state of the pool; None once it is closed."""
        if self._closed:
            return None
        state = PoolState(self._open, len(self._idle), len(self._waiters), self.settings.pool_size)
        blocking = self._blocking.state() if self._blocking is not None else None
        return state if blocking is None or not blocking.open else state.plus(blocking)

    def watch(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a link."""
        self._watch = watch
        if self._blocking is not None:
            self._blocking.watch(watch)

    async def _open_link(self, until: float | None) -> Link:
        self._opening += 1
        try:
            link = await self._connect(until)
        except BaseException as error:
            self._opening -= 1
            self._reassign(None)
            if isinstance(error, ConnectionFailure):
                self._share_with_waiters()
                # All waiters try at once: one after another would take too long where no link can be opened.
                self._grant_permits(len(self._waiters))
            raise
        self._opening -= 1
        self._users[link] = 1
        self._share_with_waiters()
        if not self._opening:
            self._grant_permits(1)
        return link

    def _grant_permits(self, count: int) -> None:
        """Let up to `count` waiters open a link each, as far as the pool may grow."""
        for _ in range(min(count, len(self._waiters), self.settings.pool_size - self._open)):
            self._open += 1
            self._reassign(None)

    async def _alive(self, link: Link) -> bool:
        if link.stale():
            return False
        interval = self.settings.health_check_interval
        if not interval or time.monotonic() - link.last_used < interval:
            return True
        # The link counts as full during the check, so that no other caller shares a link that may be dead.
        self._users[link] = self._depth
        try:
            await link.exchange((wire.PING,))
        except ConnectionFailure:
            return False
        except BaseException:
            self._users[link] = 1
            self.release(link)
            raise
        self._users[link] = 1
        self._share_with_waiters()
        return True

    def release(self, link: Link) -> None:
        """End one use of a leased link. After the last use it is idle, or closed if an exchange did not complete."""
        if link not in self._users:
            return  # leased before a fork: the link is the parent's
        users = self._users[link] - 1
        if users:
            self._users[link] = users
            self._share_with_waiters()
        elif not link.usable or self._closed:
            self._discard(link)
        else:
            self._reassign(link)

    def _discard(self, link: Link) -> None:
        """Close a leased link, and the idle ones if it was condemned. The exchanges of its users fail."""
        del self._users[link]
        if link.condemned:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            for other in idle:
                other.close()
        link.close()
        self._reassign(None)

    def _decline(self, offer: Link | None) -> None:
        """Return the link or permit that was passed to a waiter which had been cancelled."""
        if offer is None:
            self._reassign(None)
        else:
            self.release(offer)

    def _share_with_waiters(self) -> None:
        """Share leased links with waiters, as far as their depth allows."""
        while self._waiters and (link := self._share()) is not None:
            if not self._offer(link):
                self._users[link] -= 1

    def _reassign(self, link: Link | None) -> None:
        """Pass a link, or None as a permit to open one, to the longest waiter; without waiters, take it back."""
        if link is not None:
            self._users[link] = 1
        if self._offer(link):
            if link is not None:
                self._share_with_waiters()
        elif link is None:
            self._open -= 1
        else:
            del self._users[link]
            self._idle.append(link)

    def _offer(self, link: Link | None) -> bool:
        """Pass a link or a permit to the longest waiter that is not cancelled. Returns False without one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    async def close(self) -> None:
        """Close idle links now. A leased link is closed when it is released."""
        self._closed = True
        if self._blocking is not None:
            await self._blocking.close()
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        if self._loop is asyncio.get_running_loop():
            for closing in [link.close() for link in idle]:
                await closing
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await asyncio.to_thread(on_close)

    def forget(self) -> None:
        """Start empty in a forked child. Inherited links stay open: the parent's event loop still uses them."""
        self._inherited.append((self._idle, self._users))
        self._start_empty()
        if self._polling is not None:
            self._polling.forget()


def _blocks(commands: Sequence[Command]) -> bool:
    return any(command[0] in _BLOCKING for command in commands)


_POOLS: Final[WeakSet[Pool]] = WeakSet()


def _forget_inherited() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
