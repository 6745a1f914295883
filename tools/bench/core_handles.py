"""Handles against a page of 50 of a view, interleaved: with a range, of four values, of a partial view, and making a handle."""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compozy_store import Status, TaskState, WorkflowState, sync
from keyweave.query import at_least, one_of
from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render

PAGE_ROUNDS = 600
MADE = 20_000
FOUR = (Status.RUNNING, Status.PENDING, Status.WAITING, Status.PAUSED)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Row = tuple[str, str, str, str]

PARTIAL = {
    "package.yaml": """\
package: partial_store
namespace: {app: partial, version: v1, environment: bench, tenant: default}
groups: {jobs: {}}
enums:
  State: {values: [open, closed]}
""",
    "job.yaml": """\
entity: Job
group: jobs
key: id
fields:
  id: {type: id}
  run: {type: string}
  state: {type: State}
  text: {type: string}
views:
  by_run: {fields: [run], order: created, why: All jobs of a run.}
  open_by_run: {fields: [run], order: created, where: state == 'open', why: Its open jobs.}
""",
}


def handles(compare: Callable[..., Row], task: Callable[..., TaskState], namespace: str) -> list[Row]:
    """The lines of a page with a range, of four lists, of a partial view, and of making a handle."""
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
                1.1,
                lambda: filters.page(50),
                plain,
                PAGE_ROUNDS,
            ),
            compare(
                "page of 50 of four lists, of a view's", 2.0, lambda: several.page(50), plain, PAGE_ROUNDS
            ),
        ]
        lines.append(_made("making the handle of a view", lambda: tasks.by_status(Status.RUNNING)))
    return [*lines, *partial(compare, namespace)]


def partial(compare: Callable[..., Row], namespace: str) -> list[Row]:
    """The lines of a partial view: asked by its name, and found by filters that imply its condition."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), render(load_sources(PARTIAL)))
        sys.path.insert(0, folder)
        try:
            package = importlib.import_module("partial_store")
            opened = importlib.import_module("partial_store.sync").Store.open
        finally:
            sys.path.remove(folder)
    with opened("embedded:", namespace=namespace) as store:
        text, states = "x" * 560, (package.State.OPEN, package.State.CLOSED)
        rows = [package.Job(id=f"j{n:03}", run="run", state=states[n % 2], text=text) for n in range(240)]
        assert store.jobs.create_many(rows) == rows
        whole = store.jobs.by_run("run")
        named = store.jobs.open_by_run("run")
        found = store.jobs.where(run="run", state=package.State.OPEN)
        assert "open_by_run" in str(found.explain())
        for handle in (whole, named, found):
            assert len(handle.page(50)) == 50

        def plain() -> object:
            return whole.page(50)

        return [
            compare(
                "page of 50 of a partial view, of a view's", 1.1, lambda: named.page(50), plain, PAGE_ROUNDS
            ),
            compare(
                "page of 50 of filters with a partial view, of a view's",
                1.1,
                lambda: found.page(50),
                plain,
                PAGE_ROUNDS,
            ),
        ]


def _made(name: str, make: Callable[[], Any]) -> Row:
    started = time.perf_counter_ns()
    for _ in range(MADE):
        make()
    micros = (time.perf_counter_ns() - started) / 1000 / MADE
    return name, f"{micros:.2f} µs", "", f"{'met' if micros < 2 else 'MISSED'} (< 2 µs)"
