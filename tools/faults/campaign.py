"""Rounds one after another, and what they came to."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers.guarded import guarded
from tests.servers.redis8 import server_command
from tests.servers.running import embedded_binary
from tools.faults.history import FOREVER, Act, Outcome, Settlement
from tools.faults.judge.evidence import Evidence, Violation
from tools.faults.round import play
from tools.faults.settings import Settings
from tools.faults.trial import generate
from tools.faults.writers.crew import Crew
from tools.faults.writers.operations import NO_WRITES

SERVERS: Final = ("embedded", "redis8")

_FLAVOURS: Final = ("sync", "aio", "sync", "aio")
"""One process of writers each."""


class Found(NamedTuple):
    """A violation and the round in which it happened."""

    violation: Violation
    evidence: Evidence


@dataclass(slots=True)
class Tally:
    """What some rounds came to.

    Attributes:
        rounds: how many were played.
        faults: how often each kind happened.
        outcomes: how calls ended.
        settled: how unknown outcomes were settled.
        written: how many writes were acknowledged.
        lost: how many of those to counters and accounts were lost by a fault that may lose them.
        interrupted: how many calls were interrupted.
        worst: the call that took longest, of those that returned.
        stalled: seconds in which the machine did not run the campaign.
        found: the violations.
    """

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    settled: Counter[Settlement] = field(default_factory=Counter)
    written: int = 0
    lost: int = 0
    interrupted: int = 0
    worst: Act | None = None
    stalled: float = 0.0
    found: list[Found] = field(default_factory=list)

    def add(self, evidence: Evidence) -> list[Found]:
        """Add a round, and return its violations."""
        self.rounds += 1
        self.faults.update(evidence.struck)
        self.outcomes.update(act.outcome for act in evidence.acts)
        self.settled.update(act.settled for act in evidence.acts if act.settled)
        self.written += written(evidence)
        self.lost += len(evidence.lost)
        self.interrupted += sum(report.interrupted for report in evidence.reports)
        self.worst = worst([act for act in (self.worst, worst(evidence.acts)) if act is not None])
        self.stalled += sum(stall.ended - stall.began for stall in evidence.stalls)
        found = [Found(each, evidence) for each in evidence.violations]
        self.found += found
        return found


def written(evidence: Evidence) -> int:
    """Return the number of acknowledged writes."""
    return sum(act.outcome is Outcome.OK and act.kind not in NO_WRITES for act in evidence.acts)


def worst(acts: Sequence[Act]) -> Act | None:
    """Return the call that took longest, of those that returned."""
    ended = [act for act in acts if act.ended != FOREVER]
    return max(ended, key=lambda act: act.ended - act.began, default=None)


class Campaign:
    """Plays rounds with the same processes of writers, each on a new server.

    Args:
        command: the words that start a server.
        folder: for everything that the rounds need; each round's data are deleted behind it.
        crews: the processes of writers.
    """

    def __init__(self, command: Sequence[str], folder: Path, crews: Sequence[Crew]) -> None:
        self._command: Final = command
        self._folder: Final = folder
        self._crews: Final = crews

    def play(self, settings: Settings) -> Evidence:
        """Play and judge one round."""
        home = self._folder / f"round-{settings.seed}"
        try:
            return play(settings, self._command, home, self._folder / "package", self._crews)
        finally:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def campaign(server: str) -> Iterator[Campaign]:
    """Start the processes of writers, and end everything at the end.

    Args:
        server: one of `SERVERS`.

    Raises:
        RuntimeError: there is no such server.
    """
    command = [embedded_binary()] if server == "embedded" else server_command()
    crews: list[Crew] = []
    with guarded("faults-") as folder:
        try:
            generate(folder / "package")
            for number, flavour in enumerate(_FLAVOURS):
                crews.append(Crew(flavour, folder / f"crew-{number}.log"))
            yield Campaign(command, folder, crews)
        finally:
            for crew in crews:
                crew.close()
