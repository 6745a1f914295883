"""One asyncio connection, driven by the event loop's callbacks: asyncio's streams cost more than the exchange itself."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, cast

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Packed, Reply, ServerError

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


COALESCED: Final = 4
"""The most pipelines that are sent with one system call when they begin in the same iteration of the event loop.

A higher number would save system calls, but the server would wait for the first pipeline until the last is packed.
"""


class Link(Protocol):
    """One connection, used by one task at a time, unless it is a `StreamLink`."""

    last_used: float
    """When the last exchange began, on the monotonic clock."""

    @property
    def usable(self) -> bool:
        """False during an exchange, and permanently after one that did not complete or that condemned the link."""

    condemned: bool
    """Whether the server's replies show that links of this age are of no use any more."""

    def exchange(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send all commands and read all replies. Raises ConnectionFailure."""

    def stale(self) -> bool:
        """Return whether the server closed the connection, or sent unrequested bytes, since the last exchange."""

    def close(self) -> Awaitable[None]:
        """Close the connection at once, awaited or not, without sending anything."""


class _Exchange:
    """One pipeline in flight: the future that its caller awaits, and the replies received so far."""

    __slots__ = ("answer", "began", "expected", "replies")

    def __init__(self, answer: asyncio.Future[list[Reply]], expected: int, began: float) -> None:
        self.answer = answer
        self.expected = expected
        self.began = began
        self.replies: list[Reply] = []


class StreamLink(asyncio.BufferedProtocol):
    """A connection as a protocol of the event loop; `open_link` returns one that is ready for use.

    It carries several exchanges at once, and the server answers them in order. The replies of an exchange that its
    caller abandoned are dropped when they arrive.

    Attributes:
        broken: whether no further exchange can begin.
        condemned: whether the server's replies show that links of this age are of no use any more.
    """

    def __init__(
        self, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop, polling: BusyPoll | None
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._polling = polling
        self._timeout = settings.connect_timeout
        self._reader = wire.new_reader()
        self.condemned = False
        # A view, because asyncio's TLS writes into a slice of the buffer, and a slice of a bytearray is a copy.
        self._buffer = memoryview(bytearray(wire.READ_SIZE))
        self._pending: deque[_Exchange] = deque()
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = loop.create_future()
        self.broken = False
        self.last_used = 0.0

    @property
    def usable(self) -> bool:  # noqa: D102 - Link
        return not (self.broken or self._pending or self.condemned)

    @property
    def in_flight(self) -> int:
        """The number of exchanges without all of their replies, including abandoned ones."""
        return len(self._pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - BufferedProtocol
        self._transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        wire.tune(connection)
        self._socket = connection.fileno()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | _POLLRDHUP)

    def exchange(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:  # noqa: D102 - Link
        payload = b"".join(
            [each.data if type(each) is Packed else wire.pack_command(each) for each in commands]
        )
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
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check_timeout)
        if alone:
            self._transport.write(payload)
            if self._polling is not None and self._polling.begin(self._socket):
                # Other callbacks that are ready run first, while the server works.
                self._loop.call_soon(self._poll_now)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(payload)
            if len(self._unsent) >= COALESCED:
                self._flush()
        return answer

    def _flush(self) -> None:
        if self._unsent and not self.broken:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _poll_now(self) -> None:
        """Poll for the replies and read them here: the event loop would take one more iteration."""
        pending, polling = self._pending, self._polling
        if len(pending) != 1 or pending[0].answer.done() or polling is None:
            return
        if self._transport.get_write_buffer_size():
            return  # only the event loop can send the rest
        while pending and polling.poll(self._poll, self.last_used):
            try:
                size = os.readv(self._socket, [self._buffer])
            except OSError:
                return  # the event loop will see the same error
            if not size:
                return
            self.buffer_updated(size)

    def _check_timeout(self) -> None:
        """Fail the connection if its oldest exchange timed out.

        All exchanges share one timer: a timer per exchange is too expensive.
        """
        self._timer = None
        if not self._pending:
            return
        remaining = self._pending[0].began + self._timeout - time.monotonic()
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_timeout)
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
                if type(reply) is ServerError:
                    self.condemned = self.condemned or wire.condemning((reply,))
                if len(first.replies) == first.expected:
                    answered.append(pending.popleft())
        except wire.ProtocolError as error:
            self._fail(wire.connection_lost(self._settings, error, _last_replies(pending)), answered)
            return
        if not pending:
            self._end_polling()
            if reader.has_data():
                self._abort()  # the beginning of a reply that no command asked for
        for exchange in answered:
            if not exchange.answer.done():
                exchange.answer.set_result(exchange.replies)

    def _end_polling(self) -> None:
        if self._polling is not None:
            self._polling.end(self._socket)

    def _abort(self) -> None:
        self.broken = True
        self._transport.abort()

    def _fail(self, failure: ConnectionFailure, more: Sequence[_Exchange] = ()) -> None:
        """Close the connection, and fail every exchange in flight and `more`."""
        failed = [*more, *self._pending]
        self._pending.clear()
        self._unsent.clear()
        self._end_polling()
        self._abort()
        for exchange in failed:
            if not exchange.answer.done():
                exchange.answer.set_exception(failure.copy())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102 - BufferedProtocol
        self._fail(wire.connection_lost(self._settings, exc, _last_replies(self._pending)))
        self._cancel_timer()
        if not self._closed.done():
            self._closed.set_result(None)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def greet(self) -> None:
        """Authenticate and select the database. Until then `connect_timeout` applies, afterwards `timeout`."""
        greeting = wire.greeting(self._settings)
        wire.check_greeting(self._settings, greeting, await self.exchange(greeting))
        self.condemned = False  # the commands that follow get an answer of their own
        self._timeout = self._settings.timeout
        self._cancel_timer()

    def stale(self) -> bool:  # noqa: D102 - Link
        return self.broken or bool(self._poll.poll(0))

    def close(self) -> asyncio.Future[None]:  # noqa: D102 - Link
        self._abort()
        return self._closed


def _last_replies(pending: Sequence[_Exchange]) -> list[Reply]:
    """Return the replies received so far for the oldest exchange."""
    return pending[0].replies if pending else []


async def _connect_socket(settings: ConnectionSettings, deadline: float) -> socket.socket:
    """Connect by `deadline`, whatever the number of addresses that the host has: they share the time."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    failure = OSError("the host has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        share = wire.share_of_time(deadline, len(found) - number) - time.monotonic()
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(share):
                await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            # The event loop's own text names the address instead of the reason.
            failure = error if error.errno is None else OSError(error.errno, os.strerror(error.errno))
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


async def open_link(
    settings: ConnectionSettings,
    tls: wire.TLS | None,
    polling: BusyPoll | None = None,
    until: float | None = None,
) -> StreamLink:
    """Open a connected, authenticated link, by the monotonic time `until` if one is given. Raises ConnectionFailure."""
    seconds = wire.seconds_left(settings.connect_timeout, until)
    loop = asyncio.get_running_loop()
    link = StreamLink(settings, loop, polling)
    opened = False
    try:
        async with asyncio.timeout(seconds):
            if settings.scheme == "unix":
                await loop.create_unix_connection(lambda: link, settings.path)
            else:
                connection = await _connect_socket(settings, time.monotonic() + seconds)
                name = settings.host if tls is not None else None
                try:
                    await loop.create_connection(lambda: link, sock=connection, ssl=tls, server_hostname=name)
                except BaseException:
                    connection.close()
                    raise
            opened = True
            await link.greet()
    except ConnectionFailure as failure:
        link.close()
        raise wire.before_sending(settings, failure, seconds) from failure.__cause__
    except (OSError, UnicodeError) as error:
        if opened:
            link.close()
        raise wire.connect_failed(settings, error, seconds) from error
    except BaseException:
        if opened:
            link.close()
        raise
    return link
