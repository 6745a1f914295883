"""The functions of this process in which the time of a call is used, by the interpreter's own profiler.

With the profiler, Python functions appear slower than they are, beside those in C. Read the order, not the sum.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.bench.case import Case, Turn
from tools.bench.data import Data
from tools.bench.sides import Side

_FIRST: Final = 700_000


@dataclass(frozen=True, slots=True)
class Spent:
    """One function.

    Attributes:
        function: file, line and name.
        calls: how often it is called by one call of the case.
        own: microseconds in the function itself, by one call of the case.
        whole: with everything that it calls.
    """

    function: str
    calls: float
    own: float
    whole: float


async def profile(case: Case, side: Side, data: Data, turns: int) -> list[Spent]:
    """Profile calls of one case, without what prepares them; the slowest function is the first."""
    profiler = cProfile.Profile()
    await side.once(case, Turn(_FIRST - 1, data))
    for number in range(turns):
        arguments = await case.prepare(side, Turn(_FIRST + number, data))
        target = case.target(side.engine)
        profiler.enable()
        try:
            await target(*arguments)
        finally:
            profiler.disable()
    return sorted(_spent(profiler, turns), key=lambda each: -each.own)


def _spent(profiler: cProfile.Profile, turns: int) -> Iterator[Spent]:
    stats: Any = pstats.Stats(profiler)
    for (path, line, name), (_, calls, own, whole, _) in stats.stats.items():
        place = f"{Path(path).parent.name}/{Path(path).name}:{line} {name}" if line else name
        yield Spent(place, calls / turns, own / turns * 1e6, whole / turns * 1e6)
