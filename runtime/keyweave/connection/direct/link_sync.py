"""One blocking connection: a socket and a parser, with nothing in between."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Packed, Reply, ServerError

POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""The event of a peer that sends no more; 0 where the system does not report it."""

_MOMENT: Final = 0.1
"""Seconds to read a reply whose time was over while something else was done or waited for: it has probably come."""


class Link(Protocol):
    """One connection, used by one thread at a time."""

    usable: bool
    """False during an exchange, and permanently after one that did not complete or that condemned the link."""

    condemned: bool
    """Whether the server's replies show that links of this age are of no use any more."""

    last_used: float
    """When the last exchange began, on the monotonic clock."""

    def exchange(
        self,
        commands: Sequence[Command],
        timeout: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        """Send all commands and read all replies. Raises ConnectionFailure.

        Args:
            timeout: seconds that this may take; the link's own timeout by default.
            meanwhile: called between sending and reading. Its time counts, but a moment is left to read what has come.
        """

    def stale(self) -> bool:
        """Return whether the server closed the connection, or sent unrequested bytes, since the last exchange."""

    def close(self) -> None:
        """Close the connection without sending anything."""


class SocketLink:
    """A connected, authenticated socket. The constructor and `exchange` raise ConnectionFailure.

    The socket does not block. Python would wait with a system call of its own before each send and receive.
    """

    __slots__ = (
        "_buffer",
        "_number",
        "_poll",
        "_polling",
        "_reader",
        "_settings",
        "_socket",
        "_timeout",
        "condemned",
        "last_used",
        "usable",
    )

    _reads_first: ClassVar = True
    """Whether the replies are read before the socket is polled where they are probably there."""

    def __init__(
        self,
        settings: ConnectionSettings,
        tls: wire.TLS | None,
        polling: BusyPoll | None = None,
        until: float | None = None,
    ) -> None:
        self._settings = settings
        seconds = wire.seconds_left(settings.connect_timeout, until)
        self._polling: BusyPoll | None = None
        self._reader = wire.new_reader()
        self._buffer = bytearray(wire.READ_SIZE)
        self.condemned, self.usable = False, True
        deadline = time.monotonic() + seconds
        try:
            self._socket = _connect_socket(settings, tls, deadline)
        except (OSError, UnicodeError) as error:
            raise wire.connect_failed(settings, error, seconds) from error
        self._number = self._socket.fileno()
        try:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN | POLLRDHUP)
            self._socket.setblocking(False)
            self._timeout = _remaining(deadline)
            greeting = wire.greeting(settings)
            wire.check_greeting(settings, greeting, self.exchange(greeting))
            # The commands that follow get an answer of their own.
            self.condemned, self.usable = False, True
            self._timeout = settings.timeout
        except ConnectionFailure as failure:
            self.close()
            raise wire.before_sending(settings, failure, seconds) from failure.__cause__
        except BaseException:
            self.close()
            raise
        self._polling = polling

    def exchange(  # noqa: D102 - Link
        self,
        commands: Sequence[Command],
        timeout: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        payload = b"".join(
            [each.data if type(each) is Packed else wire.pack_command(each) for each in commands]
        )
        expected = len(commands)
        replies: list[Reply] = []
        reader, connection, buffer, polling = self._reader, self._socket, self._buffer, self._polling
        self.usable = False
        self.last_used = started = time.monotonic()
        limit = self._timeout if timeout is None else timeout
        until, refused, ready = started + limit, False, False
        try:
            self._send(payload, until)
            if meanwhile is not None:
                meanwhile()
                started = time.monotonic()
                until = max(until, started + _MOMENT)
                ready = self._reads_first
            if polling is not None and polling.begin(self._number):
                ready = polling.poll(self._poll, started)
            while True:
                if not ready:
                    self._await_reply(until)
                ready = False
                try:
                    size = connection.recv_into(buffer)
                except BlockingIOError:  # woken without bytes
                    continue
                if not size:
                    raise wire.connection_lost(self._settings, None, replies)
                reader.feed(buffer, 0, size)
                while (reply := reader.gets()) is not wire.INCOMPLETE:
                    replies.append(reply)
                    if type(reply) is ServerError:
                        refused = True
                if len(replies) >= expected:
                    break
        except TimeoutError:
            raise wire.timed_out(self._settings, limit) from None
        except (OSError, wire.ProtocolError) as error:
            raise wire.connection_lost(self._settings, error, replies) from error
        finally:
            if polling is not None:
                polling.end(self._number)
        if len(replies) > expected:
            raise wire.unexpected_reply(self._settings)
        self.condemned = refused and wire.condemning(replies)
        self.usable = not (reader.has_data() or self.condemned)
        return replies

    def _send(self, payload: bytes, until: float) -> None:
        try:
            sent = self._socket.send(payload)
        except BlockingIOError:
            sent = 0
        if sent < len(payload):
            writable = select.poll()
            writable.register(self._socket, select.POLLOUT)
            rest = memoryview(payload)[sent:]
            while rest:
                _wait(writable, until)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest) :]

    def _await_reply(self, until: float) -> None:
        _wait(self._poll, until)

    def stale(self) -> bool:  # noqa: D102 - Link
        return bool(self._poll.poll(0))

    def close(self) -> None:  # noqa: D102 - Link
        self.usable = False
        if self._polling is not None:
            self._polling.end(self._number)  # an exception from outside may have interrupted the exchange
        self._socket.close()

    def __del__(self) -> None:
        # A link that an exception from outside separated from its pool; the socket would warn that it is not closed.
        with contextlib.suppress(AttributeError):
            self.close()


class TLSLink(SocketLink):
    """The same over TLS, whose bytes a poll of the socket does not show. The socket waits by itself, with a timeout."""

    __slots__ = ()
    _reads_first: ClassVar = False

    def _send(self, payload: bytes, until: float) -> None:
        self._socket.settimeout(_remaining(until))
        self._socket.sendall(payload)

    def _await_reply(self, until: float) -> None:
        if time.monotonic() >= until:
            raise TimeoutError
        self._socket.settimeout(_remaining(until))


def _wait(poller: select.poll, until: float) -> None:
    """Wait until the poller's socket is ready.

    Raises:
        TimeoutError: it was not by `until`, on the monotonic clock.
    """
    remaining = until - time.monotonic()
    if remaining <= 0 or not poller.poll(math.ceil(remaining * 1000)):
        raise TimeoutError


def _remaining(deadline: float) -> float:
    """Return the seconds until a monotonic time; never 0, which would stand for a socket that does not block."""
    return max(deadline - time.monotonic(), 0.001)


def _connect_socket(settings: ConnectionSettings, tls: wire.TLS | None, deadline: float) -> socket.socket:
    """Connect by `deadline`, whatever the number of addresses that the host has: they share the time."""
    if settings.scheme == "unix":
        return _connect_address(socket.AF_UNIX, settings.path, deadline)
    connection = None
    failure = OSError("the host has no address")
    found = socket.getaddrinfo(settings.host, settings.port, 0, socket.SOCK_STREAM)
    for number, (family, _, _, _, address) in enumerate(found):
        share = wire.share_of_time(deadline, len(found) - number)
        try:
            connection = _connect_address(family, address, share)
            break
        except OSError as error:
            failure = error
    if connection is None:
        raise failure
    try:
        wire.tune(connection)
        connection.settimeout(_remaining(deadline))
        return tls.wrap_socket(connection, server_hostname=settings.host) if tls is not None else connection
    except BaseException:
        connection.close()
        raise


def _connect_address(family: int, address: Any, deadline: float) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(_remaining(deadline))
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
