"""What a cleaning may cost: rows, and time. It counts every row that is removed, also those that go with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class Allowance:
    """A step that has begun ends; none begins after the allowance is used up.

    Args:
        monotonic: returns seconds, like `time.monotonic`.
        rows: number of rows that may be removed.
        seconds: how long it may take; None: no limit.

    Attributes:
        rows: number of rows that may still be removed; not negative.
        used: number of rows that were removed.
        timed: whether the time is limited: a caller waits for the end of the cleaning.
    """

    __slots__ = ("_monotonic", "_until", "rows", "timed", "used")

    def __init__(self, monotonic: Callable[[], float], rows: int, seconds: float | None = None) -> None:
        self._monotonic: Final = monotonic
        self._until: Final = None if seconds is None else monotonic() + seconds
        self.timed: Final = seconds is not None
        self.rows = rows
        self.used = 0

    def charge(self, rows: int) -> None:
        """Count rows that were removed."""
        self.used += rows
        self.rows = max(self.rows - rows, 0)

    @property
    def spent(self) -> bool:
        """Whether no further step may begin."""
        return not self.rows or (self._until is not None and self._monotonic() >= self._until)
