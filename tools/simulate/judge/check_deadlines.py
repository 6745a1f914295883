"""Deadlines: every operation ends within its budget and one timeout more, on the virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tools.simulate.run import Run

JUDGED: Final = False
"""Whether an operation that takes longer breaks a promise. Until retries share one budget, it is only measured."""

_CALLS: Final = {"item.save": 2}
"""Kinds of operation that make more than one call, each of which has a budget of its own."""

_TOLERANCE: Final = 1.02
"""Clients count their budgets by clocks that drift."""


def check_deadlines(run: Run) -> None:
    """Compare what operations took with what they may take."""
    budget = run.scenario.policy["deadline"] + run.scenario.timeout
    for act in run.history.acts:
        if act.ended is None:
            continue
        took = (act.ended_at - act.began_at - act.paused) / 1_000_000
        over = took - budget * _CALLS.get(act.kind, 1) * _TOLERANCE
        run.overshoot = max(run.overshoot, over)
        if JUDGED and over > 0:
            run.complain("deadline", f"{act.kind} {act.token} took {took:.3f} s of {budget:.3f} s", act)
