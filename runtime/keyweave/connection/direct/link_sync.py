"""One blocking connection: a socket and a parser, with nothing in between."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
_LARGE: Final = 65_536
"""Bytes of a pipeline that may have to wait for the server to read."""


class Link(Protocol):
    """One connection, used by one thread at a time."""

    usable: bool
    """False during an exchange, and permanently after one that did not complete or that condemned the link."""

    condemned: bool
    """Whether the server's replies show that links of this age are of no use any more."""

    last_used: float
    """When the last exchange began, on the monotonic clock."""

    def exchange(self, commands: Sequence[Command], timeout: float | None = None, /) -> list[Reply]:
        """Send all commands and read all replies. Raises ConnectionFailure.

        Args:
            timeout: seconds that this may take; the link's own timeout by default.
        """

    def stale(self) -> bool:
        """Return whether the server closed the connection, or sent unrequested bytes, since the last exchange."""

    def close(self) -> None:
        """Close the connection without sending anything."""


class SocketLink:
    """A connected, authenticated socket. The constructor and `exchange` raise ConnectionFailure."""

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
            self._timeout = _remaining(deadline)
            self._socket.settimeout(self._timeout)
            greeting = wire.greeting(settings)
            wire.check_greeting(settings, greeting, self.exchange(greeting))
            # The commands that follow get an answer of their own.
            self.condemned, self.usable = False, True
            self._timeout = settings.timeout
            self._socket.settimeout(self._timeout)
        except ConnectionFailure as failure:
            self.close()
            raise wire.before_sending(settings, failure, seconds) from failure.__cause__
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | _POLLRDHUP)
        self._polling = polling

    def exchange(  # noqa: D102 - Link
        self, commands: Sequence[Command], timeout: float | None = None, /
    ) -> list[Reply]:
        payload = b"".join(map(wire.pack_command, commands))
        expected = len(commands)
        replies: list[Reply] = []
        reader, connection, buffer, polling = self._reader, self._socket, self._buffer, self._polling
        self.usable = False
        self.last_used = started = time.monotonic()
        limit, bounded, refused = self._timeout, False, False
        try:
            if timeout is not None:
                connection.settimeout(timeout)
                limit, bounded = timeout, True
            connection.sendall(payload)
            if len(payload) > _LARGE:
                # Sending may have used up a part of the time.
                connection.settimeout(_remaining(started + limit))
                bounded = True
            if polling is not None and polling.begin(self._number):
                polling.poll(self._poll, started)
            while True:
                size = connection.recv_into(buffer)
                if not size:
                    raise wire.connection_lost(self._settings, None, replies)
                reader.feed(buffer, 0, size)
                while (reply := reader.gets()) is not wire.INCOMPLETE:
                    replies.append(reply)
                    if type(reply) is ServerError:
                        refused = True
                if len(replies) >= expected:
                    break
                remaining = started + limit - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                connection.settimeout(remaining)
                bounded = True
            if bounded:
                connection.settimeout(self._timeout)
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
