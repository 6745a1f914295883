"""The pool of the asyncio flavour: links to one server, shared by tasks of one event loop."""

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

_APART: Final = 2
"""Links that callers have for themselves before they share."""


class Pool:
    """At most `pool_size` links, the most recently used first. Waiting tasks are served in order.

    A link carries several exchanges where it can. Few callers have a link each; more of them share, because what they send
    in the same turn of the loop then takes fewer system calls, here and in the server, and so do the replies.

    Args:
        settings: how many links there may be, and for how long to wait for one.
        connect: opens a link.
        depth: most exchanges that one link carries at once.
        polling: what the links poll by, if they do.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        connect: Callable[[], Awaitable[Link]],
        depth: int,
        polling: BusyPoll | None,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._depth = depth
        self._apart = min(_APART, settings.pool_size) if depth > 1 else settings.pool_size
        self._polling = polling
        self._closed = False
        self.watch: PoolWatch | None = None
        self._inherited: list[tuple[list[Link], dict[Link, int]]] = []
        self._start_empty()
        _POOLS.add(self)

    def _start_empty(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: list[Link] = []
        self._users: dict[Link, int] = {}
        self._open = 0
        self._opening = 0
        self._waiters: deque[asyncio.Future[Link | None]] = deque()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands as one pipeline on one link, and read their replies. Raises ConnectionFailure."""
        if not commands:
            return []
        link = self.take_ready() or await self.take()
        try:
            return await link.exchange(commands)
        finally:
            self.give_back(link)

    def take_ready(self) -> Link | None:
        """A link that is fit for use at once; None when there is none."""
        if self._loop is not asyncio.get_running_loop() or self._closed:
            self._refuse_misuse()
        while self._free:
            interval = self._settings.health_check_interval
            if interval and time.monotonic() - self._free[-1].last_used >= interval:
                return None
            link = self._free.pop()
            self._users[link] = 1
            if not link.stale():
                return link
            self._discard(link)
        return self._shared() if len(self._users) >= self._apart else None

    def _shared(self) -> Link | None:
        """One more use of the link in use that carries the least; None when all carry what they can."""
        if self._depth == 1:
            return None
        chosen, least = None, self._depth
        for link, users in cast(dict[StreamLink, int], self._users).items():
            if users >= least or link.broken:
                continue
            # Some have yet to begin, others gave up.
            load = max(users, link.carried)
            if load < least:
                chosen, least = link, load
        if chosen is not None:
            self._users[chosen] += 1
        return chosen

    def _refuse_misuse(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self._settings.address})")
        if self._loop is not None:
            raise ConfigurationError(
                "this store belongs to another event loop: open one in every loop (asyncio.run makes one)"
            )
        self._loop = asyncio.get_running_loop()

    async def take(self) -> Link:
        """A link that is fit for use. Raises ConnectionFailure."""
        while True:
            link = await self._next()
            if link is None:
                return await self._opened()
            if self._users[link] > 1 or await self._alive(link):
                return link
            self._discard(link)

    async def _next(self) -> Link | None:
        """A link, or None for the right to open one."""
        if self._free:
            link = self._free.pop()
            self._users[link] = 1
            return link
        # Links that are being opened will do for all who come meanwhile.
        enough = self._opening and self._open >= self._apart
        if self._open < self._settings.pool_size and not enough:
            self._open += 1
            return None
        turn: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        started = time.monotonic()
        in_vain = False
        try:
            async with asyncio.timeout(self._settings.pool_timeout):
                return await turn
        except BaseException as error:
            offered = turn.done() and not turn.cancelled()
            if turn in self._waiters:
                self._waiters.remove(turn)
            if isinstance(error, TimeoutError):
                if offered:
                    return turn.result()
                if self._open < self._settings.pool_size:
                    # It was the opening of others' links that took so long.
                    self._open += 1
                    return None
                in_vain = True
                raise wire.pool_exhausted(self._settings) from None
            if offered:
                self._refuse(turn.result())
            raise
        finally:
            if self.watch is not None:
                self.watch.pool_waited(time.monotonic() - started, in_vain=in_vain)

    def state(self) -> PoolState | None:
        """The pool as it is; None once it is closed."""
        if self._closed:
            return None
        return PoolState(self._open, len(self._free), len(self._waiters), self._settings.pool_size)

    async def _opened(self) -> Link:
        self._opening += 1
        try:
            link = await self._connect()
        except BaseException as error:
            self._opening -= 1
            self._hand_on(None)
            if isinstance(error, ConnectionFailure):
                self._share_out()
                # All at once: one after another would take too long where no link can be opened.
                self._let_open(len(self._waiters))
            raise
        self._opening -= 1
        self._users[link] = 1
        self._share_out()
        if not self._opening:
            self._let_open(1)
        return link

    def _let_open(self, most: int) -> None:
        """Give so many who wait the right to open a link of their own, as far as the pool may grow."""
        for _ in range(min(most, len(self._waiters), self._settings.pool_size - self._open)):
            self._open += 1
            self._hand_on(None)

    async def _alive(self, link: Link) -> bool:
        if link.stale():
            return False
        interval = self._settings.health_check_interval
        if not interval or time.monotonic() - link.last_used < interval:
            return True
        # It seems full, so that nobody shares what may be dead.
        self._users[link] = self._depth
        try:
            await link.exchange((wire.PING,))
        except ConnectionFailure:
            return False
        except BaseException:
            self._users[link] = 1
            self.give_back(link)
            raise
        self._users[link] = 1
        self._share_out()
        return True

    def give_back(self, link: Link) -> None:
        """End a use of a link. With the last one, a link whose exchange was cut short is closed, others are free again."""
        if link not in self._users:
            return  # it is the parent's, from before a fork
        users = self._users[link] - 1
        if users:
            self._users[link] = users
            self._share_out()
        elif not link.usable or self._closed:
            self._discard(link)
        else:
            self._hand_on(link)

    def _discard(self, link: Link) -> None:
        """Close a link in use. All of its users are told by their exchanges."""
        del self._users[link]
        link.close()
        self._hand_on(None)

    def _refuse(self, offered: Link | None) -> None:
        """Somebody was given a link, or the right to open one, and waits no longer."""
        if offered is None:
            self._hand_on(None)
        else:
            self.give_back(offered)

    def _share_out(self) -> None:
        """Give those who wait what the links in use can still carry."""
        while self._waiters and (link := self._shared()) is not None:
            if not self._offer(link):
                self._users[link] -= 1

    def _hand_on(self, link: Link | None) -> None:
        """Give a free link, or the right to open one, to who waits longest."""
        if link is not None:
            self._users[link] = 1
        if self._offer(link):
            if link is not None:
                self._share_out()
        elif link is None:
            self._open -= 1
        else:
            del self._users[link]
            self._free.append(link)

    def _offer(self, link: Link | None) -> bool:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(link)
                return True
        return False

    async def close(self) -> None:
        """Close idle links now; the others are closed when they come back."""
        self._closed = True
        idle, self._free = self._free, []
        self._open -= len(idle)
        if self._loop is asyncio.get_running_loop():
            for ending in [link.close() for link in idle]:
                await ending

    def forget(self) -> None:
        """In a forked child: the parent's loop goes on with its connections, so they stay as they are."""
        self._inherited.append((self._free, self._users))
        self._start_empty()
        if self._polling is not None:
            self._polling.forget()


_POOLS: Final[WeakSet[Pool]] = WeakSet()


def _forget_inherited() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
