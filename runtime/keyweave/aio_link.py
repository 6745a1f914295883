"""One asyncio connection, driven by the event loop's callbacks: streams would cost more than the exchange."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, cast

from keyweave import wire
from keyweave.connection import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.polling import BusyPoll

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


class Link(Protocol):
    """One connection, used by one task at a time."""

    usable: bool
    """False while an exchange is under way, and for good once one was cut short."""
    last_used: float
    """When the last exchange began, on the monotonic clock."""

    def exchange(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send all commands, read all replies. Raises ConnectionFailure."""

    def stale(self) -> bool:
        """Whether the server hung up, or said something unasked, since the last exchange."""

    def close(self) -> Awaitable[None]:
        """Let go of the connection at once, awaited or not; the server is not told."""


class StreamLink(asyncio.BufferedProtocol):
    """A connection as the event loop sees it; `connected` makes one that is ready for use."""

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
        self._replies: list[Reply] = []
        self._expected = 0
        self._answer: asyncio.Future[list[Reply]] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] = loop.create_future()
        self.usable = True
        self.last_used = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - BufferedProtocol
        self._transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        wire.tune(connection)
        self._socket = connection.fileno()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | _POLLRDHUP)

    def exchange(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:  # noqa: D102 - Link
        payload = wire.pack(commands)
        self.usable = False
        self.last_used = time.monotonic()
        self._replies = []
        self._expected = len(commands)
        self._answer = answer = self._loop.create_future()
        if self._lost.done():
            answer.set_exception(wire.unsent(self._settings, wire.broken(self._settings, None)))
            return answer
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout, self._watch)
        self._transport.write(payload)
        if self._polling is not None and self._polling.begin(self._socket):
            # Whatever else is ready to run goes first, while the server works.
            self._loop.call_soon(self._look)
        return answer

    def _look(self) -> None:
        """Poll for the replies, and read them here: the event loop would take another turn."""
        answer, polling = self._answer, self._polling
        if answer is None or answer.done() or polling is None:
            return
        while self._answer is answer and polling.poll(self._poll, self.last_used):
            try:
                size = os.readv(self._socket, [self._buffer])
            except OSError:
                return  # what is wrong the event loop meets as well
            if not size:
                return
            self.buffer_updated(size)

    def _watch(self) -> None:
        """End an exchange that takes too long. One timer serves many of them: one for each would be dear."""
        self._alarm = None
        if self._answer is None:
            return
        remaining = self.last_used + self._timeout - time.monotonic()
        if remaining > 0:
            self._alarm = self._loop.call_later(remaining, self._watch)
        else:
            self._fail(wire.unanswered(self._settings, self._timeout))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002, D102 - BufferedProtocol
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102 - BufferedProtocol
        reader, replies, answer = self._reader, self._replies, self._answer
        if answer is None:
            self._transport.abort()
            return
        try:
            reader.feed(self._buffer, 0, nbytes)
            while (reply := reader.gets()) is not wire.INCOMPLETE:
                replies.append(reply)
        except wire.ProtocolError as error:
            self._fail(wire.broken(self._settings, error, replies))
            return
        if len(replies) >= self._expected:
            if len(replies) > self._expected:
                self._fail(wire.talkative(self._settings))
                return
            self._settle()
            if not answer.done():
                self.usable = not reader.has_data()
                answer.set_result(replies)

    def _settle(self) -> None:
        """The exchange under way is over."""
        self._answer = None
        if self._polling is not None:
            self._polling.end(self._socket)

    def _fail(self, failure: ConnectionFailure) -> None:
        answer = self._answer
        self._settle()
        self.usable = False
        if answer is not None and not answer.done():
            answer.set_exception(failure)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102 - BufferedProtocol
        self._fail(wire.broken(self._settings, exc, self._replies))
        self._silence()
        if not self._lost.done():
            self._lost.set_result(None)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def greet(self) -> None:
        """Authenticate and choose the database; from then on the timeout is that of an exchange."""
        greeting = wire.handshake(self._settings)
        wire.check_handshake(self._settings, greeting, await self.exchange(greeting))
        self._timeout = self._settings.timeout
        self._silence()

    def stale(self) -> bool:  # noqa: D102 - Link
        return self._lost.done() or bool(self._poll.poll(0))

    def close(self) -> asyncio.Future[None]:  # noqa: D102 - Link
        self.usable = False
        self._transport.abort()
        return self._lost


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
        raise wire.unsent(settings, failure) from failure.__cause__
    except (OSError, UnicodeError) as error:
        if opened:
            link.close()
        raise wire.unreachable(settings, error) from error
    except BaseException:
        if opened:
            link.close()
        raise
    return link
