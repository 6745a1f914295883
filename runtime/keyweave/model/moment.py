"""Moments and durations as integers: microseconds since 1970 in UTC, and microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EXACT: Final = 1 << 52
"""Below this (the year 2112) the quicker way through a float still finds the exact microsecond."""

_from_seconds: Final = datetime.fromtimestamp


def from_micros(micros: int) -> datetime:
    """The moment `micros` microseconds after 1970, in UTC, exactly."""
    if 0 <= micros < _EXACT:
        return _from_seconds(micros / 1_000_000, UTC)
    return _EPOCH + timedelta(0, 0, micros)


def from_micros_all(micros: list[int]) -> list[datetime]:
    """Several moments at once, exactly, in a third of the time that `from_micros` takes for each."""
    if micros and min(micros) >= 0 and max(micros) < _EXACT:
        return msgspec.convert([each / 1_000_000 for each in micros], list[datetime], strict=False)
    return [from_micros(each) for each in micros]


def to_micros(moment: datetime) -> int:
    """Microseconds from 1970 until an aware `moment`, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def duration_micros(duration: timedelta) -> int:
    """A duration in microseconds, exactly."""
    return duration // _MICROSECOND
