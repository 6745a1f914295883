"""Exactly once, whole transactions and constant totals, by the tokens in counters and accounts.

An acknowledged token is there once, a refused one is absent, and one with an unknown outcome is there once at most. A fault
that loses acknowledged writes loses all from some moment on: no write survives that began after a lost one had ended.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from tools.faults.history import Act, Outcome, epoch_of
from tools.faults.judge.evidence import Evidence
from tools.faults.writers.desk import BALANCE

_ENTITIES: Final = ("Counter", "Account")


def check_sums(evidence: Evidence) -> None:
    """Compare tokens with what writers learned, and add balances up."""
    found: dict[str, Counter[str]] = {}
    for name in _ENTITIES:
        for record in evidence.rows[name]:
            found[f"{name}:{record.id}"] = Counter(record.tokens)
            if name == "Counter" and record.number != len(record.tokens):
                text = f"counter {record.id} is {record.number} and has {len(record.tokens)} tokens"
                evidence.complain("total", "counter", text)
    acts = [act for act in evidence.acts if act.places and act.places[0].partition(":")[0] in _ENTITIES]
    survived: list[Act] = []
    lost: list[Act] = []
    for act in acts:
        numbers = [found.get(place, Counter())[act.token] for place in act.places]
        _check_act(evidence, act, numbers)
        if act.verdict is Outcome.OK:
            (survived if all(numbers) else lost).append(act)
    _check_prefix(evidence, survived, lost)
    total = sum(record.balance for record in evidence.rows["Account"])
    if total != BALANCE * len(evidence.rows["Account"]):
        evidence.complain("total", "balances", f"the balances add up to {total}")


def _check_act(evidence: Evidence, act: Act, numbers: list[int]) -> None:
    where = ", ".join(f"{number} in {place}" for place, number in zip(act.places, numbers, strict=True))
    if max(numbers) > 1:
        evidence.complain("exactly once", act.kind, f"{act}, is applied several times: {where}", act)
    if any(numbers) and not all(numbers):
        evidence.complain("half transaction", act.kind, f"{act}, is applied by half: {where}", act)
    if act.verdict is Outcome.REFUSED and any(numbers):
        evidence.complain("broken promise", f"{act.kind} {act.error}", f"{act}, is there: {where}", act)
    if act.verdict is Outcome.OK and not all(numbers):
        if evidence.may_be_lost(act):
            evidence.lost.append(act)
        else:
            evidence.complain("lost write", act.kind, f"{act}, is missing: {where}", act)


def _check_prefix(evidence: Evidence, survived: list[Act], lost: list[Act]) -> None:
    """Report a lost act that ended before a survivor of the same epoch began."""
    for epoch in range(len(evidence.losses)):
        ended = [act for act in lost if epoch_of(act, evidence.losses) == epoch]
        if not ended:
            continue
        first = min(ended, key=lambda act: act.over)
        for act in survived:
            if act.began > first.over and epoch_of(act, evidence.losses) == epoch:
                text = f"{act}, survived, and the earlier {first}, is lost"
                evidence.complain("not a prefix", act.kind, text, act)
                break
