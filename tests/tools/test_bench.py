"""The benchmarks themselves: what they compare, what they compute, and a short run of the whole of them."""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from compozy_engine.auth import AuthRepository
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import WorkflowRepository
from compozy_store import Status
from tests.servers.running import chosen_server
from tools.bench.__main__ import app
from tools.bench.bare import Sent, same_answers
from tools.bench.case import Case, Turn
from tools.bench.cases import CASES, chosen
from tools.bench.comparing import differences, reservations
from tools.bench.data import PAYLOADS, TINY, Data, size_of
from tools.bench.measuring import Effort, summary
from tools.bench.progress import Steps
from tools.bench.report import pages
from tools.bench.results import Run, Unreadable, quantile, read, timing, write
from tools.bench.running import run
from tools.bench.scale import scale
from tools.bench.sections import limits
from tools.bench.sides import BARE_VALKEY, POSTGRES, REDIS8, VALKEY, WIRE_VALKEY, Outcome, Side
from tools.bench.targets import Verdict, verdicts
from tools.bench.verifying import Difference, verify

SEED = 7
ON_REDIS8 = chosen_server() == "redis8"


@pytest.fixture(scope="module")
def tiny() -> Run:
    """A run with few rows and few rounds, on Redis 8 as well where that is under test."""
    return asyncio.run(run("tiny", CASES, SEED, Steps(silent=True), redis8=ON_REDIS8))


def methods() -> Iterator[str]:
    for name, kind in (
        ("auth", AuthRepository),
        ("workflows", WorkflowRepository),
        ("tasks", TaskRepository),
    ):
        for method, _ in inspect.getmembers(kind, inspect.isfunction):
            if not method.startswith("_"):
                yield f"{name}.{method}"


def test_every_method_of_the_contract_has_a_case() -> None:
    assert {case.method for case in CASES} == set(methods())


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_cases_are_chosen_by_words() -> None:
    assert {case.method for case in chosen("list_children, create_user")} == {
        "auth.create_user",
        "tasks.list_children",
        "tasks.list_children_outputs",
    }
    with pytest.raises(ValueError, match="no case"):
        chosen("no_such_method")


def test_the_same_seed_makes_the_same_data() -> None:
    first, second, other = Data(SEED, TINY), Data(SEED, TINY), Data(SEED + 1, TINY)
    assert list(first.families()) == list(second.families())
    assert list(first.families()) != list(other.families())


def test_data_has_its_declared_size_and_its_own_ids() -> None:
    tasks = [task for _, family in Data(SEED, TINY).families() for task in family]
    assert len(tasks) == TINY.tasks
    assert len({task.task_exec_id for task in tasks}) == len(tasks)


@pytest.mark.parametrize("size", PAYLOADS)
def test_payloads_have_about_their_size(size: int) -> None:
    payload = Data(SEED, TINY).payload(size, random.Random(SEED))
    assert 0.8 * size <= size_of(payload) <= 1.2 * size + 150


def test_quantiles_are_interpolated() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0, 0.5, 1)] == [1.0, 2.5, 4.0]
    assert timing("side", [30.0, 10.0, 20.0]).p50 == 20.0


def test_ratios_are_taken_inside_rounds() -> None:
    case = summary(
        CASES[0],
        {
            POSTGRES: [100.0, 300.0, 80.0],
            VALKEY: [50.0, 100.0, 40.0],
            BARE_VALKEY: [25.0, 100.0, 40.0],
            WIRE_VALKEY: [20.0, 25.0, 20.0],
        },
    )
    ours = case.of(VALKEY)
    assert ours is not None
    assert ours.faster == 2.0
    assert ours.over_bare == 1.0
    assert ours.over_wire == 2.5


class Given(Side):
    """A side that returns given results."""

    def __init__(self, name: str, result: Any, left: Any = None) -> None:
        super().__init__(name, None, None)  # type: ignore[arg-type]
        self._result = result
        self._left = left

    async def once(self, case: Case, turn: Turn) -> Outcome:
        return Outcome(1, self._result)

    async def observed(self, case: Case, turn: Turn) -> Any:
        return self._left


