"""Moments are exact: what the server wrote comes back to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyweave.model.moment import duration_micros, from_micros, from_micros_all, to_micros


@given(st.integers(0, 250_000_000_000_000_000))
def test_microseconds_survive_both_ways(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros
    assert from_micros(micros) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


@given(st.lists(st.integers(1_400_000_000_000_000, 1 << 52) | st.integers(0, 250_000_000_000_000_000)))
def test_many_at_once_are_what_each_is(micros: list[int]) -> None:
    assert from_micros_all(micros) == [from_micros(each) for each in micros]


@given(st.timedeltas())
def test_durations_are_exact(duration: timedelta) -> None:
    assert timedelta(microseconds=duration_micros(duration)) == duration
