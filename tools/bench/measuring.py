"""Latency: one call at a time, interleaved. In each round every side makes the same call once.

The machine's speed drifts; neighbours in a round drift together, so ratios are taken pair by pair. The order of the
sides is drawn anew for every round, so that none always follows the same one.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.bench.case import Case, Turn
from tools.bench.data import Data
from tools.bench.results import CaseTimings, timing
from tools.bench.sides import ALWAYS, BARE_OF, POSTGRES, RELAXED, WIRE_OF, Side

_FIRST: Final = 1_000
"""Number of the first timed turn, away from those that were compared."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure a case: at least `least` rounds, at most `most`, else about `seconds`."""

    seconds: float
    least: int
    most: int


def taking_part(case: Case, sides: Sequence[Side]) -> list[Side]:
    """The sides that a case is about: how durable a server is makes no difference to a read."""
    return [side for side in sides if case.writes or side.name not in (ALWAYS, RELAXED)]


async def measure(case: Case, sides: Sequence[Side], data: Data, effort: Effort) -> CaseTimings:
    """Time a case on all sides."""
    present = taking_part(case, sides)
    took: dict[str, list[float]] = {side.name: [] for side in present}
    chance = random.Random(f"{data.seed}:{case.name}")
    until = time.monotonic() + effort.seconds
    gc.collect()
    gc.disable()
    try:
        for number in range(effort.most):
            if number >= effort.least and time.monotonic() > until:
                break
            turn = Turn(_FIRST + number, data)
            for side in chance.sample(present, len(present)):
                outcome = await side.once(case, turn)
                took[side.name].append(outcome.took / 1_000)
    finally:
        gc.enable()
    return summary(case, took)


def summary(case: Case, took: dict[str, list[float]]) -> CaseTimings:
    """Quantiles of every side, and ratios pair by pair."""
    timings = []
    for name, samples in took.items():
        found = timing(name, samples)
        if POSTGRES in took:
            found.faster = _paired(took[POSTGRES], samples)
        bare = BARE_OF.get(name, "")
        if bare in took:
            found.over_bare = _paired(samples, took[bare])
        wire = WIRE_OF.get(name, "")
        if wire in took:
            found.over_wire = _paired(samples, took[wire])
        timings.append(found)
    return CaseTimings(name=case.name, writes=case.writes, timings=timings)


def _paired(left: Sequence[float], right: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(left, right, strict=True)), 3)
