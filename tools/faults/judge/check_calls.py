"""Calls and pools: every call returns in time with a known kind of error, and no pool loses a connection."""

from __future__ import annotations

from tools.faults.history import FOREVER, Outcome
from tools.faults.judge.evidence import Evidence


def check_calls(evidence: Evidence) -> None:
    """Report calls that are late, that have not returned, and that raised errors of another kind."""
    bound = evidence.settings.bound
    for act in evidence.acts:
        if act.outcome is Outcome.STUCK or act.ended == FOREVER:
            evidence.complain(
                "hang", act.kind, f"{act.kind} {act.token} has not returned; it is in {act.message}", act
            )
        elif evidence.seconds(act) > bound:
            text = f"{act}, took {evidence.seconds(act):.2f} s; the bound is {bound:.1f} s"
            evidence.complain("late", act.kind, text, act)
        if act.outcome is Outcome.UNEXPECTED:
            evidence.complain("unexpected error", f"{act.kind} {act.error}", str(act), act)


def check_pools(evidence: Evidence) -> None:
    """Report pools that lost connections or have waiters, and stores that do not work again."""
    for report in evidence.reports:
        if report.recovery:
            text = f"a store ({report.flavour}) does not work after the round: {report.recovery}"
            evidence.complain("recovery", report.flavour, text)
        if report.pool is None:
            continue
        connections, idle, waiting = report.pool
        if connections != idle or waiting:
            text = (
                f"a pool ({report.flavour}) has {connections} connections, {idle} of them idle, and {waiting} "
                f"waiters after the round, with {report.interrupted} interrupted calls"
            )
            evidence.complain("pool", report.flavour, text)
