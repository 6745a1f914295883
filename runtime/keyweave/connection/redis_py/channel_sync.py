"""The blocking channel over a client of redis-py.

An exception can strike a thread between any two bytecodes, as `keyweave.connection.direct.pool_sync` says. So a connection
moves between redis-py's pool and a lease in one step of the interpreter: it is always in exactly one of them.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import call
from queue import LifoQueue
from threading import Event
from typing import Any, Final, TypeAlias

import redis

from keyweave.connection.direct import wire
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.redis_py.client import no_retries
from keyweave.connection.redis_py.failure import (
    NOT_CARRIED_OUT,
    connecting_failed,
    original,
    refused_while_connecting,
)
from keyweave.connection.redis_py.link_sync import BorrowedLink, borrow
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import ConfigurationError, StoreUnavailableError

_RESCAN: Final = 0.05
"""Seconds after which a waiter looks for a free connection itself: the application may have released one."""

Lease: TypeAlias = list[Any]
"""A connection taken out of redis-py's pool; empty once it is released. `None` stands for the right to make one."""


class RedisPyChannel:
    """Exchanges on connections of a client's pool.

    Args:
        client: a client that `settings_of` accepts.
        settings: what `settings_of` returned.
        on_close: closes a client that belongs to this channel; None for a client that the application gave.
        own: whether no application uses the client; by default whether there is `on_close`.
    """

    def __init__(
        self,
        client: Any,
        settings: ConnectionSettings,
        on_close: Callable[[], None] | None = None,
        *,
        own: bool | None = None,
    ) -> None:
        self.settings: Final = settings
        self._pool: Final = client.connection_pool
        self._blocking: Final = isinstance(self._pool, redis.BlockingConnectionPool)
        if self._blocking and not isinstance(self._pool.pool, LifoQueue):
            raise ConfigurationError("client: the queue of its pool must be a LifoQueue")
        self._links: Final[dict[Any, BorrowedLink]] = {}
        self._waiters: deque[Event] = deque()
        self._once: Final = no_retries(asynchronous=False)
        self._on_close = on_close
        self._own: Final = on_close is not None if own is None else own
        self._closed = False
        self._watch: PoolWatch | None = None

    def exchange(  # noqa: D102 - Channel
        self,
        commands: Sequence[Command],
        until: float | None = None,
        within: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        if not commands:
            return []
        lease: Lease = []
        try:
            try:
                link = self._acquire(lease, until)
                if meanwhile is not None:
                    return link.exchange(commands, within, meanwhile)
                return link.exchange(commands) if within is None else link.exchange(commands, within)
            except NOT_CARRIED_OUT as refusal:
                return refused_while_connecting(refusal, commands)
            finally:
                self._release(lease)
        except BaseException:
            self._release(lease)  # an exception from outside may have interrupted the release
            raise

    def _acquire(self, lease: Lease, until: float | None) -> BorrowedLink:
        """Take a connection into a lease, and return a link on it that is fit for use by `until`."""
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")
        if not self._take(lease):
            self._wait(lease, until)
        connection = lease[0]
        link = self._links.get(connection)
        if connection.is_connected:
            if link is None or not link.belongs_to(connection):
                link = self._borrow(connection)
            if self._alive(link, until):
                return link
            connection.disconnect()
        self._connect(connection, until)
        return self._borrow(connection)

    def _borrow(self, connection: Any) -> BorrowedLink:
        """Make the link on a connection, and forget those of connections that are closed."""
        for each in tuple(self._links):
            if not each.is_connected:
                self._links.pop(each, None)
        link = self._links[connection] = borrow(self.settings, connection, own=self._own)
        return link

    def _take(self, lease: Lease) -> bool:
        """Move a connection from the pool into a lease. Returns False when all are in use."""
        pool = self._pool
        pool._checkpid()
        if self._blocking:
            queue = pool.pool
            with queue.mutex:
                if not queue.queue:
                    return False
                lease.extend(map(call, (queue.queue.pop,)))
            if lease[0] is None:
                lease[0] = pool.make_connection()
            return True
        try:
            lease.extend(map(call, (pool._available_connections.pop,)))
        except IndexError:
            return self._make(lease)
        return True

    def _make(self, lease: Lease) -> bool:
        """Put a new connection into a lease. Returns False when the pool has as many as it may have."""
        pool = self._pool
        with pool._lock:
            made = pool._created_connections
            try:
                lease.extend(map(call, (pool.make_connection,)))
            except BaseException as error:
                if not lease:
                    pool._created_connections = made  # redis-py counts a connection before it makes one
                if isinstance(error, redis.exceptions.MaxConnectionsError):
                    return False
                raise
        return True

    def _wait(self, lease: Lease, until: float | None) -> None:
        """Wait up to `pool_timeout` until a connection is free."""
        started = time.monotonic()
        limit = wire.seconds_left(self.settings.pool_timeout, until)
        timed_out = False
        freed = Event()
        self._waiters.append(freed)
        try:
            while not self._take(lease):
                remaining = started + limit - time.monotonic()
                if remaining <= 0:
                    timed_out = True
                    raise wire.pool_exhausted(self.settings, limit)
                if freed.wait(min(remaining, _RESCAN)):
                    freed.clear()
                    self._waiters.append(freed)
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(freed)
            if self._watch is not None:
                self._watch.pool_waited(time.monotonic() - started, timed_out=timed_out)

    def _alive(self, link: BorrowedLink, until: float | None) -> bool:
        """Return whether a connection that was idle can be used."""
        if not link.usable or link.stale():
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

    def _connect(self, connection: Any, until: float | None) -> None:
        """Let redis-py connect, without its retries, by `until`. A provider of credentials is asked a second time."""
        tries = 1 if connection.credential_provider is None else 2
        while True:
            tries -= 1
            seconds = wire.seconds_left(self.settings.connect_timeout, until)
            try:
                self._connect_once(connection, max(seconds, 0.001))
                return
            except Exception as raised:
                connection.disconnect()
                error = original(raised)
                if isinstance(error, NOT_CARRIED_OUT):
                    raise error from raised
                if tries == 0 or not isinstance(error, redis.AuthenticationError):
                    raise connecting_failed(self.settings, error, seconds) from error
            except BaseException:
                connection.disconnect()
                raise

    def _connect_once(self, connection: Any, seconds: float) -> None:
        own = (connection.retry, connection.socket_timeout, connection.socket_connect_timeout)
        try:
            connection.retry = self._once
            connection.socket_timeout = connection.socket_connect_timeout = seconds
            connection.connect()
        finally:
            connection.retry, connection.socket_timeout, connection.socket_connect_timeout = own
        connection.update_current_socket_timeout(-1)

    def _release(self, lease: Lease) -> None:
        """Return a connection to the pool, unless that has happened. One without a complete exchange is disconnected."""
        if not lease:
            return
        pool, connection = self._pool, lease[0]
        if connection is not None:
            self._leave(connection)
        if self._blocking:
            with pool.pool.mutex:
                pool.pool.queue.extend(map(lease.pop, (0,)[: len(lease)]))
                pool.pool.not_empty.notify()
        else:
            pool._available_connections.extend(map(lease.pop, (0,)[: len(lease)]))
        if self._waiters:  # a caller is there before it looks into the pool, so none is overlooked
            with contextlib.suppress(IndexError):
                self._waiters.popleft().set()

    def _leave(self, connection: Any) -> None:
        """Make a connection fit for the pool."""
        link = self._links.get(connection)
        if link is not None and link.condemned and link.belongs_to(connection):
            self._pool.disconnect(inuse_connections=False)
        try:
            fit = link is not None and link.usable and not connection.should_reconnect()
            if fit and self._pool.owns_connection(connection):
                connection.re_auth()  # sends something only if a provider has renewed the credentials meanwhile
                return
        except redis.RedisError:
            pass
        connection.disconnect()

    def state(self) -> PoolState | None:  # noqa: D102 - Channel
        if self._closed:
            return None
        pool = self._pool
        idle = pool.pool.queue if self._blocking else pool._available_connections
        free = _connected(idle)
        made = len(pool._connections) if self._blocking else pool._created_connections
        kept = sum(each is not None for each in tuple(idle)) - free
        return PoolState(made - kept, free, len(self._waiters), pool.max_connections)

    def watch(self, watch: PoolWatch) -> None:  # noqa: D102 - Channel
        self._watch = watch

    def close(self) -> None:  # noqa: D102 - Channel
        self._closed = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


def _connected(connections: Iterable[Any]) -> int:
    """Return how many of redis-py's connections are connected. It also keeps some that are not."""
    return sum(each is not None and each.is_connected for each in tuple(connections))
