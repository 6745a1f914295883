"""The asyncio channel over a client of redis-py."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import redis
import redis.asyncio

from keyweave.connection.direct import wire
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.redis_py.client import no_retries
from keyweave.connection.redis_py.failure import (
    NOT_CARRIED_OUT,
    connecting_failed,
    original,
    refused_while_connecting,
)
from keyweave.connection.redis_py.link_aio import BorrowedLink
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import ConfigurationError, StoreUnavailableError

_RESCAN: Final = 0.05
"""Seconds after which a waiter looks for a free connection itself: the application may have released one."""


class RedisPyChannel:
    """Exchanges on connections of an asyncio client's pool, on the event loop of the first exchange.

    Args:
        client: a client that `settings_of` accepts.
        settings: what `settings_of` returned.
        on_close: closes a client that belongs to this channel; None for a client that the application gave.
    """

    def __init__(
        self, client: Any, settings: ConnectionSettings, on_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.settings: Final = settings
        self._pool: Final = client.connection_pool
        self._links: Final[dict[Any, BorrowedLink]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._once: Final = no_retries(asynchronous=True)
        self._on_close = on_close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._blocking: Final = isinstance(self._pool, redis.asyncio.BlockingConnectionPool)
        self._notices: set[asyncio.Future[None]] = set()
        self._closed = False
        self._watch: PoolWatch | None = None

    async def exchange(
        self,
        commands: Sequence[Command],
        until: float | None = None,
        within: float | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
        /,
    ) -> list[Reply]:
        """Do what `AsyncChannel` says. `meanwhile` is awaited between sending and reading."""
        if not commands:
            return []
        if self._loop is not asyncio.get_running_loop() or self._closed:
            self._bind_loop()
        connection = self._take() or await self._wait(until)
        try:
            link = await self._link(connection, until)
            return await link.exchange(
                commands, self.settings.timeout if within is None else within, meanwhile
            )
        except NOT_CARRIED_OUT as refusal:
            return refused_while_connecting(refusal, commands)
        finally:
            await self._release(connection)

    def _bind_loop(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")
        if self._loop is not None:
            raise ConfigurationError(
                "this store belongs to another event loop: open one store per event loop (each asyncio.run has its own)"
            )
        self._loop = asyncio.get_running_loop()

    def _take(self) -> Any:
        """Return a connection out of the pool; None when all are in use."""
        return self._pool.get_available_connection() if self._pool.can_get_connection() else None

    async def _wait(self, until: float | None) -> Any:
        """Wait up to `pool_timeout` until a connection is free, and return it."""
        started = time.monotonic()
        limit = wire.seconds_left(self.settings.pool_timeout, until)
        timed_out = False
        freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(freed)
        try:
            while (connection := self._take()) is None:
                remaining = started + limit - time.monotonic()
                if remaining <= 0:
                    timed_out = True
                    raise wire.pool_exhausted(self.settings, limit)
                await asyncio.wait((freed,), timeout=min(remaining, _RESCAN))
                if freed.done():
                    freed = asyncio.get_running_loop().create_future()
                    self._waiters.append(freed)
            return connection
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(freed)
            if self._watch is not None:
                self._watch.pool_waited(time.monotonic() - started, timed_out=timed_out)

    async def _link(self, connection: Any, until: float | None) -> BorrowedLink:
        """Return a link on a connection that is fit for use by `until`."""
        link = self._links.get(connection)
        if connection.is_connected:
            if link is None or not link.belongs_to(connection):
                link = self._borrow(connection)
            if await self._alive(link, until):
                return link
            await connection.disconnect(nowait=True)
        await self._connect(connection, until)
        return self._borrow(connection)

    def _borrow(self, connection: Any) -> BorrowedLink:
        """Make the link on a connection, and forget those of connections that are closed."""
        for each in tuple(self._links):
            if not each.is_connected:
                del self._links[each]
        link = self._links[connection] = BorrowedLink(self.settings, connection)
        return link

    async def _alive(self, link: BorrowedLink, until: float | None) -> bool:
        """Return whether a connection that was idle can be used."""
        if not link.usable or link.stale():
            return False
        interval = self.settings.health_check_interval
        if not interval or time.monotonic() - link.last_used < interval:
            return True
        try:
            await link.exchange((wire.PING,), self.settings.timeout)
        except ConnectionFailure:
            link.usable = False
        if until is not None and time.monotonic() >= until:
            raise wire.deadline_passed()
        return link.usable

    async def _connect(self, connection: Any, until: float | None) -> None:
        """Let redis-py connect, without its retries, by `until`. A provider of credentials is asked a second time."""
        tries = 1 if connection.credential_provider is None else 2
        while True:
            tries -= 1
            seconds = wire.seconds_left(self.settings.connect_timeout, until)
            own, connection.retry = connection.retry, self._once
            try:
                async with asyncio.timeout(seconds):
                    await _connected(connection)
                return
            except Exception as raised:
                await connection.disconnect(nowait=True)
                error = original(raised)
                if isinstance(error, NOT_CARRIED_OUT):
                    raise error from raised
                if tries == 0 or not isinstance(error, redis.AuthenticationError):
                    raise connecting_failed(self.settings, error, seconds) from error
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            finally:
                connection.retry = own

    async def _release(self, connection: Any) -> None:
        """Return a connection to the pool. One without a complete exchange is disconnected.

        Nothing is awaited on the way of a complete exchange, and whatever is raised here, the connection goes back.
        """
        try:
            link = self._links.get(connection)
            if link is not None and link.usable and not connection.should_reconnect():
                if connection._re_auth_token is not None:
                    await connection.re_auth()
                return
            if link is not None and link.belongs_to(connection):
                link.abandon()
            await connection.disconnect(nowait=True)
            if link is not None and link.condemned:
                await self._pool.disconnect(inuse_connections=False)
        except redis.RedisError:
            await connection.disconnect(nowait=True)
        finally:
            self._put(connection)

    def _put(self, connection: Any) -> None:
        """Move a connection back into the pool, and wake the longest waiter."""
        self._pool._in_use_connections.discard(connection)
        self._pool._available_connections.append(connection)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if self._blocking:
            notice = asyncio.ensure_future(self._notify())
            self._notices.add(notice)
            notice.add_done_callback(self._notices.discard)

    async def _notify(self) -> None:
        """Wake a task of the application that waits for a connection."""
        async with self._pool._condition:
            self._pool._condition.notify()

    def state(self) -> PoolState | None:  # noqa: D102 - AsyncChannel
        if self._closed:
            return None
        pool = self._pool
        # redis-py keeps connections that are not connected.
        idle = sum(each.is_connected for each in pool._available_connections)
        made = idle + sum(each.is_connected for each in pool._in_use_connections)
        return PoolState(made, idle, len(self._waiters), pool.max_connections)

    def watch(self, watch: PoolWatch) -> None:  # noqa: D102 - AsyncChannel
        self._watch = watch

    async def close(self) -> None:  # noqa: D102 - AsyncChannel
        self._closed = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await on_close()


async def _connected(connection: Any) -> None:
    """Let redis-py connect. A cancellation that it loses on the way (`asyncio.wait_for` of Python 3.11 does) is raised."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    await connection.connect()
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
