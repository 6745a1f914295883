"""Counters of events inside operations, also reported to the store's telemetry when that is enabled.

Flows call one method per event. Events are rare, so a plain call is cheap enough. An event has the entity's name and
a number, never a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class EventSink(Protocol):
    """Receives events besides the counters. `metric` is a name from `keyweave.telemetry.catalogue`."""

    def count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None:
        """Add `number` to a counter."""

    def record_duration(self, metric: str, seconds: float, entity: str = "") -> None:
        """Record a duration in seconds."""


@dataclass(slots=True)
class Stats:
    """Counters of events inside operations since the store was opened.

    Attributes:
        conflicts: attempts that lost to another writer.
        retries: exchanges that were repeated after a transient failure.
        replays: repeated writes that the server had already applied.
        lock_waits: locks that were not free at once.
        lock_timeouts: locks that were not free within their timeout.
        dead_met: rows past their deadline, and entries without a document, that operations encountered.
        healed: entries without a document that were removed.
        swept: rows past their deadline that were removed.
        unreadable: rows that lists left out, because their documents cannot be read.
        sink: receives the same events, or None.
    """

    conflicts: int = 0
    retries: int = 0
    replays: int = 0
    lock_waits: int = 0
    lock_timeouts: int = 0
    dead_met: int = 0
    healed: int = 0
    swept: int = 0
    unreadable: int = 0
    sink: EventSink | None = field(default=None, repr=False, compare=False)

    def conflict(self, entity: str = "") -> None:
        """Count an attempt that lost to another writer."""
        self.conflicts += 1
        self._count("keyweave.conflicts", 1, entity)

    def retry(self) -> None:
        """Count a repeated exchange."""
        self.retries += 1
        self._count("keyweave.retries", 1)

    def replay(self) -> None:
        """Count a repeated write that the server had already applied."""
        self.replays += 1
        self._count("keyweave.replays", 1)

    def wait_for_lock(self) -> None:
        """Count a lock that is not free at once."""
        self.lock_waits += 1

    def lock_waited(self, entity: str, seconds: float, *, timed_out: bool) -> None:
        """Record the end of a wait for a lock: it was acquired, or the wait timed out."""
        self._record_duration("keyweave.lock.wait_time", seconds, entity)
        if timed_out:
            self.lock_timeouts += 1
            self._count("keyweave.lock.timeouts", 1, entity)

    def lock_held(self, entity: str, seconds: float) -> None:
        """Record how long a released lock was held, in seconds."""
        self._record_duration("keyweave.lock.hold_time", seconds, entity)

    def meet_expired(self, entity: str) -> None:
        """Count a row past its deadline that an operation encountered."""
        self.dead_met += 1
        self._count("keyweave.dead.met", 1, entity, "expired")

    def meet_dangling(self, entity: str) -> None:
        """Count an entry without a document that an operation encountered."""
        self.dead_met += 1
        self._count("keyweave.dead.met", 1, entity, "dangling")

    def meet_unreadable(self, entity: str) -> None:
        """Count a row that a list left out, because its document cannot be read."""
        self.unreadable += 1
        self._count("keyweave.rows.unreadable", 1, entity)

    def heal(self, entity: str) -> None:
        """Count an entry without a document that was removed."""
        self.healed += 1
        self._count("keyweave.dead.healed", 1, entity)

    def sweep(self, entity: str, late: int) -> None:
        """Count a row that was removed `late` microseconds after its deadline."""
        self.swept += 1
        self._count("keyweave.sweep.rows", 1, entity)
        self._record_duration("keyweave.sweep.delay", max(0, late) / 1_000_000, entity)

    def _count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None:
        if self.sink is not None:
            self.sink.count(metric, number, entity, reason)

    def _record_duration(self, metric: str, seconds: float, entity: str) -> None:
        if self.sink is not None:
            self.sink.record_duration(metric, seconds, entity)
