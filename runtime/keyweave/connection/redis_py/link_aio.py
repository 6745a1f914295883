"""An exchange on the streams of an asyncio connection of redis-py, which stays redis-py's: it is never closed here."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from keyweave.connection.direct import wire
from keyweave.connection.redis_py.resp3 import Resp3Reader, as_resp2
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, Reply, ServerError

_POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
_PAUSE_ABOVE: Final = 65_536
"""Bytes of a pipeline above which sending waits for the transport."""

_MOMENT: Final = 0.1
"""Seconds to read a reply whose time was over while others were waited for: it has probably come."""


class BorrowedLink:
    """A link on the streams of a connected connection of redis-py.

    Attributes:
        usable: False during an exchange, and permanently after one that did not complete or that condemned the link.
        condemned: whether the server's replies show that links of this age are of no use any more.
        last_used: when the last exchange began, on the monotonic clock.
    """

    def __init__(self, settings: ConnectionSettings, connection: Any) -> None:
        self._settings = settings
        self._connection = connection
        self._stream: asyncio.StreamReader = connection._reader
        self._writer: asyncio.StreamWriter = connection._writer
        self._resp3 = int(connection.get_protocol()) == 3
        self._pushed: list[Any] = []
        self._reader: Any = Resp3Reader(self._pushed.append) if self._resp3 else wire.new_reader()
        self._poll = select.poll()
        self._poll.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN | _POLLRDHUP)
        self.condemned, self.usable = False, True
        self.last_used = 0.0

    def belongs_to(self, connection: Any) -> bool:
        """Return whether the connection still has the streams of this link."""
        return connection._reader is self._stream

    def stale(self) -> bool:
        """Return whether the server closed the connection, or sent unrequested bytes, since the last exchange."""
        return self._stream.at_eof() or bool(self._poll.poll(0))

    def abandon(self) -> None:
        """Close the transport at once. What is not sent yet never will be: redis-py would go on to send it."""
        self._writer.transport.abort()

    async def exchange(
        self,
        commands: Sequence[Command],
        seconds: float,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Reply]:
        """Send all commands and read all replies within `seconds`. Raises ConnectionFailure.

        Args:
            meanwhile: awaited between sending and reading. Its time counts, but a moment is left to read what has come.
        """
        payload = b"".join(map(wire.pack_command, commands))
        self.usable = False
        self.last_used = time.monotonic()
        limit = seconds
        replies: list[Reply] = []
        try:
            if meanwhile is not None:
                self._writer.write(payload)  # the transport keeps what the socket does not take
                payload = b""
                await meanwhile()
                limit = max(seconds - (time.monotonic() - self.last_used), _MOMENT)
            async with asyncio.timeout(limit):
                await self._exchange(payload, len(commands), replies)
        except TimeoutError:
            raise wire.timed_out(self._settings, seconds) from None
        except (OSError, wire.ProtocolError) as error:
            raise wire.connection_lost(self._settings, error, replies) from error
        if len(replies) > len(commands):
            raise wire.unexpected_reply(self._settings)
        refused = any(type(reply) is ServerError for reply in replies)
        self.condemned = refused and wire.condemning(replies)
        self.usable = not (self.condemned or self._reader.has_data())
        return as_resp2(commands, replies) if self._resp3 else replies

    async def _exchange(self, payload: bytes, expected: int, replies: list[Reply]) -> None:
        reader = self._reader
        if payload:
            self._writer.write(payload)
        if len(payload) > _PAUSE_ABOVE:
            await self._writer.drain()
        while len(replies) < expected:
            data = await self._stream.read(wire.READ_SIZE)
            if not data:
                raise wire.connection_lost(self._settings, self._stream.exception(), replies)
            reader.feed(data)
            while (reply := reader.gets()) is not wire.INCOMPLETE:
                replies.append(reply)
        while self._pushed:
            await self._connection._get_parser().handle_push_response(self._pushed.pop(0))
