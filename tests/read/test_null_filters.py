"""None asks for null, and leaving an argument out asks for nothing: an accidental None never lists all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import ExecutionType, Status
from compozy_store.errors import TaskNotFoundError
from keyweave.errors import ValidationError
from tests.harness import FLAVOURS, Harness, harness, in_batches, run, task


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"null-{request.param}") as opened:
        opened.do(opened.db.workflow_states.create(run("w")))
        opened.do(opened.db.workflow_states.create(run("v", status=Status.PAUSED)))
        for row in (
            task("root", action_id="hammer", execution_type=ExecutionType.WAIT),
            task("child", "root"),
            task(
                "grandchild",
                "child",
                status=Status.PAUSED,
                action_id="saw",
                execution_type=ExecutionType.WAIT,
            ),
            task("other", workflow="v", action_id="saw", execution_type=ExecutionType.WAIT),
        ):
            opened.do(opened.db.task_states.create(row))
        yield opened


def keys(rows: Any) -> list[str]:
    return sorted(row.task_exec_id for row in rows)


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"parent_state_id": None}, ["other", "root"]),
    ({"action_id": None}, ["child"]),
    ({"parent_state_id": None, "action_id": None}, []),
    ({"workflow_exec_id": "w", "parent_state_id": None}, ["root"]),
    ({"workflow_exec_id": "w", "status": Status.RUNNING, "action_id": None}, ["child"]),
    ({"action_id": "saw", "parent_state_id": None}, ["other"]),
    ({"task_exec_id": "child", "action_id": None}, ["child"]),
    ({"task_exec_id": "root", "action_id": None}, []),
    ({}, ["child", "grandchild", "other", "root"]),
]


@pytest.mark.parametrize(("filters", "expected"), CASES, ids=str)
def test_none_asks_for_null(stores: Harness, filters: dict[str, Any], expected: list[str]) -> None:
    tasks = stores.db.task_states
    rows = tasks.where(**filters).scan()
    assert keys(stores.do(rows.page()).rows) == expected
    assert keys(stores.do(rows.list())) == expected
    assert keys(stores.do(in_batches(rows, 1))) == expected
    found: list[str] = []
    cursor = None
    while True:
        page = stores.do(rows.page(limit=1, cursor=cursor))
        found += keys(page.rows)
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(found) == expected
    if expected:
        assert stores.do(rows.first()).task_exec_id in expected
    else:
        assert stores.do(rows.first()) is None
        with pytest.raises(TaskNotFoundError):
            stores.do(rows.one())

    def steps(tx: Any) -> Any:
        yield tx.task_states.create(task("new", workflow="v"))
        return (yield tx.task_states.where(**filters).scan().list())

    matching = all(
        value is None or (name, value) == ("status", Status.RUNNING) for name, value in filters.items()
    )
    assert keys(stores.transact(steps)) == sorted([*expected, "new"] if matching else expected)


def test_the_plan_shows_that_documents_are_compared(stores: Harness) -> None:
    plan = stores.do(stores.db.task_states.where(workflow_exec_id="w", parent_state_id=None).explain())
    assert (plan.view, plan.compared) == ("by_workflow", ("parent_state_id",))
    plan = stores.do(stores.db.task_states.where(parent_state_id=None).scan().explain())
    assert (plan.view, plan.scan) == ("all", True)


def test_null_in_a_condition_on_referring_rows(stores: Harness) -> None:
    def found(**wanted: Any) -> list[str]:
        rows = stores.db.workflow_states.where().having(stores.db.task_states.where(**wanted).scan())
        return sorted(row.workflow_exec_id for row in stores.do(rows.page()))

    assert found(action_id=None) == ["w"]
    assert found(parent_state_id=None, action_id="saw") == ["v"]
    assert found(parent_state_id=None) == ["v", "w"]
    assert found() == ["v", "w"]
    everything = stores.do(stores.db.workflow_states.where().scan().order_by("revision").list())
    assert sorted(row.workflow_exec_id for row in everything) == ["v", "w"]

    def steps(tx: Any) -> Any:
        return (yield tx.workflow_states.where().scan().having(tx.task_states.where(action_id=None)).page())

    assert [row.workflow_exec_id for row in stores.transact(steps).rows] == ["w"]


@pytest.mark.parametrize("name", ["workflow_exec_id", "status", "task_exec_id"])
def test_a_field_that_is_never_null_is_not_asked_for_null(stores: Harness, name: str) -> None:
    tasks = stores.db.task_states
    filters: dict[str, Any] = {"action_id": "saw", name: None}
    calls: list[Callable[[], Any]] = [
        lambda: tasks.where(**filters).page(),
        lambda: tasks.where(**filters).list(),
        lambda: tasks.where(**filters).first(),
        lambda: tasks.where(**filters),
        lambda: tasks.where(**filters).explain(),
        lambda: tasks.with_task_states(tasks.where(**filters)).first(),
    ]
    for call in calls:
        with pytest.raises(ValidationError) as caught:
            stores.do(call())
        assert caught.value.field == name


def test_a_condition_that_is_none_is_refused(stores: Harness) -> None:
    runs = stores.db.workflow_states
    nothing: Any = None
    tasks = stores.db.task_states.where(status=nothing)
    calls: list[Callable[[], Any]] = [
        lambda: runs.where().having(tasks).page(),
        lambda: runs.where().having(tasks).list(),
        lambda: runs.where().having(tasks).first(),
        lambda: runs.where().having(tasks),
        lambda: runs.all().having(tasks).count(),
    ]
    for call in calls:
        with pytest.raises(ValidationError):
            stores.do(call())
