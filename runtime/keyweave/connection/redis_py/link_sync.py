"""An exchange on the socket of a connection of redis-py, which stays redis-py's: it is never closed here."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from keyweave.connection.direct.link_sync import POLLRDHUP, SocketLink, TLSLink
from keyweave.connection.direct.wire import new_reader
from keyweave.connection.redis_py.resp3 import Resp3Reader, as_resp2
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, Reply

_READ_SIZE = 65_536


class BorrowedLink(SocketLink):
    """A link on the socket of a connected connection of redis-py."""

    __slots__ = ("_connection", "_resp3")

    def __init__(self, settings: ConnectionSettings, connection: Any) -> None:
        self._settings = settings
        self._timeout = settings.timeout
        self._polling = None
        self._connection = connection
        self._resp3 = int(connection.get_protocol()) == 3
        self._reader: Any = Resp3Reader(self._pushed) if self._resp3 else new_reader()
        self._buffer = bytearray(_READ_SIZE)
        self._socket = connection._sock
        self._number = self._socket.fileno()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | POLLRDHUP)
        self.condemned, self.usable = False, True
        self.last_used = 0.0

    def belongs_to(self, connection: Any) -> bool:
        """Return whether the connection still has the socket of this link."""
        return connection._sock is self._socket

    def exchange(  # noqa: D102 - Link
        self,
        commands: Sequence[Command],
        timeout: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        waits = self._socket.gettimeout()
        if not waits and waits is not None and not self._resp3:  # it never blocks
            return super().exchange(commands, timeout, meanwhile)
        try:
            self._socket.setblocking(False)
            replies = super().exchange(commands, timeout, meanwhile)
        finally:
            self._socket.settimeout(waits)
        return as_resp2(commands, replies) if self._resp3 else replies

    def _pushed(self, message: Any) -> None:
        self._connection._get_parser().handle_push_response(message)

    def close(self) -> None:  # noqa: D102 - Link
        self.usable = False


class BorrowedTLSLink(BorrowedLink, TLSLink):
    """The same over TLS."""

    __slots__ = ()


def borrow(settings: ConnectionSettings, connection: Any, *, own: bool = False) -> BorrowedLink:
    """Return a link on a connected connection.

    Args:
        own: whether no application uses the connection. Its socket then never blocks again.
    """
    if hasattr(connection._sock, "pending"):
        return BorrowedTLSLink(settings, connection)
    if own:
        connection._sock.setblocking(False)
    return BorrowedLink(settings, connection)
