"""The asyncio shell: carries out a flow's effects on a channel. It belongs to one event loop.

It sends a flow's commands exactly once and knows nothing about their meaning.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, TypeVar

from keyweave.aio.channel import open_channel
from keyweave.connection.channel import AsyncChannel
from keyweave.connection.direct import wire
from keyweave.connection.direct.link_aio import Link
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Call, Flow, Reply, Send, Sleep, Wait

T = TypeVar("T")


_PATIENCE: Final = 1.0
"""Seconds beyond budget and timeout after which a reply counts as none: the process stood still, or its machine slept."""


class Shell:
    """Runs flows on the event loop of its first run. Call `aclose`, or use it as an async context manager.

    Args:
        where: a channel, or the address of a server. For `embedded`, the server is started if it does not run yet.
        connection_factory: opens a link instead of the connection that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or the embedded server is not installed.
        StoreUnavailableError: the embedded server does not start.
    """

    def __init__(
        self,
        where: ConnectionSettings | AsyncChannel,
        *,
        connection_factory: Callable[[], Awaitable[Link]] | None = None,
    ) -> None:
        self.channel: Final[AsyncChannel] = (
            open_channel(where, connection_factory) if isinstance(where, ConnectionSettings) else where
        )
        self._patience: Final = self.channel.settings.timeout + _PATIENCE

    @property
    def settings(self) -> ConnectionSettings:
        """Where the servers are."""
        return self.channel.settings

    async def ready(self, until: float | None = None) -> None:
        """Connect now, if the first run is to connect. A shell whose store was opened by a URL is ready."""

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
                        if effect.meanwhile is not None:
                            answer = await self._exchange_meanwhile(effect, until, effect.meanwhile)
                        elif within is None:
                            answer = await self.channel.exchange(effect.commands, until)
                        else:
                            answer = await self.channel.exchange(
                                effect.commands, wire.earlier(until, within), within
                            )
                        wire.require_in_time(until, within, self._patience)
                    elif type(effect) is Sleep:
                        if until is not None and time.monotonic() + effect.seconds >= until:
                            raise wire.deadline_passed()
                        await asyncio.sleep(effect.seconds)
                    elif type(effect) is Call:
                        answer = effect.function(*effect.arguments)
                        if answer is not None and inspect.isawaitable(answer):
                            answer = await answer
                    elif type(effect) is Wait:
                        answer = await _wait(effect, until)
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

    async def _exchange_meanwhile(
        self, effect: Send, until: float | None, meanwhile: Callable[[], None]
    ) -> list[Reply]:
        """Carry out a `Send` in a task of its own, and call a function once the task has begun to wait for replies."""
        within = effect.within
        end = until if within is None else wire.earlier(until, within)
        exchange = asyncio.ensure_future(self.channel.exchange(effect.commands, end, within))
        try:
            await asyncio.sleep(0)
            meanwhile()
            return await exchange
        except BaseException:
            # No caller awaits the exchange any more. It gives its connection back by itself.
            exchange.cancel()
            exchange.add_done_callback(_retrieve)
            raise

    def pool_state(self) -> PoolState | None:
        """Return the state of the pool; None once the shell is closed."""
        return self.channel.state()

    def watch_pool(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a connection."""
        self.channel.watch(watch)

    async def aclose(self) -> None:
        """Close what belongs to the channel; a client that the caller gave stays open. Harmless when repeated."""
        await self.channel.close()

    async def __aenter__(self) -> Shell:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _retrieve(exchange: asyncio.Future[list[Reply]]) -> None:
    """Look at the error of an exchange that no caller awaits, or asyncio logs it."""
    if not exchange.cancelled():
        exchange.exception()


async def _wait(effect: Wait, until: float | None) -> bool:
    """Wait for a signal, but not beyond `until`.

    Raises:
        ConnectionFailure: the reason is `deadline`.
    """
    signal = effect.signal
    if signal.is_set:
        return True
    seconds = effect.seconds if until is None else min(effect.seconds, until - time.monotonic())
    loop = asyncio.get_running_loop()
    announced = loop.create_future()

    def wake() -> None:
        if not announced.done() and not loop.is_closed():
            announced.set_result(None)

    signal.attach(wake)
    timer = loop.call_later(seconds, wake)
    try:
        await announced
    finally:
        timer.cancel()
    answer: bool = effect.signal.is_set
    if not answer and seconds < effect.seconds:
        raise wire.deadline_passed()
    return answer


class Known(Protocol):
    """What remembers when numbers of partitions were read last: the monotonic time; 0 before they were."""

    known: float


class Lease(Protocol):
    """How long runs may rely on what their store has read; see `keyweave.exchange.lease`."""

    @property
    def state(self) -> Known:
        """When it was read."""

    @property
    def age(self) -> float:
        """Seconds after which it has to be read again before a run begins."""

    @property
    def budget(self) -> float | None:
        """Seconds that a run may take, reading it again included; None: no limit."""

    @property
    def short(self) -> bool:
        """Whether a run with a limit may take longer than the lease."""

    def renew(self) -> Flow[None]:
        """Read it again."""

    def within(self, flow: Flow[T]) -> Flow[T]:
        """Return a flow that reads it again on the way."""


def renewing(run: Callable[..., Awaitable[T]], shell: Shell, lease: Lease) -> Callable[..., Awaitable[T]]:
    """Return a function that runs flows like `run`, and renews the lease before one of them when it is too old."""
    state, age, budget, short, monotonic = lease.state, lease.age, lease.budget, lease.short, time.monotonic

    async def leased(flow: Flow[T], /, *about: str, until: float | None = None) -> T:
        if short or (budget is None and until is None):
            flow = lease.within(flow)
        if state.known and monotonic() - state.known > age:
            if until is None and budget is not None:
                until = monotonic() + budget
            await shell.run(lease.renew(), until=until)
        return await run(flow, *about, until=until)

    return leased
