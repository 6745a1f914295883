"""Many seeds, one behind another or on several processes, and what they came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tools.simulate.run import Violation, play
from tools.simulate.scenario import scenario

_AT_ONCE: Final = 25
"""Seeds that a process is given at once."""


@dataclass(slots=True)
class Tally:
    """What some seeds came to.

    Attributes:
        seeds: how many were played.
        exchanges: how many pipelines were sent.
        seconds: of processor time.
        undecided: histories that were too long to judge.
        overshoot: the most seconds by which an operation was over its budget and one timeout.
        faults: what happened, to exchanges and to the server.
        outcomes: how operations ended.
        violations: each with its seed.
    """

    seeds: int = 0
    exchanges: int = 0
    seconds: float = 0.0
    undecided: int = 0
    overshoot: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, Violation]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what other seeds came to."""
        self.seeds += other.seeds
        self.exchanges += other.exchanges
        self.seconds += other.seconds
        self.undecided += other.undecided
        self.overshoot = max(self.overshoot, other.overshoot)
        self.faults += other.faults
        self.outcomes += other.outcomes
        self.violations += other.violations

    @property
    def pace(self) -> float:
        """Exchanges in a minute of one core."""
        return self.exchanges / self.seconds * 60 if self.seconds else 0.0


def tally(seeds: range) -> Tally:
    """Play seeds in this process."""
    found = Tally()
    began = time.process_time()
    for seed in seeds:
        played = play(scenario(seed))
        found.seeds += 1
        found.exchanges += played.exchanges
        found.undecided += played.undecided
        found.overshoot = max(found.overshoot, played.overshoot)
        found.faults.update(kind for _, kind in played.faults)
        found.faults.update(played.events)
        found.outcomes.update(played.outcomes)
        found.violations += [(seed, violation) for violation in played.violations]
    found.seconds = time.process_time() - began
    return found


def campaign(first: int, seeds: int, jobs: int, more: Callable[[], bool]) -> Iterator[Tally]:
    """Tallies of parts of the seeds, in the order in which they are done; ends early when there is to be no `more`."""
    parts = (range(start, min(start + _AT_ONCE, first + seeds)) for start in count(first, _AT_ONCE))
    if jobs == 1:
        for part in parts:
            if not part or not more():
                return
            yield tally(part)
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Tally]] = set()
        while True:
            while len(running) < 2 * jobs and more() and (part := next(parts)):
                running.add(pool.submit(tally, part))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
