"""Calls every checker."""

from __future__ import annotations

from tools.faults.judge.check_calls import check_calls, check_pools
from tools.faults.judge.check_claims import check_claims
from tools.faults.judge.check_items import check_items
from tools.faults.judge.check_sums import check_sums
from tools.faults.judge.check_unknown import check_unknown
from tools.faults.judge.evidence import Evidence


def judge(evidence: Evidence) -> None:
    """Record every violation in the evidence."""
    for group, number in evidence.drift.items():
        evidence.complain("drift", group, f"check() found {number} of {group}")
    check_sums(evidence)
    check_items(evidence)
    check_claims(evidence)
    check_unknown(evidence)
    check_calls(evidence)
    check_pools(evidence)
