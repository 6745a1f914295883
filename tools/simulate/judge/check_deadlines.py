"""Deadlines: every call of a repository ends within its budget and one timeout more, on the virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tools.simulate.run import Run

_TOLERANCE: Final = 1.02
"""Clients count their budgets by clocks that drift."""


def check_deadlines(run: Run) -> None:
    """Compare what operations took with what their calls may take. A sweep has no budget of its own."""
    deadline, timeout = run.scenario.policy["deadline"], run.scenario.timeout
    for act in run.history.acts:
        if act.ended is None or not act.calls:
            continue
        ended_at = act.ended_at if act.answered_at is None else act.answered_at
        took = (ended_at - act.began_at - act.paused) / 1_000_000
        over = took - act.calls * (deadline * _TOLERANCE + timeout)
        run.overshoot = max(run.overshoot, took - act.calls * (deadline + timeout))
        if over > 0:
            budget = f"{act.calls} x {deadline} s, and timeouts of {timeout} s"
            run.complain("deadline", f"{act.kind} {act.token} took {took:.3f} s of {budget}", act)
