"""A connection through the proxy: two connections, and the ways of the bytes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tools.faults.site.way import END, Way, Weather

if TYPE_CHECKING:
    from tools.faults.site.proxy import Proxy


class Side(asyncio.Protocol):
    """One end of a crossing: passes what it receives to `received`, and `END` when the peer is gone."""

    def __init__(self, received: Callable[[bytes], None], made: Callable[[], None] | None = None) -> None:
        self._received: Final = received
        self._made: Final = made
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._made is not None:
            self._made()

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._received(END)

    def write(self, data: bytes) -> None:
        """Pass bytes to the peer; `END` closes the connection behind the last byte."""
        if self.transport is None or self.transport.is_closing():
            return
        if data == END:
            self.transport.close()
        else:
            self.transport.write(data)

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()


class Crossing:
    """A connection of a writer, and the connection to the server that carries its bytes.

    Attributes:
        held: whether its requests stop on their way, whatever the weather is.
    """

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy: Final = proxy
        self.client: Final = Side(self.from_client, lambda: proxy.open(self))
        self.server: Final = Side(self.from_server)
        self.there: Final = Way(loop, proxy.chance, self.server.write)
        self.back: Final = Way(loop, proxy.chance, self.client.write)
        self.held = False

    @property
    def over(self) -> bool:
        """Whether both connections are closed and nothing is on its way to the server."""
        sides = (self.client, self.server)
        return self.there.empty and all(
            side.transport is None or side.transport.is_closing() for side in sides
        )

    def from_client(self, data: bytes) -> None:
        """Send bytes of the writer on their way; `END` when it is gone."""
        weather = self._proxy.weather
        self.there.push(data, weather.there)
        if data == END:
            self.back.drop()
        elif weather.storm and self._proxy.chance.random() < weather.storm:
            self.cut("answers" if self._proxy.chance.random() < 0.5 else "both")

    def from_server(self, data: bytes) -> None:
        """Send bytes of the server on their way; `END` when it is gone."""
        weather = self._proxy.weather
        if weather.storm and data != END and self._proxy.chance.random() < weather.storm:
            self.cut("answers")
            return
        self.back.push(data, weather.back)

    def cut(self, what: str) -> None:
        """Cut the connection of the writer.

        Args:
            what: `both` loses what is on its way in both directions; with `answers`, requests still arrive.
        """
        self.back.drop()
        self.client.abort()
        if what == "both":
            self.there.drop()
            self.server.abort()

    def follow(self, weather: Weather) -> None:
        """Apply changed weather to what is on its way."""
        self.there.hold(self.held or weather.hold)
        self.back.hold(weather.hold_back)
