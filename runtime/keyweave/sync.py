"""The blocking shell: carries out a flow's effects on a pool of sockets. Safe to share between threads.

It sends what a flow asks for exactly once and knows nothing about what it means.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, TypeVar
from weakref import WeakSet

from keyweave import embedded, wire
from keyweave.connection import ConnectionSettings
from keyweave.effects import Call, Command, ConnectionFailure, Flow, Reply, Send, Sleep
from keyweave.errors import ConfigurationError, StoreUnavailableError
from keyweave.polling import BusyPoll, busy_poll
from keyweave.pooling import PoolState, PoolWatch
from keyweave.sync_link import Link, SocketLink

T = TypeVar("T")


class Shell:
    """Runs flows, blocking. `close` it, or use it as a context manager.

    Args:
        settings: where the server is. For `embedded`, the server is started here if it does not run yet.
        connection_factory: opens a link instead of the socket that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or the embedded server is not installed.
        StoreUnavailableError: the embedded server does not start.
    """

    def __init__(
        self, settings: ConnectionSettings, *, connection_factory: Callable[[], Link] | None = None
    ) -> None:
        tls = wire.tls_context(settings)
        self._lease: embedded.Lease | None = None
        if settings.scheme == "embedded" and connection_factory is None:
            self._lease = embedded.acquire(settings.path or None)
            settings = self._lease.settings(settings)
        self.settings: Final = settings
        polling = busy_poll(settings)
        self._pool = _Pool(
            settings, connection_factory or (lambda: SocketLink(settings, tls, polling)), polling
        )

    def run(self, flow: Flow[T], *_about: str, sleep: Callable[[float], object] = time.sleep) -> T:
        """Drive a flow to its end and return its result. What goes wrong is thrown into the flow, `sleep` included.

        `_about` says what the flow is for, to whoever watches a shell's runs; the shell itself does not look at it.
        """
        answer: object = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    effect = flow.send(answer) if failure is None else flow.throw(failure)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                answer = failure = None
                try:
                    if type(effect) is Send:
                        answer = self._exchange(effect.commands)
                    elif type(effect) is Sleep:
                        sleep(effect.seconds)
                    elif type(effect) is Call:
                        answer = effect.function(*effect.arguments)
                        if inspect.iscoroutine(answer):
                            answer.close()
                            raise ConfigurationError(
                                "an asynchronous function was given to a blocking store; use the asyncio one"
                            )
                    else:
                        raise TypeError(f"a flow yielded {type(effect).__name__}, which is no effect")
                except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                    failure = error
        finally:
            # An exception that refers to the frame that refers to it is garbage only a collector finds.
            failure = None

    def pool_state(self) -> PoolState | None:
        """How many connections there are; None once the shell is closed."""
        return self._pool.state()

    def watch_pool(self, watch: PoolWatch) -> None:
        """Have `watch` told about every wait for a connection."""
        self._pool.watch = watch

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        if not commands:
            return []
        link = self._pool.take()
        try:
            return link.exchange(commands)
        finally:
            self._pool.give_back(link)

    def close(self) -> None:
        """Close idle connections now, the others when they come back; end the use of an embedded server."""
        self._pool.close()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pool:
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
                raise wire.exhausted(self._settings) from None
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


_POOLS: Final[WeakSet[_Pool]] = WeakSet()


def _forget_inherited() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
