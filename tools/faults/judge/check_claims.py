"""Unique codes: never two rows with one value; and claims, which only their maker changes, are as it learned."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from tools.faults.history import Act, Outcome
from tools.faults.judge.evidence import Evidence

_ABSENT: Final = ""


def check_claims(evidence: Evidence) -> None:
    """Look for codes of two rows, and compare each claim with what its maker learned."""
    for name in ("Claim", "Ticket"):
        for code, number in Counter(record.code.lower() for record in evidence.rows[name]).items():
            if number > 1:
                evidence.complain("unique", name, f"{number} rows of {name} have the code {code}")
    present = {f"Claim:{record.id}": record.token for record in evidence.rows["Claim"]}
    acts: dict[str, list[Act]] = defaultdict(list)
    for act in evidence.acts:
        if act.kind.startswith("claim."):
            acts[act.places[0]].append(act)
    for place, own in acts.items():
        _check_claim(evidence, place, own, present.get(place, _ABSENT))


def _check_claim(evidence: Evidence, place: str, acts: list[Act], found: str) -> None:
    """Report a claim that is in a state in which no answer leaves it. Unknown writes may have happened."""
    possible = {_ABSENT}
    for act in acts:
        after = _ABSENT if act.kind == "claim.delete" else act.token
        if act.verdict is Outcome.REFUSED:
            continue
        possible = {after} if act.verdict is Outcome.OK else possible | {after}
    if found in possible:
        return
    if any(evidence.may_be_lost(act) for act in acts):
        refused = {act.token for act in acts if act.verdict is Outcome.REFUSED and act.kind != "claim.delete"}
        if found not in refused:
            return
    writers = [
        act
        for act in acts
        if (act.kind == "claim.delete" if found == _ABSENT else act.token == found)
        and act.verdict is Outcome.REFUSED
    ]
    text = f"{place} is {found or 'absent'} after {len(acts)} calls of its maker: {'; '.join(map(str, acts))}"
    if writers:
        evidence.complain("broken promise", f"{writers[-1].kind} {writers[-1].error}", text, writers[-1])
    elif found != _ABSENT:
        evidence.complain("came back", "claim", text, acts[0])
    else:
        evidence.complain("lost write", acts[-1].kind, text, acts[-1])
