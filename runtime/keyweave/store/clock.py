"""The server's time, estimated between its replies. An estimate decides only while it is young."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_FRESH: Final = 0.1
"""Seconds for which a reply to TIME decides whether a deadline has passed. The server's clock may be set at any moment."""

_MARGIN: Final = 100_000
"""Microseconds around a deadline in which an estimate does not decide: it allows for a slow round trip."""

_JUMP: Final = 0.1
"""Largest difference in seconds between the ages of a reading on the monotonic and on the wall clock. The monotonic clock
stops while the machine sleeps, so a larger difference makes the estimate unreliable."""


class ServerClock:
    """The server's time, estimated from its last reply and the local clocks.

    Args:
        monotonic: returns seconds, like `time.monotonic`.
        wall: returns seconds, like `time.time`.
    """

    __slots__ = ("_monotonic", "_reading", "_wall")

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._monotonic: Final = monotonic
        self._wall: Final = wall
        # One value for all readings, so that a thread never combines the time of one reply with the age of another.
        self._reading = (0, 0.0, 0.0)

    def set(self, micros: int) -> None:
        """Set the server's current time, in microseconds since 1970."""
        self._reading = (micros, self._monotonic(), self._wall())

    def now(self) -> int:
        """Return the estimated current time of the server, in microseconds since 1970: this machine's, before the server's is known."""
        micros, at, _ = self._reading
        if not micros:
            return int(self._wall() * 1_000_000)
        return micros + int((self._monotonic() - at) * 1_000_000)

    def reliable(self, seconds: float = _FRESH) -> bool:
        """Return whether the last reply is at most `seconds` old, and the machine has not slept since."""
        micros, at, wall = self._reading
        age = self._monotonic() - at
        return micros != 0 and age <= seconds and abs(self._wall() - wall - age) <= _JUMP

    def stale(self) -> bool:
        """Return whether the time was set, but no longer decides whether a deadline has passed."""
        return self.stale_at(self._monotonic(), self._wall())

    def stale_at(self, monotonic: float, wall: float) -> bool:
        """Do what `stale` does, for readings of the two clocks that several servers' clocks share."""
        micros, at, then = self._reading
        if not micros:
            return False
        age = monotonic - at
        return age > _FRESH or abs(wall - then - age) > _JUMP

    def passed(self, deadline: int) -> bool | None:
        """Return whether `deadline` (microseconds since 1970) has passed; None when the estimate cannot decide it."""
        if not self.reliable():
            return None
        distance = deadline - self.now()
        return None if -_MARGIN <= distance <= _MARGIN else distance < 0
