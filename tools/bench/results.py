"""The results of a run, stored as one JSON document. All times are in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

SHAPE = 1
"""Raised when a reader of old documents would misread new ones."""


class Timing(msgspec.Struct, kw_only=True):
    """One side's calls of one case.

    Attributes:
        side: its name.
        rounds: how many calls.
        p50, p95, p99: in microseconds.
        faster: the median over all rounds of PostgreSQL's time by this side's in the same round.
        over_bare: the median over all rounds of this side's time by that of the bare bytes, on Keyweave's sides.
        over_wire: the same by that of the wire alone.
        samples: every call in order, unless they were left out to save room.
    """

    side: str
    rounds: int
    p50: float
    p95: float
    p99: float
    faster: float | None = None
    over_bare: float | None = None
    over_wire: float | None = None
    samples: list[float] = msgspec.field(default_factory=list)


class Anatomy(msgspec.Struct, kw_only=True):
    """Where the time of one call of Keyweave goes; medians.

    Attributes:
        trips: round trips.
        commands: in all of them.
        sent, received: bytes.
        server: microseconds that the server worked.
        client: microseconds that the call takes when the answers are at hand: the work of this process.
    """

    trips: int
    commands: int
    sent: int
    received: int
    server: float
    client: float


class CaseTimings(msgspec.Struct, kw_only=True):
    """One case on every side."""

    name: str
    writes: bool
    timings: list[Timing]
    anatomy: Anatomy | None = None

    def of(self, side: str) -> Timing | None:
        """A side's timing, when it took part."""
        return next((timing for timing in self.timings if timing.side == side), None)


class Rate(msgspec.Struct, kw_only=True):
    """How many calls a second one side answered.

    Attributes:
        case: name of the case.
        side: name of the side.
        callers: how many calls were under way at once.
        calls: how many were made.
        per_second: calls a second over all windows.
        processor: microseconds of processor time of the callers' process for each call; 0 in runs that did not measure it.
        windows: calls a second of each window, in order.
    """

    case: str
    side: str
    callers: int
    calls: int
    per_second: float
    windows: list[float]
    processor: float = 0.0


class Growth(msgspec.Struct, kw_only=True):
    """One case beside few and beside many rows on the same server."""

    name: str
    few: Timing
    many: Timing
    ratio: float


class Machine(msgspec.Struct, kw_only=True):
    """The environment of a run."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    versions: dict[str, str]


class Run(msgspec.Struct, kw_only=True):
    """One run.

    Attributes:
        shape: see `SHAPE`.
        kind: `full`, `quick`, `tiny` or `scale`.
        started: UTC, ISO 8601.
        seconds: how long it took.
        seed: of the data.
        data: the size of the data, by name.
        compared: how many results were found equal before anything was timed.
        load: the machine's load average over a minute, when timing began and when it ended.
        search_module: whether Redis 8 has the module that redis-om needs.
        settings: of PostgreSQL and the append-only files, as far as they are not the defaults.
    """

    kind: str
    started: str
    seconds: float
    seed: int
    data: dict[str, int]
    compared: int
    load: tuple[float, float]
    machine: Machine
    search_module: bool | None = None
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    cases: list[CaseTimings] = msgspec.field(default_factory=list)
    rates: list[Rate] = msgspec.field(default_factory=list)
    growth: list[Growth] = msgspec.field(default_factory=list)
    shape: int = SHAPE

    def case(self, name: str) -> CaseTimings | None:
        """The case with this name, when it was run."""
        return next((case for case in self.cases if case.name == name), None)

    def rate(self, case: str, side: str, callers: int) -> Rate | None:
        """The rate of one side of a case, when it was measured."""
        wanted = (case, side, callers)
        return next((rate for rate in self.rates if (rate.case, rate.side, rate.callers) == wanted), None)


class Unreadable(ValueError):
    """A file holds no run, or one of another shape."""


def read(path: Path) -> Run:
    """Load a run.

    Raises:
        Unreadable: there is no such file, or it holds something else.
    """
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError) as error:
        raise Unreadable(f"{path}: {error}") from error
    if run.shape != SHAPE:
        raise Unreadable(f"{path}: has shape {run.shape}, this version reads {SHAPE}")
    return run


def write(run: Run, path: Path, *, samples: bool) -> None:
    """Store a run, with or without every single time."""
    plain: dict[str, Any] = msgspec.to_builtins(run)
    if not samples:
        for case in plain["cases"]:
            for timing in case["timings"]:
                del timing["samples"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1 if not samples else 0) + b"\n")


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of an ordered sequence lies, interpolated."""
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def timing(side: str, samples: list[float]) -> Timing:
    """Quantiles of one side's calls, in microseconds."""
    ordered = sorted(samples)
    p50, p95, p99 = (round(quantile(ordered, share), 2) for share in (0.5, 0.95, 0.99))
    return Timing(side=side, rounds=len(samples), p50=p50, p95=p95, p99=p99, samples=samples)
