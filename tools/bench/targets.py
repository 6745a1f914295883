"""The project's targets of speed, and those that a run missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tools.bench.results import CaseTimings, Run
from tools.bench.sides import POSTGRES, REDIS8, VALKEY, WIRE_OF

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
        limit: the ratio that the wire alone reaches, where it was measured.
    """

    target: str
    case: str
    side: str
    found: float
    wanted: float
    met: bool
    limit: float | None = None

    @property
    def reachable(self) -> bool | None:
        """Whether a client that takes no time would meet the target; None if that is not known."""
        return None if self.limit is None else self.limit >= self.wanted

    def met_if_shorter(self, factor: float) -> bool | None:
        """Whether the target would be met if all time beside the wire were divided by a factor; None if the wire was not measured."""
        if self.limit is None:
            return None
        wire = 1 / self.limit
        beside = max(1 / self.found - wire, 0.0)
        return 1 / (wire + beside / factor) >= self.wanted


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
                middle, tail = wire_limits(case, side)
                yield _at_least("PostgreSQL at p50", case.name, side, ours.faster, wanted, middle)
                yield _at_least("PostgreSQL at p95", case.name, side, baseline.p95 / ours.p95, wanted, tail)
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
                wire = run.rate(rate.case, WIRE_OF[rate.side], callers)
                limit = wire.per_second / baseline.per_second if wire is not None else None
                yield _at_least(
                    f"throughput, {callers} callers", rate.case, rate.side, ratio, THROUGHPUT, limit
                )


def _growth(run: Run) -> Iterator[Verdict]:
    for each in run.growth:
        yield Verdict("growth", each.name, VALKEY, each.ratio, GROWTH, each.ratio <= GROWTH)


def wire_limits(case: CaseTimings, side: str) -> tuple[float | None, float | None]:
    """How many times faster than PostgreSQL the wire of a side is, at p50 and at p95.

    At p50 it is the median of the ratios inside rounds, not the ratio of the medians: that is what the target is about.
    """
    ours, wire, baseline = case.of(side), case.of(WIRE_OF[side]), case.of(POSTGRES)
    if ours is None or wire is None or baseline is None or ours.faster is None or ours.over_wire is None:
        return None, None
    return ours.faster * ours.over_wire, baseline.p95 / wire.p95


def _at_least(target: str, case: str, side: str, found: float, wanted: float, limit: float | None) -> Verdict:
    return Verdict(target, case, side, round(found, 3), wanted, found >= wanted, limit)
