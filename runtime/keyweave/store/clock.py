"""The server's time, estimated between its replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class ServerClock:
    """The server's time, estimated from its last reply and the local monotonic clock."""

    __slots__ = ("_monotonic", "_reading")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        # One value for both readings, so that a thread never combines the time of one reply with the age of another.
        self._reading = (0, 0.0)

    def set(self, micros: int) -> None:
        """Set the server's current time, in microseconds since 1970."""
        self._reading = (micros, self._monotonic())

    def now(self) -> int:
        """Return the estimated current time of the server, in microseconds since 1970."""
        micros, at = self._reading
        return micros + int((self._monotonic() - at) * 1_000_000)

    def passed(self, deadline: int) -> bool | None:
        """Return whether `deadline` (microseconds since 1970) has passed; None when the estimate cannot decide it.

        The margin allows for a slow round trip and for 200 ppm of drift since the last reply.
        """
        micros, at = self._reading
        age = self._monotonic() - at
        margin = 100_000 + int(age * 200)
        distance = deadline - (micros + int(age * 1_000_000))
        if micros == 0 or -margin <= distance <= margin:
            return None
        return distance < 0
