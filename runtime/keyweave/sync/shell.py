"""The blocking shell: carries out a flow's effects on a channel. Safe to share between threads.

It sends a flow's commands exactly once and knows nothing about their meaning.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from threading import Event
from types import TracebackType
from typing import Final, Protocol, TypeVar

from keyweave.connection.channel import Channel
from keyweave.connection.direct import wire
from keyweave.connection.direct.link_sync import Link
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Call, Flow, Send, Sleep, Wait
from keyweave.errors import ConfigurationError
from keyweave.sync.channel import open_channel

T = TypeVar("T")


_PATIENCE: Final = 1.0
"""Seconds beyond budget and timeout after which a reply counts as none: the process stood still, or its machine slept."""


class Shell:
    """Runs flows, blocking. Call `close`, or use it as a context manager.

    Args:
        where: a channel, or the address of a server. For `embedded`, the server is started if it does not run yet.
        connection_factory: opens a link instead of the socket that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or the embedded server is not installed.
        StoreUnavailableError: the embedded server does not start.
    """

    def __init__(
        self, where: ConnectionSettings | Channel, *, connection_factory: Callable[[], Link] | None = None
    ) -> None:
        self.channel: Final[Channel] = (
            open_channel(where, connection_factory) if isinstance(where, ConnectionSettings) else where
        )
        self._patience: Final = self.channel.settings.timeout + _PATIENCE

    @property
    def settings(self) -> ConnectionSettings:
        """Where the servers are."""
        return self.channel.settings

    def ready(self, until: float | None = None) -> None:
        """Connect now, if the first run is to connect. A shell whose store was opened by a URL is ready."""

    def run(
        self,
        flow: Flow[T],
        *_about: str,
        sleep: Callable[[float], object] = time.sleep,
        budget: float | None = None,
        until: float | None = None,
    ) -> T:
        """Drive a flow to its end and return its result. Errors are thrown into the flow, including those of `sleep`.

        After `until` nothing is sent and no pause begins: a `ConnectionFailure` with the reason `deadline` is thrown
        into the flow instead. An exchange that begins before ends by its own timeout.

        Args:
            flow: what to run.
            _about: the purpose of the flow, for a caller that watches the runs of a shell; the shell ignores it.
            sleep: carries out pauses.
            budget: seconds that the operation may take from its first effect on; None: no limit.
            until: the monotonic time at which the operation's budget ends; takes the place of `budget`.
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
                            answer = self.channel.exchange(
                                effect.commands,
                                until if within is None else wire.earlier(until, within),
                                within,
                                effect.meanwhile,
                            )
                        elif within is None:
                            answer = self.channel.exchange(effect.commands, until)
                        else:
                            answer = self.channel.exchange(
                                effect.commands, wire.earlier(until, within), within
                            )
                        wire.require_in_time(until, within, self._patience)
                    elif type(effect) is Sleep:
                        if until is not None and time.monotonic() + effect.seconds >= until:
                            raise wire.deadline_passed()
                        sleep(effect.seconds)
                    elif type(effect) is Call:
                        answer = effect.function(*effect.arguments)
                        if inspect.iscoroutine(answer):
                            answer.close()
                            raise ConfigurationError(
                                "the function is asynchronous and the store is blocking; use the asyncio store"
                            )
                    elif type(effect) is Wait:
                        answer = _wait(effect, until)
                    else:
                        raise TypeError(f"a flow yielded {type(effect).__name__}, which is not an effect")
                except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                    failure = error
        finally:
            # The frame and the exception's traceback refer to each other: only the garbage collector would free them.
            failure = None

    def pool_state(self) -> PoolState | None:
        """Return the state of the pool; None once the shell is closed."""
        return self.channel.state()

    def watch_pool(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a connection."""
        self.channel.watch(watch)

    def close(self) -> None:
        """Close what belongs to the channel; a client that the caller gave stays open. Harmless when repeated."""
        self.channel.close()

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait(effect: Wait, until: float | None) -> bool:
    """Wait for a signal, but not beyond `until`.

    Raises:
        ConnectionFailure: the reason is `deadline`.
    """
    signal = effect.signal
    if signal.is_set:
        return True
    seconds = effect.seconds if until is None else min(effect.seconds, until - time.monotonic())
    announced = Event()
    signal.attach(announced.set)
    announced.wait(seconds)
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


def renewing(run: Callable[..., T], shell: Shell, lease: Lease) -> Callable[..., T]:
    """Return a function that runs flows like `run`, and renews the lease before one of them when it is too old."""
    state, age, budget, short, monotonic = lease.state, lease.age, lease.budget, lease.short, time.monotonic

    def leased(flow: Flow[T], /, *about: str, until: float | None = None) -> T:
        if short or (budget is None and until is None):
            flow = lease.within(flow)
        if state.known and monotonic() - state.known > age:
            if until is None and budget is not None:
                until = monotonic() + budget
            shell.run(lease.renew(), until=until)
        return run(flow, *about, until=until)

    return leased
