"""Unknown outcomes: each is settled once the server can be reached, and the answer has what the call would have returned.

Whether the answer is true is judged with the other calls: by its verdict, a settled call is acknowledged or refused.
"""

from __future__ import annotations

from typing import Final

from tools.faults.history import Settlement
from tools.faults.judge.evidence import Evidence

UNKNOWN: Final = "OutcomeUnknownError"


def check_unknown(evidence: Evidence) -> None:
    """Report unknown outcomes that were not settled, and results of settled calls that lack what the call wrote."""
    for act in evidence.acts:
        if act.error != UNKNOWN:
            continue
        if act.settled in (Settlement.NONE, Settlement.OPEN):
            evidence.complain("unsettled", act.kind, f"{act}, is not settled after the round", act)
        if act.settled is Settlement.APPLIED and act.returned is not None and act.token not in act.returned:
            text = f"{act}, would have returned a row with the tokens {act.returned}"
            evidence.complain("settled result", act.kind, text, act)
