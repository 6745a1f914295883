"""The judge of the campaign of faults finds each kind of broken promise, and nothing in a history that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tools.faults.history import FOREVER, Act, Loss, Outcome, Seen, Settlement
from tools.faults.judge.evidence import Evidence, Report
from tools.faults.judge.judge import judge
from tools.faults.kinds.kinds import KINDS
from tools.faults.pulse import Stall
from tools.faults.settings import settings_of

SETTINGS = settings_of(1, tuple(KINDS.values()), seconds=1, writers=16, chosen=False)


def counter(*tokens: str, number: int | None = None) -> Any:
    return SimpleNamespace(
        id="c0", number=len(tokens) if number is None else number, tokens=list(tokens), balance=0
    )


def act(
    token: str,
    began: float = 1,
    ended: float = 2,
    outcome: Outcome = Outcome.OK,
    kind: str = "counter.change",
    places: Sequence[str] = ("Counter:c0",),
    **more: Any,
) -> Act:
    return Act(token, kind, began, ended, list(places), outcome=outcome, **more)


def item(
    token: str, began: float, ended: float, tokens: str, kind: str = "item.append", *, deleted: bool = False
) -> Act:
    """A call on an item; times are in tenths of a second."""
    seen = [Seen("Item:i0", tokens.split(), deleted)]
    return Act(token, kind, began / 10, ended / 10, seen=seen, outcome=Outcome.OK)


def found(
    acts: Sequence[Act] = (),
    losses: Sequence[Loss] = (),
    reports: Sequence[Report] = (),
    **rows: Sequence[Any],
) -> list[str]:
    every: dict[str, Sequence[Any]] = {
        name: rows.get(name, ()) for name in ("Counter", "Account", "Item", "Claim", "Ticket")
    }
    evidence = Evidence(SETTINGS, acts, losses, every, {}, reports, {})
    judge(evidence)
    return [violation.checker for violation in evidence.violations]


def test_a_history_that_keeps_every_promise_is_clean() -> None:
    acts = [
        act("1"),
        act("2", outcome=Outcome.UNKNOWN),
        act("3", outcome=Outcome.UNKNOWN),
        act("4", outcome=Outcome.REFUSED),
        item("5", 1, 2, "5", "item.upsert"),
        item("6", 3, 4, "5 6"),
        item("7", 5, 6, "5 6", "item.remove", deleted=True),
    ]
    assert found(acts, Counter=[counter("1", "2")], reports=[Report("sync", (2, 2, 0), 0, "")]) == []


@pytest.mark.parametrize(
    ("outcome", "tokens", "checker"),
    [
        (Outcome.OK, (), "lost write"),
        (Outcome.OK, ("1", "1"), "exactly once"),
        (Outcome.UNKNOWN, ("1", "1"), "exactly once"),
        (Outcome.REFUSED, ("1",), "broken promise"),
    ],
)
def test_tokens_are_counted(outcome: Outcome, tokens: tuple[str, ...], checker: str) -> None:
    assert found([act("1", outcome=outcome)], Counter=[counter(*tokens)]) == [checker]


def test_half_a_transaction_and_a_changed_total_are_found() -> None:
    pair = act("1", kind="counter.pair", places=("Counter:c0", "Counter:c1"), outcome=Outcome.UNKNOWN)
    assert found([pair], Counter=[counter("1")]) == ["half transaction"]
    assert found(Counter=[counter("1", number=2)]) == ["total"]
    account = SimpleNamespace(id="a0", balance=101, tokens=[])
    assert found(Account=[account]) == ["total"]


def test_a_lost_tail_may_take_the_last_writes_and_nothing_else() -> None:
    early, late, after = act("1", 1, 2), act("2", 3, 4), act("3", 9, 10)
    loss = [Loss(5, 6)]
    assert found([early, late, after], loss, Counter=[counter("1", "3")]) == []
    assert found([early, late, after], loss, Counter=[counter("2", "3")]) == ["not a prefix"]
    assert found([early, late, after], loss, Counter=[counter("1", "2")]) == ["lost write"]


def test_a_kill_under_everysec_may_take_the_writes_of_two_seconds() -> None:
    early, late = act("1", 1, 2), act("2", 4, 5)
    assert found([early, late], [Loss(6, 7, 2.0)], Counter=[counter("1")]) == []
    assert found([early, late], [Loss(6, 7, 2.0)], Counter=[counter()]) == ["lost write"]


def unknown(token: str, settled: Settlement, known: float = 3, **more: Any) -> Act:
    """A call whose outcome was unknown, and what settling it said."""
    words = {"error": "OutcomeUnknownError", "settled": settled, "known": known, **more}
    return act(token, outcome=Outcome.UNKNOWN, **words)


@pytest.mark.parametrize(
    ("settled", "tokens", "checkers"),
    [
        (Settlement.APPLIED, ("1",), []),
        (Settlement.APPLIED, (), ["lost write"]),
        (Settlement.NEVER, (), []),
        (Settlement.NEVER, ("1",), ["broken promise"]),
        (Settlement.OPEN, ("1",), ["unsettled"]),
        (Settlement.NONE, (), ["unsettled"]),
    ],
)
def test_a_settled_outcome_is_a_promise(
    settled: Settlement, tokens: tuple[str, ...], checkers: list[str]
) -> None:
    assert found([unknown("1", settled)], Counter=[counter(*tokens)]) == checkers


def test_a_settled_write_may_be_lost_as_any_other() -> None:
    settled = unknown("1", Settlement.APPLIED, known=5)
    assert found([settled], [Loss(4, 6)], Counter=[counter()]) == []
    assert found([settled, act("2", 7, 8)], [Loss(4, 6)], Counter=[counter()]) == ["lost write"]


def test_a_settled_result_has_what_the_call_wrote() -> None:
    rows = [counter("1")]
    assert found([unknown("1", Settlement.APPLIED, returned=["1"])], Counter=rows) == []
    assert found([unknown("1", Settlement.APPLIED, returned=["2"])], Counter=rows) == ["settled result"]


def test_what_was_refused_and_seen_is_found() -> None:
    refused = act("1", kind="item.append", outcome=Outcome.REFUSED, places=())
    never = unknown("1", Settlement.NEVER, kind="item.append", places=())
    for each in (refused, never):
        assert found([each, item("2", 30, 40, "0 1 2")]) == ["broken promise"]
    # The server that had applied it was replaced by one that never knew it.
    assert found([never, item("2", 21, 22, "0 1 2")], [Loss(2.3, 2.5)]) == []


def test_an_upsert_that_is_applied_again_is_found() -> None:
    made = item("1", 1, 20, "1", "item.upsert")
    assert found([made, item("2", 3, 4, "1 2"), item("3", 5, 6, "1 3")]) == ["applied again"]
    replaced = item("4", 5, 6, "4", "item.upsert")
    assert found([made, item("2", 3, 4, "1 2"), replaced, item("3", 7, 8, "1 2 3")]) == ["came back"]
    assert found([made, item("2", 3, 4, "1 2"), replaced, item("3", 7, 8, "4 3")]) == []
    removed = item("5", 3, 4, "1", "item.remove", deleted=True)
    assert found([item("1", 1, 2, "1", "item.upsert"), removed, item("3", 7, 8, "1 3")]) == ["came back"]


def test_claims_are_as_their_maker_left_them() -> None:
    def claim(token: str, kind: str, outcome: Outcome = Outcome.OK) -> Act:
        return act(token, kind=f"claim.{kind}", outcome=outcome, places=("Claim:1",))

    def row(token: str, key: str = "1", code: str = "x") -> Any:
        return SimpleNamespace(id=key, code=code, token=token)

    made, gone = claim("1", "create"), claim("2", "delete")
    assert found([made, claim("2", "recode", Outcome.UNKNOWN)], Claim=[row("2")]) == []
    assert found([made, claim("2", "recode", Outcome.REFUSED)], Claim=[row("2")]) == ["broken promise"]
    assert found([made, gone], Claim=[row("1")]) == ["came back"]
    assert found([made]) == ["lost write"]
    assert found(Claim=[row("1"), row("2", "2", "X")]) == ["unique"]


def test_late_calls_stuck_calls_and_pools_with_lost_connections_are_found() -> None:
    assert found([act("1", 0, 60)], Counter=[counter("1")]) == ["late"]
    assert found([act("1", 0, FOREVER, Outcome.STUCK)]) == ["hang"]
    assert found([act("1", outcome=Outcome.UNEXPECTED)]) == ["unexpected error"]
    assert found(reports=[Report("sync", (2, 1, 0), 9, "")]) == ["pool"]
    assert found(reports=[Report("aio", (2, 2, 1), 9, "")]) == ["pool"]
    assert found(reports=[Report("aio", (2, 2, 0), 9, "TimeoutError")]) == ["recovery"]


def test_a_call_is_not_late_while_the_machine_stalled() -> None:
    took = SETTINGS.bound + 5
    for stall, late in ((Stall(2, 8), False), (Stall(-9, 2), True), (Stall(took - 1, 99), True)):
        every: dict[str, Sequence[Any]] = dict.fromkeys(("Counter", "Account", "Item", "Claim", "Ticket"), ())
        evidence = Evidence(SETTINGS, [item("1", 0, 10 * took, "1")], (), every, {}, (), {}, stalls=[stall])
        judge(evidence)
        assert [violation.checker for violation in evidence.violations] == ["late"] * late


def test_a_seed_makes_the_same_round_again() -> None:
    kinds = tuple(KINDS.values())
    rounds = [settings_of(seed, kinds, seconds=4, writers=16, chosen=False) for seed in (5, 5, 6)]
    assert rounds[0] == rounds[1] != rounds[2]
    assert all(any(settings_of(seed, kinds, seconds=4, writers=16, chosen=False).lanes) for seed in range(50))
