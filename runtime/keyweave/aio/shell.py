"""The asyncio shell: carries out a flow's effects on a pool of connections. It belongs to one event loop.

It sends a flow's commands exactly once and knows nothing about their meaning.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import busy_poll
from keyweave.connection.direct.link_aio import Link, open_link
from keyweave.connection.direct.pool_aio import Pool
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Call, Flow, Send, Sleep

if TYPE_CHECKING:
    from keyweave.embedded.server import Lease

T = TypeVar("T")


class Shell:
    """Runs flows on the event loop of its first run. Call `aclose`, or use it as an async context manager.

    Args:
        settings: the address of the server. For `embedded`, the server is started if it does not run yet.
        connection_factory: opens a link instead of the connection that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or the embedded server is not installed.
        StoreUnavailableError: the embedded server does not start.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        connection_factory: Callable[[], Awaitable[Link]] | None = None,
    ) -> None:
        tls = wire.tls_context(settings)
        self._lease: Lease | None = None
        if settings.scheme == "embedded" and connection_factory is None:
            from keyweave.embedded import server  # other servers need no process, which takes long to import

            self._lease = server.acquire(settings.path or None)
            settings = self._lease.settings(settings)
        self.settings: Final = settings
        polling = busy_poll(settings)
        # A link of a connection factory carries one exchange at a time.
        depth = settings.pipelining if connection_factory is None else 1

        def connect(until: float | None) -> Awaitable[Link]:
            if connection_factory is not None:
                return connection_factory()
            return open_link(settings, tls, polling, until)

        self._pool = Pool(settings, connect, depth, polling)

    async def run(
        self, flow: Flow[T], *_about: str, budget: float | None = None, until: float | None = None
    ) -> T:
        """Drive a flow to its end and return its result. Errors are thrown into the flow.

        After `until` nothing is sent and no pause begins: a `ConnectionFailure` with the reason `deadline` is thrown
        into the flow instead. An exchange that begins before ends by its own timeout.

        Args:
            flow: what to run.
            _about: the purpose of the flow, for a caller that watches the runs of a shell; the shell ignores it.
            budget: seconds that the operation may take from its first effect on; None: no limit.
            until: the monotonic time at which the operation's budget ends; takes the place of `budget`.

        Raises:
            ConfigurationError: thrown into the flow if it runs on another event loop than the first flow.
        """
        bounded = budget is not None or until is not None
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
                    if bounded:
                        now = time.monotonic()
                        if until is None:
                            until = now + (budget or 0.0)
                        elif now >= until and type(effect) is not Call:
                            raise wire.deadline_passed()
                    if type(effect) is Send:
                        within = effect.within
                        if within is None:
                            answer = await self._pool.exchange(effect.commands, until)
                        else:
                            answer = await self._pool.exchange(
                                effect.commands, wire.earlier(until, within), within
                            )
                    elif type(effect) is Sleep:
                        if until is not None and time.monotonic() + effect.seconds >= until:
                            raise wire.deadline_passed()
                        await asyncio.sleep(effect.seconds)
                    elif type(effect) is Call:
                        answer = effect.function(*effect.arguments)
                        if inspect.isawaitable(answer):
                            answer = await answer
                    else:
                        raise TypeError(f"a flow yielded {type(effect).__name__}, which is not an effect")
                except GeneratorExit:
                    # The coroutine is being closed and must not await again, so the flow cannot continue either.
                    raise
                except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                    failure = error
        finally:
            # The frame and the exception's traceback refer to each other: only the garbage collector would free them.
            failure = None

    def pool_state(self) -> PoolState | None:
        """Return the state of the pool; None once the shell is closed."""
        return self._pool.state()

    def watch_pool(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a connection."""
        self._pool.watch = watch

    async def aclose(self) -> None:
        """Close idle connections now and leased ones when they are released; end the use of an embedded server."""
        await self._pool.close()
        lease, self._lease = self._lease, None
        if lease is not None:
            await asyncio.to_thread(lease.release)

    async def __aenter__(self) -> Shell:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
