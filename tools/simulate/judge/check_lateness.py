"""Lateness: a plan that reaches the server long after its deadline is not applied, whether or not its client still waits.

Each plan says after which time of the server it must not be applied. While no clock is wrong, that is the deadline
and some slack after the plan was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tools.simulate.network.events import answers_in

if TYPE_CHECKING:
    from tools.simulate.run import Run

_SLACK: Final = 5.0
"""Seconds that a plan may be under way beyond its deadline."""

_TOLERANCE: Final = 0.5
"""Seconds: clients estimate the server's time by clocks that drift."""

_SOON: Final = 50_000_000
"""Virtual microseconds in which a clock that drifts by one percent is wrong by no more than the tolerance."""


def check_lateness(run: Run) -> None:
    """Compare when plans were applied with when they were sent."""
    if any(event.kind in ("clock", "failover") for event in run.scenario.events):
        return
    limit = int((run.scenario.policy["deadline"] + _SLACK + _TOLERANCE) * 1_000_000)
    for entry in run.node.file:
        sent_at = run.network.sent_at.get(entry.tag)
        if sent_at is None or entry.at > _SOON or entry.at <= sent_at + limit:
            continue
        if answers_in([entry]):
            process, task, operation, _ = entry.tag
            took = (entry.at - sent_at) / 1_000_000
            run.complain("late", f"a plan of {process}-{task}-{operation} was applied after {took:.3f} s")
