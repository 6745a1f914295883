"""The proxy between the writers and the server. Its event loop runs in a thread; faults call it from other threads."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from tools.faults.site.way import CALM, END, Way, Weather

T = TypeVar("T")

_PATIENCE: Final = 20.0


class _Side(asyncio.Protocol):
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
        self.client: Final = _Side(self._from_client, lambda: proxy.open(self))
        self.server: Final = _Side(self._from_server)
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

    def _from_client(self, data: bytes) -> None:
        weather = self._proxy.weather
        self.there.push(data, weather.there)
        if data == END:
            self.back.drop()
        elif weather.storm and self._proxy.chance.random() < weather.storm:
            self.cut("answers" if self._proxy.chance.random() < 0.5 else "both")

    def _from_server(self, data: bytes) -> None:
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


class Proxy:
    """Listens on a port of loopback and leads to the unix socket of a server.

    Args:
        target: the socket.
        seed: of delays and cuts.

    Attributes:
        weather: of all connections.
    """

    def __init__(self, target: Path, seed: int) -> None:
        self.chance: Final = random.Random(seed)
        self.weather = CALM
        self._target = target
        self._crossings: set[Crossing] = set()
        self._loop: Final = asyncio.new_event_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_PATIENCE)
        self.port: Final[int] = self._listener.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(self._accept, "127.0.0.1", 0)

    def _accept(self) -> _Side:
        crossing = Crossing(self, self._loop)
        crossing.there.hold(True)
        return crossing.client

    def open(self, crossing: Crossing) -> None:
        """Open the connection to the server, for a writer that has just connected."""
        task = self._loop.create_task(self._open(crossing))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, crossing: Crossing) -> None:
        """Connect to the server. Bytes that the writer sent meanwhile wait."""
        if self.weather.refuse:
            crossing.client.abort()
            return
        try:
            await self._loop.create_unix_connection(lambda: crossing.server, str(self._target))
        except OSError:
            crossing.there.drop()
            crossing.client.abort()
            return
        self._crossings = {each for each in self._crossings if not each.over} | {crossing}
        crossing.follow(self.weather)

    def change(self, weather: Weather) -> None:
        """Change the weather, for what is on its way too."""

        def change() -> None:
            self.weather = weather
            for crossing in self._crossings:
                crossing.follow(weather)

        self._call(change)

    def cut(self, share: float, what: str) -> int:
        """Cut a share of the connections, and return their number; see `Crossing.cut`."""

        def cut() -> int:
            chosen = self._chosen(share)
            for crossing in chosen:
                crossing.cut(what)
            return len(chosen)

        return self._call(cut)

    def hold(self, share: float) -> int:
        """Let the requests of a share of the connections stop on their way, and return the number of these connections.

        They arrive after `release`, even if their sender has gone. New connections are not affected.
        """

        def hold() -> int:
            chosen = self._chosen(share)
            for crossing in chosen:
                crossing.held = True
                crossing.follow(self.weather)
            return len(chosen)

        return self._call(hold)

    def release(self) -> None:
        """Let held requests go on."""

        def release() -> None:
            for crossing in self._crossings:
                crossing.held = False
                crossing.follow(self.weather)

        self._call(release)

    def _chosen(self, share: float) -> list[Crossing]:
        return [each for each in self._crossings if not each.over and self.chance.random() < share]

    def lead_to(self, target: Path) -> None:
        """Lead new connections to another server."""

        def lead() -> None:
            self._target = target

        self._call(lead)

    def settle(self) -> bool:
        """Return whether nothing is on its way to the server."""
        return self._call(lambda: all(crossing.there.empty for crossing in self._crossings))

    def _call(self, function: Callable[[], T]) -> T:
        """Run a function on the proxy's event loop."""

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_PATIENCE)

    def close(self) -> None:
        """Close the port and every connection."""

        async def close() -> None:
            self._listener.close()
            for crossing in self._crossings:
                crossing.cut("both")

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


def url_of(proxy: Proxy, user: str, password: str) -> str:
    """Return the URL of the store for writers."""
    return f"redis://{user}:{password}@127.0.0.1:{proxy.port}"
