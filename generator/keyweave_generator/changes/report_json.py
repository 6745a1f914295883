"""The review as JSON. Its shape is stable: keys may be added, and none changes its meaning."""

from __future__ import annotations

import json
from typing import Any

from .finding import ChangeFinding, Level, Review


def json_report(review: Review, level: Level) -> str:
    """The whole review. `reached` is true if a finding is at least as severe as `level`."""
    shape = {
        "against": review.against or None,
        "level": level.value,
        "reached": bool(review.reaching(level)),
        "counts": {each.value: review.count(each) for each in Level} | {"ignored": len(review.ignored)},
        "findings": [_finding(each) for each in review.findings],
        "ignored": [_finding(each.finding) | {"reason": each.reason} for each in review.ignored],
    }
    return json.dumps(shape, indent=2, ensure_ascii=False) + "\n"


def _finding(finding: ChangeFinding) -> dict[str, Any]:
    cost, effect = finding.cost, finding.effect
    return {
        "rule": finding.rule,
        "category": finding.category.value,
        "level": finding.level.value,
        "side": finding.side.value,
        "file": finding.position.file,
        "line": finding.position.line,
        "column": finding.position.column,
        "entity": finding.subject or None,
        "field": finding.part or None,
        "message": finding.message,
        "code": effect.code,
        "data": effect.data,
        "deploy": effect.deploy,
        "action": effect.action,
        "commands": list(effect.commands),
        "cost": (
            None
            if cost is None
            else {
                "entries_per_row": cost.entries,
                "every_row": not cost.partial,
                "bytes_per_row": [cost.bytes_low, cost.bytes_high],
                "micros_per_insert": cost.micros_insert,
                "micros_per_update": cost.micros_update,
            }
        ),
    }
