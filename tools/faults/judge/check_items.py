"""Items: rows that many writers replace, extend and delete.

The first token of an item names the upsert that made it, so all that was ever seen of an item with that first token must be
one list that grows: an upsert that is applied again begins a second list. What was replaced or deleted with an
acknowledgement never comes back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from tools.faults.history import FOREVER, Act, Outcome, epoch_of
from tools.faults.judge.evidence import Evidence

_LATE: Final = " after its call"
"""In the signature of what was written again although its call had returned."""

_FINAL: Final = "the final row"


@dataclass(frozen=True, slots=True)
class Sight:
    """Some writer saw an item with some tokens between two moments."""

    tokens: tuple[str, ...]
    began: float
    ended: float
    witness: str
    deleted: bool = False
    replaced: bool = False


def check_items(evidence: Evidence) -> None:
    """Compare what was seen of each item, between the losses of acknowledged writes."""
    makers = {act.token: act for act in evidence.acts}
    for (place, _), sights in _sights(evidence).items():
        lives: dict[str, list[Sight]] = defaultdict(list)
        for sight in sights:
            _check_refused(evidence, place, sight, makers)
            if sight.tokens:
                lives[sight.tokens[0]].append(sight)
            twice = [token for token, number in Counter(sight.tokens).items() if number > 1]
            if twice:
                text = f"{sight.witness} saw token {twice[0]} several times in {place}"
                evidence.complain("exactly once", "item", text, makers.get(twice[0]))
        for token, life in lives.items():
            _check_growth(evidence, place, makers.get(token), life)
            _check_end(evidence, place, makers.get(token), life, [each for each in sights if each.replaced])


def _sights(evidence: Evidence) -> dict[tuple[str, int], list[Sight]]:
    found: dict[tuple[str, int], list[Sight]] = defaultdict(list)
    for act in evidence.acts:
        epoch = epoch_of(act, evidence.losses)
        if act.verdict is not Outcome.OK or epoch is None:
            continue
        for seen in act.seen:
            if seen.place.startswith("Item:"):
                sight = Sight(
                    tuple(seen.tokens),
                    act.began,
                    act.over,
                    str(act),
                    seen.deleted,
                    act.kind == "item.upsert",
                )
                found[seen.place, epoch].append(sight)
    for record in evidence.rows["Item"]:
        sight = Sight(tuple(record.tokens), FOREVER, FOREVER, _FINAL)
        found[f"Item:{record.id}", len(evidence.losses)].append(sight)
    return found


def _check_refused(evidence: Evidence, place: str, sight: Sight, makers: dict[str, Act]) -> None:
    """Report what a call wrote although its caller learned that it wrote nothing.

    Until a loss, others may have seen what a call wrote that never happened after the loss.
    """
    for token in sight.tokens:
        maker = makers.get(token)
        if maker is None or maker.verdict is not Outcome.REFUSED:
            continue
        if sight.witness == _FINAL or epoch_of(maker, evidence.losses) is not None:
            text = f"{sight.witness} saw in {place} the token of {maker}"
            evidence.complain("broken promise", f"{maker.kind} {maker.error}", text, maker)


def _check_growth(evidence: Evidence, place: str, maker: Act | None, life: list[Sight]) -> None:
    """Report two lists of one life of which neither begins with the other, and a list that became shorter."""
    longest = max(life, key=lambda sight: len(sight.tokens))
    for sight in life:
        if longest.tokens[: len(sight.tokens)] != sight.tokens:
            text = (
                f"{place} was made by {maker}, and had two histories: {sight.witness} saw {sight.tokens}, "
                f"{longest.witness} saw {longest.tokens}"
            )
            evidence.complain("applied again", maker.kind if maker else "unknown", text, maker)
            return
    latest = max(life, key=lambda sight: sight.began)
    for sight in life:
        if sight.ended < latest.began and len(sight.tokens) > len(latest.tokens):
            text = (
                f"{place}: {sight.witness} saw {sight.tokens}, and later {latest.witness} saw {latest.tokens}"
            )
            evidence.complain("applied again", maker.kind if maker else "unknown", text, maker)
            return


def _check_end(
    evidence: Evidence, place: str, maker: Act | None, life: list[Sight], replacements: list[Sight]
) -> None:
    """Report a life that was seen after its acknowledged end.

    If it ended after its maker's call had returned, something wrote it that was still on its way by then.
    """
    latest = max(life, key=lambda sight: sight.began)
    first = min(sight.ended for sight in life)
    ends = [sight for sight in life if sight.deleted]
    ends += [sight for sight in replacements if first < sight.began]
    ends = [sight for sight in ends if sight.ended < latest.began]
    if not ends:
        return
    end = max(ends, key=lambda sight: sight.began)
    kind = maker.kind if maker is not None else "unknown"
    if maker is not None and end.began > maker.over:
        kind += _LATE
    text = f"{place} was made by {maker}, ended by {end.witness}, and seen again by {latest.witness}"
    evidence.complain("came back", kind, text, maker)
