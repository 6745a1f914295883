"""The proxy between the writers and the server. Its event loop runs in a thread; faults call it from other threads."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from tools.faults.site.crossing import Crossing, Side
from tools.faults.site.way import CALM, Weather

T = TypeVar("T")

_PATIENCE: Final = 20.0


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

    def _accept(self) -> Side:
        crossing = self.new_crossing(self._loop)
        crossing.there.hold(True)
        return crossing.client

    def new_crossing(self, loop: asyncio.AbstractEventLoop) -> Crossing:
        """Return the crossing for a connection that has just been accepted."""
        return Crossing(self, loop)

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
