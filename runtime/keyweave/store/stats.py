"""What happened inside operations: counted for the store, and told to its telemetry when that is switched on.

Flows call one method for each event. Events are rare, so they cost an ordinary call; what they carry is the
entity's name and a number, never a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class EventSink(Protocol):
    """Where events go besides the counts; `metric` is a name of `keyweave.telemetry.catalogue`."""

    def count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None:
        """Something happened `number` times."""

    def spend(self, metric: str, seconds: float, entity: str = "") -> None:
        """Something took so long."""


@dataclass(slots=True)
class Stats:
    """What happened inside operations, counted since the store was opened.

    Attributes:
        conflicts: tries that lost to another writer.
        retries: commands that were sent again after a failure that passes by itself.
        replays: writes that were sent again and turned out to have been carried out.
        lock_waits: locks that were not free at once.
        lock_timeouts: locks that did not come free in time.
        dead_met: rows past their deadline and entries without a document that an operation came upon.
        healed: entries without a document that were removed.
        swept: rows past their deadline that were removed.
    """

    conflicts: int = 0
    retries: int = 0
    replays: int = 0
    lock_waits: int = 0
    lock_timeouts: int = 0
    dead_met: int = 0
    healed: int = 0
    swept: int = 0
    sink: EventSink | None = field(default=None, repr=False, compare=False)

    def conflict(self, entity: str = "") -> None:
        """A try lost to another writer."""
        self.conflicts += 1
        self._count("keyweave.conflicts", 1, entity)

    def retry(self) -> None:
        """Commands are sent again."""
        self.retries += 1
        self._count("keyweave.retries", 1)

    def replay(self) -> None:
        """A write that was sent again had been carried out."""
        self.replays += 1
        self._count("keyweave.replays", 1)

    def wait_for_lock(self) -> None:
        """A lock is not free at once."""
        self.lock_waits += 1

    def lock_waited(self, entity: str, seconds: float, *, timed_out: bool) -> None:
        """A lock that was not free at once came free, or did not in time."""
        self._spend("keyweave.lock.wait_time", seconds, entity)
        if timed_out:
            self.lock_timeouts += 1
            self._count("keyweave.lock.timeouts", 1, entity)

    def lock_held(self, entity: str, seconds: float) -> None:
        """A lock was released."""
        self._spend("keyweave.lock.hold_time", seconds, entity)

    def meet_expired(self, entity: str) -> None:
        """An operation came upon a row past its deadline."""
        self.dead_met += 1
        self._count("keyweave.dead.met", 1, entity, "expired")

    def meet_dangling(self, entity: str) -> None:
        """An operation came upon an entry without a document."""
        self.dead_met += 1
        self._count("keyweave.dead.met", 1, entity, "dangling")

    def heal(self, entity: str) -> None:
        """An entry without a document was removed."""
        self.healed += 1
        self._count("keyweave.dead.healed", 1, entity)

    def sweep(self, entity: str, late: int | None) -> None:
        """A row was removed, `late` microseconds after its deadline; None where the server had freed it before."""
        self.swept += 1
        self._count("keyweave.sweep.rows", 1, entity)
        if late is not None:
            self._spend("keyweave.sweep.delay", max(0, late) / 1_000_000, entity)

    def _count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None:
        if self.sink is not None:
            self.sink.count(metric, number, entity, reason)

    def _spend(self, metric: str, seconds: float, entity: str) -> None:
        if self.sink is not None:
            self.sink.spend(metric, seconds, entity)
