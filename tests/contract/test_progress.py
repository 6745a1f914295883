"""Progress of a parent task."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from compozy_engine import Engine, ParallelStrategy, ProgressInfo
from compozy_store import Status
from tests.contract.stories import add, contract, task

PENDING, RUNNING, SUCCESS = Status.PENDING, Status.RUNNING, Status.SUCCESS
FAILED, TIMED_OUT, CANCELED = Status.FAILED, Status.TIMED_OUT, Status.CANCELED


@contract
async def test_children_are_counted(engine: Engine) -> None:
    await add(engine, task("p"), task("other"))
    nothing = await engine.tasks.get_progress_info("p")
    assert (nothing.total_children, nothing.status_counts) == (0, {})
    assert (nothing.completion_rate, nothing.failure_rate) == (0.0, 0.0)
    assert nothing.calculate_overall_status(ParallelStrategy.WAIT_ALL) is PENDING
    for number, status in enumerate([*Status, SUCCESS]):
        await engine.tasks.upsert_state(task(f"c{number}", parent_state_id="p", status=status))
    await engine.tasks.upsert_state(task("deep", parent_state_id="c0"))
    progress = await engine.tasks.get_progress_info("p")
    assert (progress.total_children, progress.success_count, progress.failed_count) == (9, 2, 1)
    assert (progress.canceled_count, progress.timed_out_count, progress.terminal_count) == (1, 1, 5)
    assert (progress.running_count, progress.pending_count) == (3, 1)
    assert progress.status_counts == {**dict.fromkeys(Status, 1), SUCCESS: 2}
    assert (progress.completion_rate, progress.failure_rate) == (2 / 9, 2 / 9)
    assert progress.has_failures()
    assert not progress.is_all_complete()


@contract
async def test_counts_follow_every_write(engine: Engine) -> None:
    await add(engine, task("p"), task("q"), *(task(n, parent_state_id="p", status=RUNNING) for n in "abc"))
    await engine.tasks.upsert_state(task("a", parent_state_id="p", status=FAILED))
    await engine.tasks.upsert_state(task("b", parent_state_id="q", status=RUNNING))
    progress = await engine.tasks.get_progress_info("p")
    assert progress.status_counts == {FAILED: 1, RUNNING: 1}
    assert (await engine.tasks.get_progress_info("q")).status_counts == {RUNNING: 1}
    assert (await engine.tasks.get_progress_info("?")).total_children == 0


STRATEGIES = ("wait_all", "fail_fast", "best_effort", "race")
TABLE: tuple[tuple[Mapping[Status, int], tuple[Status, Status, Status, Status]], ...] = (
    ({}, (PENDING, PENDING, PENDING, PENDING)),
    ({SUCCESS: 2}, (SUCCESS, SUCCESS, SUCCESS, SUCCESS)),
    ({SUCCESS: 1, PENDING: 1}, (PENDING, PENDING, PENDING, SUCCESS)),
    ({SUCCESS: 1, RUNNING: 1}, (RUNNING, RUNNING, RUNNING, SUCCESS)),
    ({RUNNING: 1, PENDING: 1}, (RUNNING, RUNNING, RUNNING, RUNNING)),
    ({PENDING: 2}, (PENDING, PENDING, PENDING, PENDING)),
    ({FAILED: 1, RUNNING: 1}, (RUNNING, FAILED, RUNNING, RUNNING)),
    ({FAILED: 1, PENDING: 1}, (FAILED, FAILED, PENDING, PENDING)),
    ({TIMED_OUT: 1, SUCCESS: 1}, (FAILED, FAILED, SUCCESS, SUCCESS)),
    ({FAILED: 1, CANCELED: 1}, (FAILED, FAILED, FAILED, FAILED)),
    ({CANCELED: 2}, (PENDING, PENDING, FAILED, FAILED)),
    ({CANCELED: 1, SUCCESS: 1}, (PENDING, PENDING, SUCCESS, SUCCESS)),
    ({Status.WAITING: 1, FAILED: 1}, (RUNNING, FAILED, RUNNING, RUNNING)),
    ({Status.PAUSED: 1, SUCCESS: 1}, (RUNNING, RUNNING, RUNNING, SUCCESS)),
)


@pytest.mark.parametrize(("counts", "expected"), TABLE)
def test_a_strategy_makes_a_status_of_counts(
    counts: Mapping[Status, int], expected: tuple[Status, Status, Status, Status]
) -> None:
    progress = ProgressInfo.of(counts)
    for name, status in zip(STRATEGIES, expected, strict=True):
        strategy = ParallelStrategy(name)
        assert progress.calculate_overall_status(strategy) is status, name
        assert progress.is_complete(strategy) is (status in (SUCCESS, FAILED))


def test_failures_are_failed_ones_only() -> None:
    assert not ProgressInfo.of({TIMED_OUT: 1}).has_failures()
    assert ProgressInfo.of({TIMED_OUT: 1}).failure_rate == 1.0
    assert ProgressInfo.of({TIMED_OUT: 1, CANCELED: 2}).is_all_complete()
    assert ProgressInfo.of({SUCCESS: 0}).status_counts == {}
