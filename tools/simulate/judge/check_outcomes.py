"""Outcomes: what `store.outcome` said of a write is what the server's file says, then and for ever after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.simulate.network.events import answers_in, written_together

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_outcomes(run: Run) -> None:
    """Compare every settlement with the plans that were applied, and with those that were lost with a tail."""
    settlements = [act for act in run.history.acts if act.settled is not None]
    if not settlements:
        return
    kept = answers_in(run.node.file)
    for act in settlements:
        settled, ended = act.settled, act.ended
        assert settled is not None
        lost = [loss.tick for loss in run.history.losses if settled.answer in loss.answers]
        if settled.applied and settled.answer not in kept and not lost:
            # A plan of several callers that was refused is sent again as another one; what became of that is what all of them learn.
            if act.token in written_together(run.node.file, run.history.shared):
                continue
            run.complain("outcome", f"{act.kind} {act.token} was never applied, and settled as applied", act)
        elif not settled.applied and settled.answer in kept:
            run.complain("outcome", f"{act.kind} {act.token} was applied, and settled as not applied", act)
        elif not settled.applied and ended is not None and any(tick > ended for tick in lost):
            run.complain(
                "outcome",
                f"{act.kind} {act.token} was applied and lost after it was settled as not applied",
                act,
            )
