"""Workflow executions: writing, reading and listing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from compozy_engine import Engine, WorkflowFilter
from compozy_engine.errors import ReferenceViolationError, ValidationError, WorkflowNotFoundError
from compozy_engine.workflows import Workflow
from compozy_store import Component, Status, UsageEntry
from tests.contract.stories import add, contract, ids, task, workflow
from tests.servers.partitions import chosen_partitions


@contract
async def test_an_upsert_inserts_and_then_replaces_all_but_created_at(engine: Engine) -> None:
    given = workflow(output={}, input={"a": 1}, usage=[], created_at=datetime(2000, 1, 1, tzinfo=UTC))
    first = await engine.workflows.upsert_state(given)
    assert first is given
    created, updated = first.created_at, first.updated_at
    assert created is not None
    assert updated is not None
    assert created == updated
    assert created.year > 2000
    second = workflow(status=Status.PAUSED, created_at=datetime(2000, 1, 1, tzinfo=UTC))
    await engine.workflows.upsert_state(second)
    found = await engine.workflows.get_state("w")
    assert found == Workflow.of(second, {})
    assert found.created_at == created
    assert found.updated_at is not None
    assert found.updated_at > updated
    assert (found.status, found.input, found.output, found.usage) == (Status.PAUSED, None, None, None)


@contract
async def test_a_workflow_that_was_read_can_be_written(engine: Engine) -> None:
    await add(engine, task("t"))
    found = await engine.workflows.get_state("w")
    found.status = Status.WAITING
    written = await engine.workflows.upsert_state(found)
    assert written is found
    again = await engine.workflows.get_state("w")
    assert again == found
    assert list(again.tasks) == ["t"]


@contract
async def test_a_status_changes_and_nothing_else(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow(output={"a": []}, usage=[]))
    before = await engine.workflows.get_state("w")
    await engine.workflows.update_status("w", Status.CANCELED)
    after = await engine.workflows.get_state("w")
    assert after.status is Status.CANCELED
    assert (after.output, after.usage, after.created_at) == ({"a": []}, [], before.created_at)
    assert after.updated_at > before.updated_at  # type: ignore[operator]
    with pytest.raises(WorkflowNotFoundError):
        await engine.workflows.update_status("x", Status.CANCELED)
    with pytest.raises(ValidationError):
        await engine.workflows.update_status("w", "DONE")  # type: ignore[arg-type]


@contract
async def test_a_missing_execution_is_not_found(engine: Engine) -> None:
    for lookup in (
        engine.workflows.get_state("w"),
        engine.workflows.get_state_by_id("W"),
        engine.workflows.get_state_by_task_id("W", "t"),
        engine.workflows.complete_workflow("w"),
        engine.workflows.merge_usage("w", [UsageEntry(provider="p", model="m")]),
    ):
        with pytest.raises(WorkflowNotFoundError):
            await lookup
    assert await engine.workflows.list_states() == []


@contract
async def test_a_workflow_has_the_newest_run_of_each_task_at_every_depth(engine: Engine) -> None:
    await add(
        engine,
        task("1", task_id="top"),
        task("2", task_id="child", parent_state_id="1"),
        task("3", task_id="leaf", parent_state_id="2"),
        task("4", task_id="top"),
        task("1", task_id="top"),
    )
    found = await engine.workflows.get_state("w")
    assert {name: state.task_exec_id for name, state in found.tasks.items()} == {
        "top": "4",
        "child": "2",
        "leaf": "3",
    }
    assert found.tasks["leaf"] == await engine.tasks.get_state("3")
    assert await engine.tasks.list_tasks_in_workflow("w") == found.tasks
    assert await engine.workflows.list_states() == [found]


@contract
async def test_a_workflow_shows_the_status_that_follows_from_its_top_level_tasks(engine: Engine) -> None:
    await add(engine, task("p"), task("c", parent_state_id="p"), task("a"), task("b", parent_state_id="a"))
    await engine.tasks.upsert_state(task("a", parent_state_id="b"))
    await engine.workflows.upsert_state(workflow("x"))
    below = task("d", workflow_exec_id="x", parent_state_id="p")
    if chosen_partitions() > 1:
        with pytest.raises(ReferenceViolationError):
            await engine.tasks.upsert_state(below)
    else:
        await engine.tasks.upsert_state(below)
    assert sorted((await engine.workflows.get_state("w")).tasks) == ["c", "p"]
    assert (await engine.workflows.get_state("x")).tasks == {}
    assert sorted(await engine.tasks.list_tasks_in_workflow("w")) == ["a", "b", "c", "p"]


@contract
async def test_executions_are_listed_by_their_latest_change(engine: Engine) -> None:
    for exec_id in ("w", "x", "y"):
        await engine.workflows.upsert_state(workflow(exec_id))
    await engine.workflows.update_status("w", Status.FAILED)
    assert ids(await engine.workflows.list_states()) == ["w", "y", "x"]
    await engine.workflows.merge_usage("x", [UsageEntry(provider="p", model="m")])
    assert ids(await engine.workflows.list_states(WorkflowFilter())) == ["x", "w", "y"]
    await engine.workflows.merge_usage("w", [])
    assert ids(await engine.workflows.list_states()) == ["x", "w", "y"]


@contract
async def test_filters_combine(engine: Engine) -> None:
    for exec_id, name, status in (
        ("a", "W", Status.RUNNING),
        ("b", "W", Status.FAILED),
        ("c", "V", Status.RUNNING),
        ("d", "W", Status.RUNNING),
    ):
        await engine.workflows.upsert_state(workflow(exec_id, workflow_id=name, status=status))
    for wanted, expected in (
        (WorkflowFilter(status=Status.RUNNING), ["d", "c", "a"]),
        (WorkflowFilter(workflow_id="W"), ["d", "b", "a"]),
        (WorkflowFilter(workflow_id="W", status=Status.RUNNING), ["d", "a"]),
        (WorkflowFilter(workflow_exec_id="a", status=Status.RUNNING), ["a"]),
        (WorkflowFilter(workflow_exec_id="a", workflow_id="V"), []),
        (WorkflowFilter(workflow_exec_id="?"), []),
        (WorkflowFilter(workflow_id="?"), []),
        (WorkflowFilter(status=Status.PAUSED), []),
    ):
        assert ids(await engine.workflows.list_states(wanted)) == expected


@contract
async def test_long_lists_are_complete(engine: Engine) -> None:
    for number in range(230):
        await engine.workflows.upsert_state(workflow(f"{number}"))
    assert ids(await engine.workflows.list_states()) == [f"{number}" for number in reversed(range(230))]
    rows = [task(f"{number}", task_id=f"t{number}") for number in range(230)]
    await add(engine, *rows)
    assert len((await engine.workflows.get_state("w")).tasks) == 230
    assert ids(await engine.tasks.list_states()) == [f"{number}" for number in reversed(range(230))]


@contract
async def test_the_newest_execution_of_a_workflow_is_found(engine: Engine) -> None:
    for exec_id in ("a", "b", "c"):
        await engine.workflows.upsert_state(workflow(exec_id))
    await engine.workflows.update_status("a", Status.PAUSED)
    assert (await engine.workflows.get_state_by_id("W")).workflow_exec_id == "c"


@contract
async def test_the_newest_execution_that_has_such_a_task_is_found(engine: Engine) -> None:
    for exec_id in ("a", "b", "c"):
        await engine.workflows.upsert_state(workflow(exec_id))
    agent = {"component": Component.AGENT, "agent_id": "g", "action_id": "x"}
    tool = {"component": Component.TOOL, "tool_id": "h"}
    for id_, exec_id, fields in (
        ("1", "a", {"task_id": "t", **agent}),
        ("2", "b", {"task_id": "t", **tool}),
        ("3", "a", {"task_id": "u"}),
        ("4", "c", {"task_id": "v", "workflow_id": "V"}),
    ):
        await engine.tasks.upsert_state(task(id_, workflow_exec_id=exec_id, **fields))
    assert (await engine.workflows.get_state_by_task_id("W", "t")).workflow_exec_id == "b"
    found = await engine.workflows.get_state_by_agent_id("W", "g")
    assert (found.workflow_exec_id, sorted(found.tasks)) == ("a", ["t", "u"])
    assert (await engine.workflows.get_state_by_tool_id("W", "h")).workflow_exec_id == "b"
    for lookup in (
        engine.workflows.get_state_by_task_id("W", "?"),
        engine.workflows.get_state_by_task_id("V", "t"),
        engine.workflows.get_state_by_agent_id("W", "h"),
        engine.workflows.get_state_by_tool_id("W", "g"),
    ):
        with pytest.raises(WorkflowNotFoundError):
            await lookup
    await engine.tasks.upsert_state(task("2", workflow_exec_id="b", task_id="other"))
    assert (await engine.workflows.get_state_by_task_id("W", "t")).workflow_exec_id == "a"
