"""The protocol of homes holds in the simulator, which finds every fault that is planted in it."""

from __future__ import annotations

import pytest

from tools.simulate.homes.client import Act
from tools.simulate.homes.judge import check_answers
from tools.simulate.homes.mutants import MUTANTS, find
from tools.simulate.homes.play import crashes, play
from tools.simulate.homes.scenario import Operation, scenario
from tools.simulate.mutants import Mutant, planted

SEEDS = range(200)
"""Played on every run of the suite; `make simulate-homes` plays more."""

QUICK = [mutant for mutant in MUTANTS if "after its fence has ended" not in mutant.name]
"""`make simulate-homes` looks for the others as well, for which a client has to stand still at the right moment."""


def test_no_seed_breaks_a_promise() -> None:
    for seed in SEEDS:
        assert (seed, play(scenario(seed)).violations) == (seed, [])


def test_a_seed_replays_everything() -> None:
    for seed in SEEDS[:10]:
        one, other = play(scenario(seed)), play(scenario(seed))
        assert (one.places, one.outcomes, one.left) == (other.places, other.outcomes, other.left)


def test_a_client_may_end_at_any_exchange() -> None:
    runs = list(crashes(scenario(3)))
    assert len(runs) > 20
    for each in runs:
        assert (each.crash, play(each).violations) == (each.crash, [])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_can_be_planted(mutant: Mutant) -> None:
    with planted(mutant):
        pass


@pytest.mark.parametrize("mutant", QUICK, ids=lambda mutant: mutant.name)
def test_a_planted_fault_is_found(mutant: Mutant) -> None:
    assert find(mutant) is not None


def ended_well(kind: str, began: int, ended: int, result: object = None) -> Act:
    """An operation that ended well."""
    return Act(Operation(kind, "k0", None, 0, 0), f"{kind}{began}", began, ended, "ok", result)


def test_an_acknowledged_row_that_its_key_does_not_find_is_a_violation() -> None:
    lost = [ended_well("create", 1, 2), ended_well("get", 3, 4)]
    assert [each.promise for each in check_answers(lost)] == ["lost or found"]
    deleted = [ended_well("create", 1, 2), ended_well("delete", 3, 4, result=True), ended_well("get", 5, 6)]
    assert not list(check_answers(deleted))
    twice = [ended_well("create", 1, 2), ended_well("create", 3, 4)]
    assert [each.promise for each in check_answers(twice)] == ["lost or found"]
