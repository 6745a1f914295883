"""Handles against a page of 50 of a view, interleaved: a page with a range, one of four values, and making a handle."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from compozy_store import Status, TaskState, WorkflowState, sync
from keyweave.query import at_least, one_of

PAGE_ROUNDS = 600
MADE = 20_000
FOUR = (Status.RUNNING, Status.PENDING, Status.WAITING, Status.PAUSED)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Row = tuple[str, str, str, str]


def handles(compare: Callable[..., Row], task: Callable[..., TaskState], namespace: str) -> list[Row]:
    """The lines of a page with a range, of four lists, and of making a handle."""
    with sync.Store.open("embedded:", namespace=namespace) as store:
        store.workflow_states.create(
            WorkflowState(workflow_exec_id="run", workflow_id="report", status=Status.RUNNING)
        )
        for number in range(240):
            record = task(f"t{number:03}", "run", number)
            record.status = FOUR[number % 4]
            store.task_states.create(record)
        tasks = store.task_states
        views = tasks.by_workflow("run")
        ranges = tasks.by_workflow("run").between(LONG_AGO, None)
        filters = tasks.where(workflow_exec_id="run", created_at=at_least(LONG_AGO))
        several = tasks.where(status=one_of(*FOUR))

        def plain() -> object:
            return views.page(50)

        for rows in (views, ranges, filters, several):
            assert len(rows.page(50)) == 50
        lines = [
            compare("page of 50 with a range, of a view's", 1.1, lambda: ranges.page(50), plain, PAGE_ROUNDS),
            compare(
                "page of 50 with a range of a filter, of a view's",
                1.3,
                lambda: filters.page(50),
                plain,
                PAGE_ROUNDS,
            ),
            compare(
                "page of 50 of four lists, of a view's", 2.0, lambda: several.page(50), plain, PAGE_ROUNDS
            ),
        ]
        return [*lines, _made("making the handle of a view", lambda: tasks.by_status(Status.RUNNING))]


def _made(name: str, make: Callable[[], Any]) -> Row:
    started = time.perf_counter_ns()
    for _ in range(MADE):
        make()
    micros = (time.perf_counter_ns() - started) / 1000 / MADE
    return name, f"{micros:.2f} µs", "", f"{'met' if micros < 2 else 'MISSED'} (< 2 µs)"
