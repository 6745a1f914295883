"""The sums of a survey: equal contents give zero in any order, and differences do not cancel out."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyweave.integrity.survey import RowSums, amount_of, claim_amount

PLACES = st.sampled_from(["a:by_status:RUNNING", "a:by_status:FAILED", "a:all", "a:newest"])
SCORES = st.one_of(st.integers(0, 2**53).map(float), st.floats(allow_nan=False))
INDEX = st.dictionaries(PLACES, SCORES, max_size=4)


def pairs(member: str, score: float) -> list[bytes]:
    """A reply of ZSCAN."""
    return [member.encode(), repr(score).encode()]


@given(implied=INDEX, held=INDEX, order=st.randoms(use_true_random=False))
def test_a_row_is_marked_when_and_only_when_its_entries_differ(
    implied: dict[str, float], held: dict[str, float], order: random.Random
) -> None:
    sums = RowSums()
    steps = [(sums.add, ("E", "k", amount_of(place, "k", score))) for place, score in implied.items()]
    more = [(sums.subtract_view, ("E", place, pairs("k", score))) for place, score in held.items()]
    mixed: list[tuple[Callable[..., None], tuple[Any, ...]]] = [*steps, *more]
    order.shuffle(mixed)
    for step, arguments in mixed:
        step(*arguments)
    differs = implied != held
    assert (sums.close(), sums.marked("E", "k")) == (differs, differs)


def test_exchanged_scores_and_values_do_not_cancel_out() -> None:
    chance = random.Random(7)
    for _ in range(20_000):
        left, right = (1790000000000000.0 + chance.randrange(10**9) for _ in range(2))
        straight = amount_of("by", "k", left) + amount_of("newest", "k", right)
        crossed = amount_of("by", "k", right) + amount_of("newest", "k", left)
        assert (straight - crossed) % 2**64 or left == right
        one, two = f"v{chance.random()}", f"w{chance.random()}"
        straight = claim_amount("f", one, "k") + claim_amount("p", two, "k")
        crossed = claim_amount("f", two, "k") + claim_amount("p", one, "k")
        assert (straight - crossed) % 2**64
