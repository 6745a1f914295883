"""One asyncio connection, driven by the event loop's callbacks: streams would cost more than the exchange."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, cast

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


TOGETHER: Final = 4
"""Pipelines that go out in one piece when they begin in the same turn of the loop.

More of them would save system calls, and let the server wait for the first while the last is still being made.
"""


class Link(Protocol):
    """One connection, used by one task at a time, unless it is a `StreamLink`."""

    last_used: float
    """When the last exchange began, on the monotonic clock."""

    @property
    def usable(self) -> bool:
        """False while an exchange is under way, and for good once one was cut short."""

    def exchange(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send all commands, read all replies. Raises ConnectionFailure."""

    def stale(self) -> bool:
        """Whether the server hung up, or said something unasked, since the last exchange."""

    def close(self) -> Awaitable[None]:
        """Let go of the connection at once, awaited or not; the server is not told."""


class _Exchange:
    """One pipeline on its way: who waits for it, and the replies that have come."""

    __slots__ = ("answer", "began", "expected", "replies")

    def __init__(self, answer: asyncio.Future[list[Reply]], expected: int, began: float) -> None:
        self.answer = answer
        self.expected = expected
        self.began = began
        self.replies: list[Reply] = []


class StreamLink(asyncio.BufferedProtocol):
    """A connection as the event loop sees it; `connected` makes one that is ready for use.

    It carries several exchanges at once: the server answers them in their order. Of one that was given up, the replies
    are dropped when they come.

    Attributes:
        broken: no exchange can begin any more.
    """

    def __init__(
        self, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop, polling: BusyPoll | None
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._polling = polling
        self._timeout = settings.connect_timeout
        self._reader = wire.new_reader()
        # A view, because asyncio's TLS slices what it is given and means to write through the slice.
        self._buffer = memoryview(bytearray(wire.READ_SIZE))
        self._pending: deque[_Exchange] = deque()
        self._unsent: list[bytes] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] = loop.create_future()
        self.broken = False
        self.last_used = 0.0

    @property
    def usable(self) -> bool:  # noqa: D102 - Link
        return not self.broken and not self._pending

    @property
    def carried(self) -> int:
        """Exchanges under way, those that were given up included."""
        return len(self._pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - BufferedProtocol
        self._transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        wire.tune(connection)
        self._socket = connection.fileno()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | _POLLRDHUP)

    def exchange(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:  # noqa: D102 - Link
        payload = b"".join(map(wire.pack_command, commands))
        answer = self._loop.create_future()
        if self.broken:
            answer.set_exception(
                wire.before_sending(self._settings, wire.connection_lost(self._settings, None))
            )
            return answer
        pending = self._pending
        alone = not pending
        self.last_used = began = time.monotonic()
        pending.append(_Exchange(answer, len(commands), began))
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout, self._watch)
        if alone:
            self._transport.write(payload)
            if self._polling is not None and self._polling.begin(self._socket):
                # Whatever else is ready to run goes first, while the server works.
                self._loop.call_soon(self._look)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(payload)
            if len(self._unsent) >= TOGETHER:
                self._flush()
        return answer

    def _flush(self) -> None:
        if self._unsent and not self.broken:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        """Poll for the replies, and read them here: the event loop would take another turn."""
        pending, polling = self._pending, self._polling
        if len(pending) != 1 or pending[0].answer.done() or polling is None:
            return
        if self._transport.get_write_buffer_size():
            return  # only the event loop can send the rest
        while pending and polling.poll(self._poll, self.last_used):
            try:
                size = os.readv(self._socket, [self._buffer])
            except OSError:
                return  # what is wrong the event loop meets as well
            if not size:
                return
            self.buffer_updated(size)

    def _watch(self) -> None:
        """End exchanges that take too long. One timer serves many of them: one for each would be dear."""
        self._alarm = None
        if not self._pending:
            return
        remaining = self._pending[0].began + self._timeout - time.monotonic()
        if remaining > 0:
            self._alarm = self._loop.call_later(remaining, self._watch)
        else:
            self._fail(wire.timed_out(self._settings, self._timeout))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002, D102 - BufferedProtocol
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102 - BufferedProtocol
        reader, pending = self._reader, self._pending
        answered: list[_Exchange] = []
        try:
            reader.feed(self._buffer, 0, nbytes)
            while (reply := reader.gets()) is not wire.INCOMPLETE:
                if not pending:
                    self._fail(wire.unexpected_reply(self._settings), answered)
                    return
                first = pending[0]
                first.replies.append(reply)
                if len(first.replies) == first.expected:
                    answered.append(pending.popleft())
        except wire.ProtocolError as error:
            self._fail(wire.connection_lost(self._settings, error, _last_replies(pending)), answered)
            return
        if not pending:
            self._settle()
            if reader.has_data():
                self._give_up()  # nobody asked for what has begun to arrive
        for exchange in answered:
            if not exchange.answer.done():
                exchange.answer.set_result(exchange.replies)

    def _settle(self) -> None:
        """No exchange is under way any more."""
        if self._polling is not None:
            self._polling.end(self._socket)

    def _give_up(self) -> None:
        self.broken = True
        self._transport.abort()

    def _fail(self, failure: ConnectionFailure, more: Sequence[_Exchange] = ()) -> None:
        """End the connection, and with it every exchange under way, and `more`."""
        failed = [*more, *self._pending]
        self._pending.clear()
        self._unsent.clear()
        self._settle()
        self._give_up()
        for exchange in failed:
            if not exchange.answer.done():
                exchange.answer.set_exception(failure.copy())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102 - BufferedProtocol
        self._fail(wire.connection_lost(self._settings, exc, _last_replies(self._pending)))
        self._silence()
        if not self._lost.done():
            self._lost.set_result(None)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def greet(self) -> None:
        """Authenticate and choose the database; from then on the timeout is that of an exchange."""
        greeting = wire.greeting(self._settings)
        wire.check_greeting(self._settings, greeting, await self.exchange(greeting))
        self._timeout = self._settings.timeout
        self._silence()

    def stale(self) -> bool:  # noqa: D102 - Link
        return self.broken or bool(self._poll.poll(0))

    def close(self) -> asyncio.Future[None]:  # noqa: D102 - Link
        self._give_up()
        return self._lost


def _last_replies(pending: Sequence[_Exchange]) -> list[Reply]:
    """What has come of the exchange that is being answered."""
    return pending[0].replies if pending else []


async def connected(
    settings: ConnectionSettings, tls: wire.TLS | None, polling: BusyPoll | None = None
) -> StreamLink:
    """A connected, authenticated link. Raises ConnectionFailure."""
    loop = asyncio.get_running_loop()
    link = StreamLink(settings, loop, polling)
    opened = False
    try:
        async with asyncio.timeout(settings.connect_timeout):
            if settings.scheme == "unix":
                await loop.create_unix_connection(lambda: link, settings.path)
            else:
                await loop.create_connection(lambda: link, settings.host, settings.port, ssl=tls)
            opened = True
            await link.greet()
    except ConnectionFailure as failure:
        link.close()
        raise wire.before_sending(settings, failure) from failure.__cause__
    except (OSError, UnicodeError) as error:
        if opened:
            link.close()
        raise wire.connect_failed(settings, error) from error
    except BaseException:
        if opened:
            link.close()
        raise
    return link
