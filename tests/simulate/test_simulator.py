"""The simulator is deterministic, finds what is planted, shrinks it, and finds nothing that is not known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.simulate.expected import known
from tools.simulate.mutants import MUTANTS, Mutant, find, planted
from tools.simulate.report import explain, shrunk
from tools.simulate.run import play
from tools.simulate.scenario import scenario

ROOT = Path(__file__).resolve().parents[2]

SEEDS = range(120)
"""Played on every run of the suite; `make simulate` plays fresh ones."""

FIXED = {
    "a guard on a row that is only locked counts as proof that a try did not land": 9,
    "a write was carried out, and reading the heads that it wrote fails": 42,
    "a try that may have landed is made again as another plan, or after it was undone, or arrives late": 24,
    "a plan of `forget` runs again, or late, on a row that came back and was freed again": 170,
    "a revision is handed out twice: once before a tail was lost, once behind it": 3692,
}
"""A seed that broke a promise by each fault that the simulator found, before it was fixed."""

DIGEST = """
from tools.simulate.run import play
from tools.simulate.scenario import scenario
print([play(scenario(seed)).digest for seed in (3, 9, 50)])
"""


def test_a_seed_replays_everything_whatever_the_hashes_of_strings_are() -> None:
    found = [str([play(scenario(seed)).digest for seed in (3, 9, 50)])]
    for hashes in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.strip())
    assert found[0] == found[1] == found[2]


def test_recording_a_run_does_not_change_it() -> None:
    assert play(scenario(9), recording=True).digest == play(scenario(9)).digest


def test_no_seed_breaks_a_promise_in_a_way_that_is_not_known() -> None:
    found = [(seed, each) for seed in SEEDS for each in play(scenario(seed)).violations]
    assert [(seed, each) for seed, each in found if known(each) is None] == []


def test_clients_without_faults_break_no_promise() -> None:
    for seed in SEEDS[:60]:
        assert play(scenario(seed).without(rates={}, events=())).violations == ()


@pytest.mark.parametrize("seed", FIXED.values(), ids=FIXED)
def test_a_seed_that_broke_a_promise_once_breaks_none(seed: int) -> None:
    assert play(scenario(seed)).violations == ()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_can_be_planted(mutant: Mutant) -> None:
    with planted(mutant):
        pass


def test_a_planted_fault_is_found_shrunk_and_put_into_words() -> None:
    mutant = next(each for each in MUTANTS if each.name == "a retry is not recognised")
    found = find(mutant)
    assert found.violation is not None and found.scenario is not None
    assert found.violation.checker == "exactly once"
    with planted(mutant) as package:
        small = shrunk(found.scenario, play(found.scenario, package), found.violation, package)
        lines = list(explain(small, found.violation, package))
    assert small.operations <= 3
    assert len(small.only or ()) == 1
    assert any("fault: " in line for line in lines)
    assert any(line.startswith(f"  VIOLATION {found.violation.signature}") for line in lines)
    assert play(small).violations == ()
