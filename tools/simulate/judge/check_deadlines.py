"""Deadlines: every operation ends within its budget and one timeout more, on the virtual clock. Not judged yet: reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_deadlines(run: Run) -> None:
    """Compare what operations took with what they may take."""
    policy, scenario = run.scenario.policy, run.scenario
    allowed = (policy["deadline"] + scenario.timeout) * 1_000_000
    for act in run.history.acts:
        if act.ended is None:
            continue
        run.overshoot = max(run.overshoot, act.ended_at - act.began_at - act.paused - allowed)
        if run.strict_deadlines and act.ended_at - act.began_at - act.paused > allowed:
            took = (act.ended_at - act.began_at - act.paused) / 1_000_000
            run.complain("deadline", f"{act.kind} {act.token} took {took:.3f} s", act)