WRITING = next(case for case in CASES if case.writes)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Given("one", Status.FAILED), Given("other", Status.SUCCESS)),
        (Given("one", None, {"output": {}}), Given("other", None, {"output": None})),
        (Given("one", {"email": "a", "created_at": 1}), Given("other", {"email": "a", "created_at": None})),
    ],
    ids=["result", "what is left", "a time that was not set"],
)
def test_sides_that_do_not_do_the_same_work_are_refused(left: Side, right: Side) -> None:
    with pytest.raises(Difference, match="other is not like one"):
        asyncio.run(verify(WRITING, [left, right], Data(SEED, TINY), 1))


def test_times_that_a_store_sets_may_differ() -> None:
    sides = [
        Given(name, {"email": "a", "created_at": number}) for number, name in enumerate(("one", "other"), 1)
    ]
    assert asyncio.run(verify(WRITING, sides, Data(SEED, TINY), 3)) == 6


def test_a_replay_may_find_another_time_on_the_server() -> None:
    sent = [Sent([("GET", "k"), ("TIME",)], [b"v", [b"1700000000", b"7"]])]
    assert same_answers(sent, [[b"v", (1700000000, 9)]])
    assert not same_answers(sent, [[b"w", (1700000000, 9)]])


def test_a_run_times_every_case_on_every_side(tiny: Run) -> None:
    assert [case.name for case in tiny.cases] == [case.name for case in CASES]
    assert tiny.compared > 4 * len(CASES)
    for case in tiny.cases:
        sides = {timing.side for timing in case.timings}
        assert {POSTGRES, VALKEY, BARE_VALKEY, WIRE_VALKEY} <= sides
        assert ("keyweave-valkey-always" in sides) == case.writes
        assert all(timing.rounds == 2 and timing.p50 > 0 for timing in case.timings)
    assert {rate.callers for rate in tiny.rates} == {1, 4}
    assert all(0 < rate.processor <= 1.1e6 / rate.per_second for rate in tiny.rates)


def test_the_report_has_every_case_and_drawings_that_can_be_read(tiny: Run) -> None:
    files = pages(tiny)
    page = files.pop("benchmarks.md")
    assert all(f"`{case.name}`" in page for case in CASES)
    assert "redis-om** was left out" in page
    assert {
        f"benchmarks/{name}.svg" for name in ("auth", "tasks", "workflows", "payloads", "throughput")
    } == set(files)
    for name, text in files.items():
        assert ET.fromstring(text).tag.endswith("svg")
        assert f"({name})" in page


def test_the_report_warns_of_a_busy_machine(tiny: Run) -> None:
    quiet = msgspec.structs.replace(tiny, load=(0.5, float(tiny.machine.cores)))
    busy = msgspec.structs.replace(tiny, load=(0.5, tiny.machine.cores + 7.5))
    assert "busy" not in pages(quiet)["benchmarks.md"]
    assert f"a load of {busy.load[1]:g} on {tiny.machine.cores} cores" in pages(busy)["benchmarks.md"]


def test_the_report_has_the_ratio_that_the_wire_alone_reaches(tiny: Run) -> None:
    run = msgspec.convert(msgspec.to_builtins(tiny), Run)
    run.cases = [case for case in run.cases if not case.writes][:3]
    for case, (theirs, ours, wire) in zip(
        run.cases, ((300.0, 100.0, 50.0), (150.0, 100.0, 50.0), (120.0, 100.0, 80.0)), strict=True
    ):
        for name, micros in ((POSTGRES, theirs), (VALKEY, ours), (WIRE_VALKEY, wire)):
            timing = case.of(name)
            assert timing is not None
            timing.p50 = timing.p95 = micros
            timing.faster, timing.over_wire = theirs / micros, micros / wire
    lines = list(limits(run, {False: 2.0, True: 3.0}))
    met, within, beyond = (case.name for case in run.cases)
    assert not any(f"`{met}`" in line for line in lines)
    assert any(line.startswith(f"| `{within}` | 2x | 1.5x | 3.0x | 1.5x | 3.0x | 150 |") for line in lines)
    assert any(f"| `{beyond}` | 2x | 1.2x | **1.5x** | 1.2x | **1.5x** | 120 |" in line for line in lines)


