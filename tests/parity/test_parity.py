"""A short seeded run of `make parity`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from compozy_engine.auth import AuthRepository
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import WorkflowRepository
from compozy_store import Component, Status, TaskState, WorkflowState
from keyweave.model.record import NOT_WRITTEN
from tests.contract.engines import empty_engine
from tests.parity.comparing import drift
from tests.parity.running import Count, run
from tests.parity.steps import Call, Transaction
from tests.servers.partitions import CHOICE
from tests.servers.running import server_url

ROOT = Path(__file__).resolve().parents[2]
HISTORIES = 150


@pytest.fixture(scope="module")
def count() -> Count:
    return run(server_url(), seed=2026, histories=HISTORIES)


def test_the_engines_do_not_drift(count: Count) -> None:
    assert count.histories >= HISTORIES
    assert count.steps >= 30 * HISTORIES


def test_histories_call_every_method(count: Count) -> None:
    public = {
        f"{place}.{name}"
        for place, kind in (
            ("auth", AuthRepository),
            ("workflows", WorkflowRepository),
            ("tasks", TaskRepository),
        )
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert public == {method for method in count.methods if count.methods[method] >= 5}


def test_the_engines_do_not_drift_on_several_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make parity PARTITIONS=16` runs many on three masters."""
    monkeypatch.setenv(CHOICE, "16")
    count = run(server_url(), seed=2026, histories=12)
    assert count.methods["tasks.with_transaction"] >= 5


def test_many_histories_run_on_several_processes() -> None:
    """`make parity` itself, in small."""
    words = [sys.executable, "-m", "tests.parity", "--histories", "5", "--processes", "2", "--seed", "7"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "zero drift in 5 histories" in done.stdout
    assert "seeds 7 to 8" in " ".join(done.stdout.split())


TASK = TaskState(
    task_exec_id="t",
    task_id="t",
    workflow_exec_id="w",
    workflow_id="W",
    component=Component.TASK,
    status=Status.RUNNING,
)
HISTORY = (
    Call(
        "workflows.upsert_state",
        (WorkflowState(workflow_exec_id="w", workflow_id="W", status=Status.RUNNING),),
    ),
    Call("tasks.upsert_state", (TASK,)),
    Transaction((Call("get_state", ("t",)),), nested=False, fails=False),
    Call("workflows.get_state", ("w",)),
)


def test_a_difference_is_found_and_reported() -> None:
    """An engine that forgets tasks, or loses a time, is reported as different."""

    class Forgetful(TaskRepository):
        async def upsert_state(self, state: TaskState) -> TaskState:
            written = await super().upsert_state(state)
            await self._tasks.delete(state.task_exec_id)
            return written

    class Undated(WorkflowRepository):
        async def upsert_state(self, state: WorkflowState) -> WorkflowState:
            written = await super().upsert_state(state)
            written.updated_at = NOT_WRITTEN
            return written

    async def play(broken: str) -> str | None:
        async with empty_engine("server") as left, empty_engine("server") as right:
            if broken == "tasks":
                right.tasks = Forgetful(right.store)
            if broken == "workflows":
                right.workflows = Undated(right.store)
            return await drift(HISTORY, left, right)

    assert asyncio.run(play("nothing")) is None
    assert "get_state" in (asyncio.run(play("tasks")) or "")
    assert "upsert_state" in (asyncio.run(play("workflows")) or "")
