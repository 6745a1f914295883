"""Whole calls on several partitions hold their promises in the simulator, which finds every fault that is planted in them."""

from __future__ import annotations

import pytest

from tools.simulate.mutants import Mutant, planted
from tools.simulate.partitions.__main__ import crash_everywhere
from tools.simulate.partitions.arena import spread
from tools.simulate.partitions.mutants import MUTANTS, find
from tools.simulate.partitions.run import play
from tools.simulate.partitions.scenario import scenario

SEEDS = range(25)
"""Played on every run of the suite; `make simulate-partitions` plays more."""

QUICK = (
    "the epoch is not compared",
    "a home is removed before its row is deleted, without a fence",
    "the new unique value of a row that is replaced claims no home",
    "an insert may arrive at any time, also after the fence of its epoch has ended",
    "rows of a bulk write claim no homes when they are sent one by one",
    "a remembered row of another partition decides whether an upsert is refused",
)
"""`make simulate-partitions` looks for the others as well."""


def test_no_seed_breaks_a_promise() -> None:
    for seed in SEEDS:
        assert (seed, play(scenario(seed)).violations) == (seed, ())


@pytest.mark.parametrize("seed", [10505, 11469, 15412, 101224, 109764, 132993])
def test_a_seed_that_once_broke_a_promise_keeps_it(seed: int) -> None:
    """What each of them found.

    A server was away for the beginning of a part; a caller left while its write's homes were removed; the server freed a copy while a
    repartition stood still; partitions of one master failed a sweep for different reasons; a repartition was interrupted at its end, beside a home that came late; and the judge
    compared the first sending of a plan of several callers, which was sent again.
    """
    assert play(scenario(seed)).violations == ()


def test_a_seed_replays_everything() -> None:
    for seed in SEEDS[:3]:
        one, other = play(scenario(seed)), play(scenario(seed), recording=True)
        assert one.digest == other.digest


def test_a_process_may_end_at_any_exchange() -> None:
    total = crash_everywhere(range(165, 166))
    assert total.seeds > 100
    assert total.faults["crash"] > 100
    assert total.violations == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_can_be_planted(mutant: Mutant) -> None:
    with planted(mutant, spread):
        pass


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_found(name: str) -> None:
    assert find(next(mutant for mutant in MUTANTS if mutant.name == name)) is not None
