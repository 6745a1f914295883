"""The server's time, estimated between its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class ServerClock:
    """The server's time, estimated from its last answer and this machine's monotonic clock."""

    __slots__ = ("_monotonic", "_reading")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        # Both readings in one value: a thread never sees the time of one answer with the age of another.
        self._reading = (0, 0.0)

    def set(self, micros: int) -> None:
        """Take the server's time, in microseconds since 1970, as of now."""
        self._reading = (micros, self._monotonic())

    def now(self) -> int:
        """The server's time as it probably is, in microseconds since 1970."""
        micros, at = self._reading
        return micros + int((self._monotonic() - at) * 1_000_000)

    def passed(self, deadline: int) -> bool | None:
        """Whether `deadline` (microseconds since 1970) has passed; None when only the server can tell.

        The margin allows for a slow round trip and for 200 ppm of drift since the last answer.
        """
        micros, at = self._reading
        age = self._monotonic() - at
        margin = 100_000 + int(age * 200)
        distance = deadline - (micros + int(age * 1_000_000))
        if micros == 0 or -margin <= distance <= margin:
            return None
        return distance < 0
