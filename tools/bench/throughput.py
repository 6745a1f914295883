"""Throughput: many callers at once on one event loop, in short windows that alternate between the sides.

All calls of a window are prepared before it begins. Callers take the next prepared call until none is left.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from tools.bench.case import Case, Turn
from tools.bench.data import Data
from tools.bench.measuring import taking_part
from tools.bench.results import CaseTimings, Rate
from tools.bench.sides import BARE_REDIS8, BARE_VALKEY, WIRE_REDIS8, Side

CALLERS: Final = (1, 16, 64)

_UNRATED: Final = frozenset({BARE_VALKEY, BARE_REDIS8, WIRE_REDIS8})
_WINDOW: Final = 400_000.0
"""Longest that one caller may need for a window, in microseconds, unless there are more callers than such calls."""

_FIRST: Final = 100_000


async def warm(sides: Sequence[Side], callers: int) -> None:
    """Let every side open its connections before a window would have to wait for that."""
    for side in sides:
        await asyncio.gather(*(side.engine.auth.list_users() for _ in range(callers)))


async def rates(
    case: Case, sides: Sequence[Side], data: Data, timings: CaseTimings, levels: Iterable[int], windows: int
) -> list[Rate]:
    """Calls a second of every side at several numbers of callers."""
    present = [side for side in taking_part(case, sides) if side.name not in _UNRATED]
    slowest = max(timing.p50 for timing in timings.timings)
    found = []
    number = _FIRST
    for callers in levels:
        # Calls of one window are about different rows, of which there are as many as scratch executions.
        calls = min(data.size.scratch, max(callers, int(_WINDOW / slowest)))
        speeds: dict[str, list[float]] = {side.name: [] for side in present}
        worked: dict[str, float] = dict.fromkeys(speeds, 0.0)
        for window in range(windows):
            turns = [Turn(number + each, data) for each in range(calls)]
            number += calls
            shift = window % len(present)
            for side in (*present[shift:], *present[:shift]):
                seconds, processor = await _window(case, side, turns, callers)
                speeds[side.name].append(calls / seconds)
                worked[side.name] += processor
        for name, each in speeds.items():
            whole = len(each) / sum(1 / speed for speed in each)
            found.append(
                Rate(
                    case=case.name,
                    side=name,
                    callers=callers,
                    calls=calls * windows,
                    per_second=round(whole, 1),
                    processor=round(1e6 * worked[name] / (calls * windows), 1),
                    windows=[round(speed, 1) for speed in each],
                )
            )
    return found


async def _window(case: Case, side: Side, turns: Sequence[Turn], callers: int) -> tuple[float, float]:
    """Seconds from the first call to the last answer, and seconds of processor time of this process."""
    if case.writes:
        side.rows.begin_anew()  # as for one caller, see `Side.once`
    ready: list[Callable[[], Awaitable[Any]] | None] = [None] * len(turns)
    places = iter(range(len(turns)))

    async def prepare() -> None:
        for place in places:
            ready[place] = await side.ready(case, turns[place])

    await asyncio.gather(*(prepare() for _ in range(side.preparing)))
    waiting = iter(ready)

    async def call() -> None:
        for make in waiting:
            assert make is not None
            await make()

    gc.collect(0)
    gc.disable()
    try:
        started, worked = time.perf_counter(), time.process_time()
        await asyncio.gather(*(call() for _ in range(callers)))
        return time.perf_counter() - started, time.process_time() - worked
    finally:
        gc.enable()
