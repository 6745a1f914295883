"""One direction of a connection through the proxy. Bytes are delayed, held or dropped, and never change their order."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

END: Final = b""
"""What a way carries behind its last byte."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The conditions of the network.

    Attributes:
        there: least and most seconds by which bytes to the server are delayed.
        back: the same for bytes to the writers.
        hold: whether bytes to the server stop. They arrive when the weather changes, even if their sender has gone.
        hold_back: whether bytes to the writers stop.
        refuse: whether new connections are closed at once.
        storm: chance that a connection is cut when bytes pass.
    """

    there: tuple[float, float] = (0.0, 0.0)
    back: tuple[float, float] = (0.0, 0.0)
    hold: bool = False
    hold_back: bool = False
    refuse: bool = False
    storm: float = 0.0


CALM: Final = Weather()


class Way:
    """A queue of bytes, each with the moment at which it arrives.

    Args:
        loop: of the proxy.
        chance: draws delays.
        deliver: called with bytes, and with `END` behind the last ones.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, chance: random.Random, deliver: Callable[[bytes], object]
    ) -> None:
        self._loop: Final = loop
        self._chance: Final = chance
        self._deliver: Final = deliver
        self._queue: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._held = False

    @property
    def empty(self) -> bool:
        """Whether everything has arrived."""
        return not self._queue

    def push(self, data: bytes, delay: tuple[float, float]) -> None:
        """Send bytes on their way."""
        now = self._loop.time()
        due = now + (self._chance.uniform(*delay) if delay[1] else 0.0)
        if self._queue:
            due = max(due, self._queue[-1][0])
        elif due <= now and not self._held:
            self._deliver(data)
            return
        self._queue.append((due, data))
        self._schedule()

    def hold(self, held: bool) -> None:
        """Stop what is on its way, or let it go on."""
        self._held = held
        self._schedule()

    def drop(self) -> None:
        """Lose what is on its way."""
        self._queue.clear()

    def _schedule(self) -> None:
        if self._timer is None and self._queue and not self._held:
            self._timer = self._loop.call_at(self._queue[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._queue and not self._held and self._queue[0][0] <= now:
            self._deliver(self._queue.popleft()[1])
        self._schedule()
