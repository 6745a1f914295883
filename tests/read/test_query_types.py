"""Filters, predicates and views are checked by type checkers: what would be refused at run time is a type error before."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from collections.abc import Iterator
from datetime import UTC, datetime

from compozy_store import Status, TaskState, WorkflowState, aio, sync
from keyweave import Page
from keyweave.query import at_least, between, contains, is_not, one_of, starts_with


def right(store: sync.Store) -> Iterator[TaskState]:
    tasks = store.task_states
    page: Page[TaskState] = tasks.where(
        status=one_of(Status.RUNNING, Status.PAUSED), task_id=starts_with("a"), created_at=at_least(datetime.now(UTC))
    ).page()
    first: TaskState | None = (tasks.by_status(Status.RUNNING) | tasks.all()).reverse().first()
    counts: dict[Status, int] = tasks.by_status().group_counts()
    tasks.where(agent_id=is_not(None), tool_id=None, action_id=between("a", "b")).having(tasks.all()).count()
    pair: tuple[WorkflowState, list[TaskState]] | None = store.workflow_states.with_task_states(
        store.workflow_states.by_status(Status.RUNNING)
    ).first()
    print(page, first, counts, pair)
    yield from tasks.all()


async def waiting(store: aio.Store) -> list[TaskState]:
    first: TaskState | None = await store.task_states.where(task_id="t").first()
    return [first] if first is not None else [row async for row in store.task_states.all()]


def wrong(store: sync.Store) -> None:
    tasks = store.task_states
    tasks.where(shoe_size=1)  # wrong
    tasks.where(task_id=5)  # wrong
    tasks.where(task_id=None)  # wrong
    tasks.where(task_id=is_not(None))  # wrong
    tasks.where(task_id=between(1, 2))  # wrong
    tasks.where(task_id=contains("t"))  # wrong
    tasks.where(status="RUNNING")  # wrong
    tasks.where(status=one_of("RUNNING", "PAUSED"))  # wrong
    tasks.where(status=starts_with("R"))  # wrong
    tasks.where(created_at=at_least(5))  # wrong
    tasks.by_status("RUNNING")  # wrong
    tasks.by_status().page()  # wrong
    tasks.all() | store.users.all()  # wrong
    store.workflow_states.with_task_states(tasks.all())  # wrong
"""


def test_a_type_checker_finds_what_would_be_refused(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(r"program.py:(\d+): error", done.stdout)}
    expected = {number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")}
    assert found == expected, done.stdout
