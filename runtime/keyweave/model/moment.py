"""Moments, durations, dates and times as integers.

Moments are in microseconds since 1970 (UTC), durations in microseconds, dates in days, times in microseconds since midnight.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_EXACT: Final = 1 << 52
"""Below this value (the year 2112) the faster conversion by float is exact to the microsecond."""

_from_seconds: Final = datetime.fromtimestamp


def from_micros(micros: int) -> datetime:
    """Return the moment that is exactly `micros` microseconds after 1970, in UTC."""
    if 0 <= micros < _EXACT:
        return _from_seconds(micros / 1_000_000, UTC)
    return _EPOCH + timedelta(0, 0, micros)


def from_micros_all(micros: list[int]) -> list[datetime]:
    """Return the exact moment of each value, in a third of the time that `from_micros` takes one by one."""
    if micros and min(micros) >= 0 and max(micros) < _EXACT:
        return msgspec.convert([each / 1_000_000 for each in micros], list[datetime], strict=False)
    return [from_micros(each) for each in micros]


def to_micros(moment: datetime) -> int:
    """Return the exact number of microseconds from 1970 to `moment`, which must be aware."""
    return (moment - _EPOCH) // _MICROSECOND


def duration_micros(duration: timedelta) -> int:
    """Return a duration in microseconds, exactly."""
    return duration // _MICROSECOND


def time_micros(at: time) -> int:
    """Return the number of microseconds from midnight to a time of day."""
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond


def to_days(day: date) -> int:
    """Return the number of days from 1970-01-01 to a date."""
    return day.toordinal() - _FIRST_DAY
