"""Compare first, then time: in each turn every side makes the same call once, in a new random order."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from tools.bench.peers.results import Compared, Timed
from tools.bench.results import quantile

S = TypeVar("S", bound="Named")


class Named(Protocol):
    """A side of a comparison."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    @property
    def lacks(self) -> Mapping[str, str]:
        """Calls that it does not have, with the reason."""
        ...


Once = Callable[[S, int, bool], tuple[int, Any]]
"""Makes a call of a turn on a side: nanoseconds, and the result in comparable form if the flag is set, else None."""


def compare(
    name: str, sides: Sequence[S], once: Once[S], checks: int, turns: int, seconds: float
) -> Compared:
    """Compare the results of all sides with those of the first one, and time the sides whose results are alike.

    Args:
        checks: turns whose results are compared.
        turns: timed turns at most.
        seconds: after which no further turn begins; at least two are made.
    """
    first = sides[0]
    left_out = {side.name: side.lacks[name] for side in sides if name in side.lacks}
    present = [side for side in sides if side.name not in left_out]
    for turn in range(checks):
        wanted = once(first, turn, True)[1]
        for side in present[1:]:
            if side.name not in left_out:
                found = once(side, turn, True)[1]
                if found != wanted:
                    left_out[side.name] = difference(wanted, found)
    present = [side for side in present if side.name not in left_out]
    took: dict[str, list[float]] = {side.name: [] for side in present}
    order = random.Random(name)
    until = time.monotonic() + seconds
    gc.collect()
    gc.disable()
    try:
        made = 0
        while made < turns and (made < 2 or time.monotonic() < until):
            for side in order.sample(present, len(present)):
                took[side.name].append(once(side, checks + made, False)[0] / 1_000)
            made += 1
    finally:
        gc.enable()
    ours = took[first.name]
    return Compared(name, made, tuple(_timed(name, times, ours) for name, times in took.items()), left_out)


def difference(wanted: Any, found: Any) -> str:
    """Where two results differ first, in few words."""
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for left, right in zip(wanted, found, strict=True):
            if left != right:
                return difference(left, right)
    if isinstance(wanted, dict) and isinstance(found, dict) and wanted.keys() == found.keys():
        for name, value in wanted.items():
            if value != found[name]:
                return f"{name}: {difference(value, found[name])}"
    return f"returned {_short(found)}, not {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _timed(side: str, times: list[float], ours: list[float]) -> Timed:
    ordered = sorted(times)
    ratio = statistics.median(each / own for each, own in zip(times, ours, strict=True))
    p50, p95 = (round(quantile(ordered, share), 1) for share in (0.5, 0.95))
    return Timed(side, p50, p95, round(ratio, 3))
