"""One blocking connection: a socket and a parser, with nothing in between."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from typing import Final, Protocol

from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)


class Link(Protocol):
    """One connection, used by one thread at a time."""

    usable: bool
    """False during an exchange, and permanently after one that did not complete."""
    last_used: float
    """When the last exchange began, on the monotonic clock."""

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands and read all replies. Raises ConnectionFailure."""

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
        "last_used",
        "usable",
    )

    def __init__(
        self, settings: ConnectionSettings, tls: wire.TLS | None, polling: BusyPoll | None = None
    ) -> None:
        self._settings = settings
        self._timeout = settings.connect_timeout
        self._polling: BusyPoll | None = None
        self._reader = wire.new_reader()
        self._buffer = bytearray(wire.READ_SIZE)
        self.usable = True
        deadline = time.monotonic() + settings.connect_timeout
        try:
            self._socket = _connect_socket(settings, tls)
        except (OSError, UnicodeError) as error:
            raise wire.connect_failed(settings, error) from error
        self._number = self._socket.fileno()
        try:
            self._timeout = max(deadline - time.monotonic(), 0.001)
            self._socket.settimeout(self._timeout)
            greeting = wire.greeting(settings)
            wire.check_greeting(settings, greeting, self.exchange(greeting))
            self._timeout = settings.timeout
            self._socket.settimeout(self._timeout)
        except ConnectionFailure as failure:
            self.close()
            raise wire.before_sending(settings, failure) from failure.__cause__
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | _POLLRDHUP)
        self._polling = polling

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:  # noqa: D102 - Link
        payload = b"".join(map(wire.pack_command, commands))
        expected = len(commands)
        replies: list[Reply] = []
        reader, connection, buffer, polling = self._reader, self._socket, self._buffer, self._polling
        self.usable = False
        self.last_used = started = time.monotonic()
        bounded = False
        try:
            connection.sendall(payload)
            if polling is not None and polling.begin(self._number):
                polling.poll(self._poll, started)
            while True:
                size = connection.recv_into(buffer)
                if not size:
                    raise wire.connection_lost(self._settings, None, replies)
                reader.feed(buffer, 0, size)
                while (reply := reader.gets()) is not wire.INCOMPLETE:
                    replies.append(reply)
                if len(replies) >= expected:
                    break
                remaining = started + self._timeout - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                connection.settimeout(remaining)
                bounded = True
            if bounded:
                connection.settimeout(self._timeout)
        except TimeoutError:
            raise wire.timed_out(self._settings, self._timeout) from None
        except (OSError, wire.ProtocolError) as error:
            raise wire.connection_lost(self._settings, error, replies) from error
        finally:
            if polling is not None:
                polling.end(self._number)
        if len(replies) > expected:
            raise wire.unexpected_reply(self._settings)
        self.usable = not reader.has_data()
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


def _connect_socket(settings: ConnectionSettings, tls: wire.TLS | None) -> socket.socket:
    if settings.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(settings.connect_timeout)
            connection.connect(settings.path)
        except BaseException:
            connection.close()
            raise
        return connection
    connection = socket.create_connection((settings.host, settings.port), settings.connect_timeout)
    try:
        wire.tune(connection)
        return tls.wrap_socket(connection, server_hostname=settings.host) if tls is not None else connection
    except BaseException:
        connection.close()
        raise
