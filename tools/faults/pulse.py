"""The pulse of the machine: when it did not run the campaign's own process, so that no process can have been in time."""

from __future__ import annotations

import threading
import time
from typing import Final, NamedTuple

_BEAT: Final = 0.05
STEP: Final = 0.02

_LATE: Final = 0.25
"""Seconds by which a beat is late that count as a stall."""


class Stall(NamedTuple):
    """An interval in which the machine did not run the campaign: it was suspended, or had more to do than it can."""

    began: float
    ended: float


class Pulse(threading.Thread):
    """Beats until it is stopped, and records the stalls."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stalls: Final[list[Stall]] = []
        self._ending: Final = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._ending.wait(_BEAT):
            now = time.monotonic()
            if now - last > _BEAT + _LATE:
                self.stalls.append(Stall(last, now))
            last = now

    def stop(self) -> None:
        """Stop beating."""
        self._ending.set()
        self.join()


def patient(seconds: float) -> range:
    """Return a range to wait in, `STEP` seconds each time.

    Counting steps instead of looking at the clock gives a process its patience although the machine was suspended meanwhile.
    """
    return range(max(1, round(seconds / STEP)))
