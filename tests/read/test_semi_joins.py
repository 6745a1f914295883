"""Semi-joins: one round trip and several find the same, also with dead rows and missing documents."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from compozy_store import Status, TaskState
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from keyweave.read import probe as probe_flows
from keyweave.read import query_page
from keyweave.read.query import Having, where_query
from keyweave.store.script import Script
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    directed,
    harness,
    in_batches,
    run,
    task,
    watched,
)
from tests.scripted import declare_keys


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Executions with up to three tasks each; FAILED ones are past their deadline, and some documents are missing."""
    chance = random.Random(31)
    retention = {"TaskState": AT_ONCE, "WorkflowState": AT_ONCE}
    with harness(request.param, request.node.name, retention=retention) as opened:
        partition = opened.db.session.context.partition(WORKFLOW_STATE)
        runs = [f"w{number}:%" for number in range(40)]
        tasks: list[TaskState] = []
        for key in runs:
            opened.do(opened.db.workflow_states.create(run(key)))
            for _ in range(chance.randrange(4)):
                status = chance.choice((Status.RUNNING, Status.PENDING, Status.FAILED))
                tasks.append(task(f"t{len(tasks)}", workflow=key, name=chance.choice("abc"), status=status))
        add_tasks(opened, tasks)
        for key in runs[::9]:
            opened.do(
                opened.db.workflow_states.change(key, lambda row: setattr(row, "status", Status.FAILED))
            )
        for row in tasks[::8]:
            opened.send(("DEL", partition.document("TaskState", row.task_exec_id)))
        opened.send(("DEL", partition.document("WorkflowState", runs[5])))
        yield opened


def found(stores: Harness, task_filter: dict[str, Any], *, batch: int, newest: bool) -> list[str]:
    rows = in_batches(
        directed(
            stores.db.workflow_states.where(workflow_id="f")
            .having(stores.db.task_states.where(**task_filter))
            .order_by("created"),
            newest=newest,
        ),
        batch,
    )
    return [row.workflow_exec_id for row in stores.do(rows)]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_a_semi_join_without_filters_reads_the_view_of_all_rows(
    stores: Harness, batch: int, newest: bool
) -> None:
    """Every execution is of one workflow, so the rows are those that the filter by the workflow gives."""
    asked = stores.db.workflow_states.where().having(stores.db.task_states.where(status=Status.RUNNING))
    views = str(stores.do(asked.explain()))
    assert "all" in views and "by_workflow" not in views
    rows = stores.do(in_batches(directed(asked, newest=newest), batch))
    expected = found(stores, {"status": Status.RUNNING}, batch=200, newest=newest)
    assert expected
    assert [row.workflow_exec_id for row in rows] == expected


def test_a_semi_join_without_filters_sees_the_writes_of_its_transaction(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, list[str]]:
        yield tx.workflow_states.create(run("added"))
        yield tx.task_states.create(task("one", workflow="added", name="new"))
        yield tx.task_states.create(task("two", workflow="w1:%", name="new"))
        rows = yield tx.workflow_states.where().having(tx.task_states.where(task_id="new")).list()
        return [row.workflow_exec_id for row in rows]

    assert stores.transact(steps) == ["added", "w1:%"]
    asked = stores.db.workflow_states.where().having(stores.db.task_states.where(task_id="new"))
    assert [row.workflow_exec_id for row in stores.do(asked.list())] == ["added", "w1:%"]


@pytest.mark.parametrize("scan", [3, 500])
def test_one_round_trip_finds_what_plain_commands_find(
    stores: Harness, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_flows, "SCAN_LIMIT", scan)
    conditions: list[dict[str, Any]] = [
        {"task_id": "a"},
        {"task_id": "b", "status": Status.PENDING},
        {"task_id": "nothing"},
        {},
        {"status": Status.FAILED},
        {"workflow_exec_id": "w3:%"},
    ]
    calls = [
        (filters, batch, newest) for filters in conditions for batch, newest in ((1, True), (200, False))
    ]
    quick = [found(stores, filters, batch=batch, newest=newest) for filters, batch, newest in calls]
    declare_keys(stores.db.session.context)
    plain = [found(stores, filters, batch=batch, newest=newest) for filters, batch, newest in calls]
    assert quick == plain
    assert quick[0] == quick[1][::-1] != []
    assert quick[4] == quick[8] == []


def test_the_newest_row_with_a_referring_row_is_one_round_trip(stores: Harness) -> None:
    found(stores, {"task_id": "a"}, batch=1, newest=True)  # the server knows the script from here on
    trips: list[int] = []
    condition = Having(where_query(TASK_STATE, {"task_id": "a"}))
    query = where_query(WORKFLOW_STATE, {"workflow_id": "f"}).where_having(condition)
    flow = query_page.page(stores.db.session.context, query, 1, None)
    page = stores.do(stores.db.session.run(watched(stores, flow, lambda number, _: trips.append(number))))
    assert len(page.rows) == 1
    assert trips == [1]


def test_a_proof_beyond_the_search_limit_is_found_by_plain_commands(stores: Harness) -> None:
    scripts = stores.db.session.context.scripts
    text = scripts["having"].text
    assert "LONGEST_SEARCH = 64, 4096" in text
    scripts["having"] = Script("having", text.replace("LONGEST_SEARCH = 64, 4096", "LONGEST_SEARCH = 1, 1"))
    stores.do(stores.db.workflow_states.create(run("wide")))
    rows = [task(f"wide {number}", workflow="wide", name="w") for number in range(3)]
    add_tasks(stores, rows)
    partition = stores.db.session.context.partition(WORKFLOW_STATE)
    for row in rows[1:]:
        stores.send(("DEL", partition.document("TaskState", row.task_exec_id)))
    assert found(stores, {"task_id": "w"}, batch=5, newest=True) == ["wide"]


def test_a_large_family_is_searched_for_a_live_row(stores: Harness) -> None:
    stores.do(stores.db.workflow_states.create(run("wide")))
    rows = [task(f"wide {number}", workflow="wide", name="w") for number in range(150)]
    add_tasks(stores, rows)
    partition = stores.db.session.context.partition(WORKFLOW_STATE)
    for row in rows[1:]:
        stores.send(("DEL", partition.document("TaskState", row.task_exec_id)))
    assert found(stores, {"task_id": "w"}, batch=5, newest=True) == ["wide"]
    stores.send(("DEL", partition.document("TaskState", "wide 0")))
    assert found(stores, {"task_id": "w"}, batch=5, newest=True) == []
