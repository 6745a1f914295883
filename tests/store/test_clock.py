"""The estimate of the server's time: it decides only while it is young and while the machine has not slept."""

from __future__ import annotations

from keyweave.store.clock import ServerClock

START = 1_700_000_000_000_000
HOUR = 3_600_000_000


class Clocks:
    """A monotonic and a wall clock that a test moves."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.wall = 1_000.0
        self.server = ServerClock(lambda: self.monotonic, lambda: self.wall)
        self.server.set(START)

    def wait(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def test_a_young_estimate_decides_what_is_far_from_it() -> None:
    clocks = Clocks()
    clocks.wait(0.05)
    assert clocks.server.passed(START - HOUR) is True
    assert clocks.server.passed(START + HOUR) is False
    assert clocks.server.passed(START + 60_000) is None


def test_an_older_estimate_decides_nothing_because_the_server_may_have_stepped() -> None:
    clocks = Clocks()
    clocks.wait(0.2)
    assert clocks.server.passed(START - HOUR) is None
    assert clocks.server.passed(START + HOUR) is None
    assert clocks.server.stale()
    assert clocks.server.reliable(60)


def test_a_suspended_machine_makes_the_estimate_unreliable() -> None:
    """The monotonic clock stops during the suspension, and the wall clock does not."""
    clocks = Clocks()
    clocks.wait(0.01)
    clocks.wall += 3600
    assert clocks.server.passed(START + HOUR // 2) is None
    assert not clocks.server.reliable(60)
    clocks.server.set(START + HOUR)
    assert clocks.server.passed(START + HOUR // 2) is True


def test_a_time_that_was_never_set_decides_nothing_and_is_not_stale() -> None:
    clock = ServerClock(lambda: 100.0, lambda: 1_000.0)
    assert clock.passed(START) is None
    assert not clock.reliable(60)
    assert not clock.stale()
