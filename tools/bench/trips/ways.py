"""Ways to make one call, and what they cost, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import msgspec


class Way(msgspec.Struct):
    """One way to make a call.

    Attributes:
        case: what is called, and on which row.
        name: the way.
        prepare: makes what the call needs, before the clock runs.
        call: makes the call.
        trips: of one call; filled in by the first turn.
        times: nanoseconds of each call.
        processor: nanoseconds of the client's processor time of each call.
    """

    case: str
    name: str
    prepare: Callable[[int], Any]
    call: Callable[[Any], Any]
    trips: int = 0
    times: list[int] = msgspec.field(default_factory=list)
    processor: list[int] = msgspec.field(default_factory=list)


class Measured(msgspec.Struct, frozen=True):
    """What a way costs.

    Attributes:
        case, name, trips: as in `Way`.
        median: microseconds of a call.
        ratio: of the first way of the case to this one, the median of all turns.
        processor: microseconds of the client's processor time of a call, the median.
        server: microseconds that the server works on the commands of a call, by its own count.
    """

    case: str
    name: str
    trips: int
    median: float
    ratio: float
    processor: float
    server: float


def measured(ways: list[Way], server: list[float]) -> list[Measured]:
    """What every way costs; `server` are the microseconds of the server."""
    first = {way.case: way for way in reversed(ways)}
    return [
        Measured(
            way.case,
            way.name,
            way.trips,
            statistics.median(way.times) / 1000,
            statistics.median([a / b for a, b in zip(first[way.case].times, way.times, strict=True)]),
            statistics.median(way.processor) / 1000,
            spent,
        )
        for way, spent in zip(ways, server, strict=True)
    ]


def table(found: list[Measured]) -> Iterator[str]:
    """The comparison as a table."""
    yield "| call | way | trips | median, µs | ratio | client, µs | server, µs |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for each in found:
        yield (
            f"| {each.case} | {each.name} | {each.trips} | {each.median:.0f} | {each.ratio:.2f}x "
            f"| {each.processor:.0f} | {each.server:.0f} |"
        )
