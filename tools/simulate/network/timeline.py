"""Virtual time: what is to happen, in order. Nothing here waits, and equal moments keep the order of their scheduling."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final


class Timeline:
    """Events in the order of virtual time.

    Attributes:
        now: virtual microseconds.
    """

    __slots__ = ("_ahead", "_number", "now")

    def __init__(self) -> None:
        self.now = 0
        self._ahead: Final[list[tuple[int, int, Callable[..., None], tuple[Any, ...]]]] = []
        self._number = 0

    def at(self, moment: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function at a moment, or now if the moment has passed."""
        self._number += 1
        heappush(self._ahead, (max(moment, self.now), self._number, function, arguments))

    def step(self) -> bool:
        """Let the next thing happen. Returns False when nothing is left."""
        if not self._ahead:
            return False
        self.now, _, function, arguments = heappop(self._ahead)
        function(*arguments)
        return True