def test_targets_are_judged_for_each_side_that_ran(tiny: Run) -> None:
    found = verdicts(tiny)
    assert {each.side for each in found} == ({VALKEY, REDIS8} if ON_REDIS8 else {VALKEY})
    assert {each.wanted for each in found if each.target == "PostgreSQL at p50"} == {2.0, 3.0}
    assert all(each.met == (each.found <= 1.3) for each in found if each.target == "bare limit")


def test_a_target_within_reach_is_met_by_a_client_that_is_fast_enough() -> None:
    def met(found: float, limit: float | None) -> list[bool | None]:
        verdict = Verdict("a target", "a case", VALKEY, found, 2.0, found >= 2.0, limit)
        return [verdict.met_if_shorter(factor) for factor in (1.0, 1.9, 2.0, math.inf)]

    assert met(1.5, 3.0) == [False, False, True, True]
    assert met(1.2, 1.5) == [False] * 4
    assert met(2.5, 2.4) == [True] * 4
    assert met(1.5, None) == [None] * 4


def test_a_run_is_kept_and_read_again(tiny: Run, tmp_path: Path) -> None:
    write(tiny, tmp_path / "raw.json", samples=True)
    write(tiny, tmp_path / "short.json", samples=False)
    assert read(tmp_path / "raw.json") == tiny
    assert not read(tmp_path / "short.json").cases[0].timings[0].samples
    (tmp_path / "old.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(tiny, shape=0)))
    for name in ("old.json", "none.json"):
        with pytest.raises(Unreadable, match=name):
            read(tmp_path / name)


def test_a_comparison_takes_the_machines_drift_out(tiny: Run) -> None:
    drifted = msgspec.convert(msgspec.to_builtins(tiny), Run)
    for case in drifted.cases:
        for each in case.timings:
            each.p50 *= 2
    assert {each.effect for each in differences(tiny, drifted)} == {1.0}
    changed = drifted.cases[0].of(VALKEY)
    assert changed is not None and changed.faster is not None
    changed.faster /= 3
    assert next(differences(tiny, drifted)).effect == pytest.approx(3.0, rel=0.01)
    drifted.seed += 1
    assert reservations(tiny, drifted) == [f"the seeds differ: {SEED} and {SEED + 1}"]


def test_the_command_compares_and_reports(tiny: Run, tmp_path: Path) -> None:
    slower = msgspec.convert(msgspec.to_builtins(tiny), Run)
    for case in slower.cases:
        for each in case.timings:
            each.faster = each.faster and each.faster / 2
    write(tiny, tmp_path / "old.json", samples=False)
    write(slower, tmp_path / "new.json", samples=False)
    old, new = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    command = CliRunner().invoke
    assert command(app, ["compare", old, old]).exit_code == 0
    assert command(app, ["compare", old, new]).exit_code == 1
    assert command(app, ["compare", old, str(tmp_path / "none.json")]).exit_code == 2
    assert command(app, ["report", old, "--docs", str(tmp_path / "docs")]).exit_code == 0
    assert (tmp_path / "docs" / "benchmarks.md").read_text("utf-8") == pages(tiny)["benchmarks.md"]


def test_growth_compares_few_rows_with_many(tiny: Run) -> None:
    cases = chosen("tasks.get_state")
    more = replace(TINY, executions=2 * TINY.executions)
    found = asyncio.run(scale(cases, TINY, more, SEED, Effort(0, 3, 3), Steps(silent=True)))
    assert [each.name for each in found.growth] == [case.name for case in cases]
    assert all(each.ratio == round(each.many.p50 / each.few.p50, 3) for each in found.growth)
    page = pages(tiny, found)["benchmarks.md"]
    assert f"| method | {TINY.tasks:,} tasks | {more.tasks:,} tasks | ratio |" in page
