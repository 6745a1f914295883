"""The simulator is deterministic, finds what is planted, shrinks it, and finds nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tools.simulate import __main__ as command
from tools.simulate.mutants import MUTANTS, Mutant, find, planted
from tools.simulate.report import explain, shrunk
from tools.simulate.run import play
from tools.simulate.scenario import Event, Operation, ProcessPlan, scenario

ROOT = Path(__file__).resolve().parents[2]

SEEDS = range(120)
"""Played on every run of the suite; `make simulate` plays fresh ones."""

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


def test_no_seed_breaks_a_promise() -> None:
    """Among them are unknown outcomes that are settled, either way."""
    settled = set()
    for seed in SEEDS:
        played = play(scenario(seed))
        assert (seed, played.violations) == (seed, ())
        settled |= {act.settled.applied for act in played.history.acts if act.settled is not None}
    assert settled == {True, False}


def test_clients_without_faults_break_no_promise() -> None:
    for seed in SEEDS[:60]:
        assert play(scenario(seed).without(rates={}, events=())).violations == ()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_can_be_planted(mutant: Mutant) -> None:
    with planted(mutant):
        pass


def test_a_planted_fault_is_found_shrunk_and_put_into_words() -> None:
    mutant = next(each for each in MUTANTS if each.name == "a retry is not recognised")
    found = find(mutant)
    assert found.violation is not None and found.scenario is not None
    assert found.violation.checker in ("exactly once", "promise, in doubt")
    with planted(mutant) as package:
        small = shrunk(found.scenario, play(found.scenario, package), found.violation, package)
        lines = list(explain(small, found.violation, package))
    assert small.operations <= 3
    assert len(small.only or ()) <= 2
    assert any("fault: " in line for line in lines)
    assert any(line.startswith(f"  VIOLATION {found.violation.signature}") for line in lines)
    assert play(small).violations == ()


def test_a_delete_that_was_seen_and_lost_with_a_tail_may_be_settled_as_not_applied() -> None:
    """It met the history that survived, in which the row is still there."""
    calls = (
        ("item.create", ("i0", None, "open"), 0),
        ("item.delete", ("i0",), 100),
        ("item.get", ("i0",), 300),
    )
    whole = scenario(0)
    crash = Event(1, 500_000, "restart", 600_000, tail=450_000)
    settled = set()
    for seed in range(10):
        played = play(
            whole.without(
                seed=seed,
                policy={**whole.policy, "deadline": 0.5},
                timeout=1.0,
                latency=300,
                rates={"reply lost": 1.0},
                split=0.0,
                processes=tuple(
                    ProcessPlan(number, 0.0, ((Operation(1, kind, arguments, 0, at=at * 1000),),))
                    for number, (kind, arguments, at) in enumerate(calls)
                ),
                events=(crash,),
                only=frozenset({(1, 0, 1, 3)}),
            )
        )
        assert (seed, played.violations) == (seed, ())
        settled |= {act.outcome for act in played.history.acts if act.settled is not None}
    assert settled == {"refused"}


CHECKED = {
    "deadline": Mutant(
        "a shell ignores budgets",
        "tools.simulate.clients.process:Task._spent",
        "if until is None:",
        "if True:",
    ),
    "outcome": Mutant(
        "settling takes every write for applied",
        "keyweave.write.outcome:_look_up",
        'return bool(reply[0] == b"REPLAYED")',
        "return True",
    ),
}
"""What no mutant of the runtime shows to a checker."""


@pytest.mark.parametrize("checker", CHECKED)
def test_a_checker_finds_what_breaks_its_promise(checker: str) -> None:
    found = find(CHECKED[checker])
    assert found.scenario is not None
    with planted(CHECKED[checker]) as package:
        played = play(found.scenario, package)
    assert checker in {violation.checker for violation in played.violations}


@pytest.mark.parametrize(("planted_fault", "status"), [("", 0), ("a retry is not recognised", 1)])
def test_fresh_seeds_are_named_and_a_violation_ends_them(
    planted_fault: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulate", "--seconds", "1", "--seeds", "100000", "--first", "0"])
    monkeypatch.setattr(command, "CONSOLE", Console(width=200))
    if planted_fault:
        mutant = next(each for each in MUTANTS if each.name == planted_fault)
        with planted(mutant) as package:
            monkeypatch.setattr("tools.simulate.run.arena", lambda: package)
            assert command.main() == status
    else:
        assert command.main() == status
    said = capsys.readouterr().out
    assert "fresh seeds from 0 on" in said
    assert re.search(r"played seeds 0 to \d+", said)
    assert ("shrinking seed" in said) == ("VIOLATION" in said) == bool(status)
