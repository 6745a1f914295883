"""The comparison with other Python libraries: results before times, promises as counts, and a page that says which library wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tools.bench.peers import comparison
from tools.bench.peers.calls import CALLS
from tools.bench.peers.hand_side import HandSide
from tools.bench.peers.keyweave_side import KeyweaveSide
from tools.bench.peers.opening import SIDES
from tools.bench.peers.results import Compared, Guarantees, Peers, Timed
from tools.bench.peers.savers import OURS, THEIRS
from tools.bench.peers.section import section, verdict, winners
from tools.bench.peers.timing import compare, difference

ALWAYS = {KeyweaveSide.name, HandSide.name}
"""Sides that need nothing beside what `make setup` installs; the others take part where `make peers` has run."""


def promises(tiny: Peers, side: str) -> Guarantees:
    return next(each for each in tiny.guarantees if each.side == side)


def every_side_takes_part_or_is_named(tiny: Peers) -> None:
    sides = {side.name for side in SIDES}
    assert set(tiny.notes) >= ALWAYS
    assert set(tiny.notes) | set(tiny.missing) == sides | ({THEIRS} if THEIRS in tiny.missing else set())
    assert not set(tiny.notes) & set(tiny.missing)


def all_sides_return_the_same(tiny: Peers) -> None:
    assert [call.name for call in tiny.calls] == [call.name for call in CALLS]
    lacks = {(call, side.name) for side in SIDES for call in side.lacks}
    for call in tiny.calls:
        assert {(call.name, side) for side in call.left_out} <= lacks, call.left_out
        assert {each.side for each in call.timed} == set(tiny.notes) - set(call.left_out)
        assert all(each.p50 > 0 for each in call.timed)


def both_savers_return_the_same(tiny: Peers) -> None:
    present = {OURS} if THEIRS in tiny.missing else {OURS, THEIRS}
    for call in tiny.savers:
        assert {each.side for each in call.timed} == present, call.left_out
    assert tiny.remnants[OURS] == 0


def ours_holds_what_it_promises(tiny: Peers) -> None:
    ours = promises(tiny, KeyweaveSide.name)
    assert (ours.refuses, ours.rows, ours.counted) == (True, ours.values, ours.added)
    assert (ours.ended, ours.visible, ours.cleaned, ours.free) == (5, 0, 0, True)


def what_expiry_by_hand_leaves_is_counted(tiny: Peers) -> None:
    """Three indexes and a unique value of each of five rows."""
    by_hand = promises(tiny, HandSide.name)
    assert (by_hand.visible, by_hand.entries, by_hand.cleaned, by_hand.free) == (5, 20, 20, False)


def the_page_has_every_call_and_every_side(tiny: Peers) -> None:
    page = "\n".join(section(tiny))
    for call in (*tiny.calls, *tiny.savers):
        assert f"| {call.name} |" in page
    for side in (*tiny.notes, *tiny.missing):
        assert f"- **{side}**" in page


@dataclass(frozen=True)
class Given:
    """A side that returns a given result."""

    name: str
    result: Any
    lacks: Mapping[str, str] = field(default_factory=dict)


def once(side: Given, turn: int, wanted: bool) -> tuple[int, Any]:
    assert wanted or side.result == [1, {"state": "open"}], "a side with another result was timed"
    return 1_000, side.result if wanted else None


def test_a_side_with_another_result_is_named_and_not_timed() -> None:
    right = [1, {"state": "open"}]
    sides = [
        Given("ours", right),
        Given("same", right),
        Given("other", [1, {"state": "held"}]),
        Given("without", None, {"get": "it has no such call"}),
    ]
    found = compare("get", sides, once, checks=2, turns=3, seconds=0)
    assert [each.side for each in found.timed] == ["ours", "same"]
    assert found.left_out == {
        "without": "it has no such call",
        "other": "state: returned 'held', not 'open'",
    }


def test_a_difference_of_lengths_is_shortened() -> None:
    assert difference([1, 2], [1]) == "returned [1], not [1, 2]"
    assert len(difference("x" * 1_000, "y" * 1_000)) < 300


@pytest.mark.parametrize(
    ("ratios", "said", "won"),
    [
        ({"a": 2.0, "b": 3.0}, "Keyweave, by 2.00x", {"Keyweave"}),
        ({"a": 0.5, "b": 3.0}, "a, by 2.00x", {"a"}),
        ({"a": 1.02, "b": 3.0}, "Keyweave and a even", {"Keyweave", "a"}),
        ({}, "no other side", set()),
    ],
)
def test_the_page_says_who_wins(ratios: dict[str, float], said: str, won: set[str]) -> None:
    timed = [
        Timed("Keyweave", 1.0, 1.0, 1.0),
        *(Timed(name, 1.0, 1.0, each) for name, each in ratios.items()),
    ]
    call = Compared("get", 3, tuple(timed), {})
    assert verdict(call) == said
    assert set(winners([call])) == won


def a_comparison_is_kept_and_read_again(tiny: Peers) -> None:
    assert msgspec.json.decode(msgspec.json.encode(tiny), type=Peers) == tiny


def test_a_short_comparison_with_every_library_that_is_installed() -> None:
    """One test, because each worker of the suite would make a comparison of its own for a shared fixture."""
    tiny = comparison.run("tiny")
    every_side_takes_part_or_is_named(tiny)
    all_sides_return_the_same(tiny)
    both_savers_return_the_same(tiny)
    ours_holds_what_it_promises(tiny)
    what_expiry_by_hand_leaves_is_counted(tiny)
    the_page_has_every_call_and_every_side(tiny)
    a_comparison_is_kept_and_read_again(tiny)
