"""What the project wants of its speed, and where a run fell short of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.bench.results import Run
from tests.bench.sides import POSTGRES, REDIS8, VALKEY

KEYWEAVE: Final = (VALKEY, REDIS8)

READS: Final = 2.0
"""How many times faster than PostgreSQL a read is to be, at p50 and at p95."""
WRITES: Final = 3.0
OVER_BARE: Final = 1.3
"""How many times the bare bytes a call may take."""
THROUGHPUT: Final = 2.0
"""How many times PostgreSQL's calls a second, at the most callers."""
GROWTH: Final = 1.2
"""How much slower a call may be beside a hundred times the rows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target of one case.

    Attributes:
        target: in words.
        case: name of the case.
        side: which Keyweave.
        found: the ratio.
        wanted: the ratio that is wanted.
        met: whether it is met.
    """

    target: str
    case: str
    side: str
    found: float
    wanted: float
    met: bool


def verdicts(run: Run) -> list[Verdict]:
    """Every target that a run has numbers for."""
    return [*_latency(run), *_throughput(run), *_growth(run)]


def _latency(run: Run) -> Iterator[Verdict]:
    for case in run.cases:
        baseline = case.of(POSTGRES)
        wanted = WRITES if case.writes else READS
        for side in KEYWEAVE:
            ours = case.of(side)
            if ours is None:
                continue
            if ours.faster is not None and baseline is not None:
                yield _at_least("PostgreSQL at p50", case.name, side, ours.faster, wanted)
                yield _at_least("PostgreSQL at p95", case.name, side, baseline.p95 / ours.p95, wanted)
            if ours.over_bare is not None:
                met = ours.over_bare <= OVER_BARE
                yield Verdict("bare limit", case.name, side, ours.over_bare, OVER_BARE, met)


def _throughput(run: Run) -> Iterator[Verdict]:
    callers = max((rate.callers for rate in run.rates), default=0)
    for rate in run.rates:
        if rate.side in KEYWEAVE and rate.callers == callers:
            baseline = run.rate(rate.case, POSTGRES, callers)
            if baseline is not None:
                ratio = rate.per_second / baseline.per_second
                yield _at_least(f"throughput, {callers} callers", rate.case, rate.side, ratio, THROUGHPUT)


def _growth(run: Run) -> Iterator[Verdict]:
    for each in run.growth:
        yield Verdict("growth", each.name, VALKEY, each.ratio, GROWTH, each.ratio <= GROWTH)


def _at_least(target: str, case: str, side: str, found: float, wanted: float) -> Verdict:
    return Verdict(target, case, side, round(found, 3), wanted, found >= wanted)
