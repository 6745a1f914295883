"""Task states: writing, listing, children, trees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from compozy_engine import Engine, TaskFilter
from compozy_engine.errors import (
    CheckViolationError,
    ReferenceViolationError,
    TaskNotFoundError,
    ValidationError,
)
from compozy_store import Component, ExecutionType, Status, UsageEntry
from tests.contract.stories import add, contract, ids, task, workflow
from tests.servers.partitions import chosen_partitions

AGENT = {"component": Component.AGENT, "agent_id": "g", "action_id": "x"}
TOOL = {"component": Component.TOOL, "tool_id": "h"}


@contract
async def test_an_upsert_inserts_and_then_replaces_all_but_created_at(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())
    given = task("t", output={}, error=[], created_at=datetime(2000, 1, 1, tzinfo=UTC), **AGENT)
    first = await engine.tasks.upsert_state(given)
    created, updated = first.created_at, first.updated_at
    assert created is not None
    assert updated is not None
    assert created == updated
    assert created.year > 2000
    assert await engine.tasks.get_state("t") == given
    second = task("t", status=Status.RUNNING, **TOOL)
    await engine.tasks.upsert_state(second)
    found = await engine.tasks.get_state("t")
    assert found == second
    assert found.created_at == created
    assert found.updated_at is not None
    assert found.updated_at > updated
    assert (found.agent_id, found.output, found.error) == (None, None, None)


@contract
async def test_a_state_that_was_read_can_be_changed_and_written(engine: Engine) -> None:
    await add(engine, task("t", output={"n": 1}))
    for number in range(2, 4):
        state = await engine.tasks.get_state("t")
        state.output["n"] = number  # type: ignore[index]
        await engine.tasks.upsert_state(state)
    assert (await engine.tasks.get_state("t")).output == {"n": 3}


@contract
async def test_a_missing_task_is_not_found(engine: Engine) -> None:
    for lookup in (
        engine.tasks.get_state("t"),
        engine.tasks.get_usage_summary("t"),
        engine.tasks.get_child_by_task_id("t", "t"),
        engine.tasks.merge_usage("t", [UsageEntry(provider="p", model="m")]),
    ):
        with pytest.raises(TaskNotFoundError):
            await lookup
    assert await engine.tasks.list_states() == []
    assert await engine.tasks.list_children("t") == []
    assert await engine.tasks.get_task_tree("t") == []
    assert await engine.tasks.list_tasks_in_workflow("w") == {}


@contract
async def test_what_a_task_may_run_depends_on_its_execution_type(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())
    both = {**AGENT, "tool_id": "h"}
    accepted: list[Mapping[str, object]] = [
        {},
        AGENT,
        TOOL,
        {"execution_type": ExecutionType.ROUTER},
        {"execution_type": ExecutionType.WAIT, **AGENT},
        {"execution_type": ExecutionType.WAIT, **both},
        {"execution_type": ExecutionType.PARALLEL, "action_id": "x"},
        {"execution_type": ExecutionType.AGGREGATE, **TOOL},
    ]
    for number, fields in enumerate(accepted):
        await engine.tasks.upsert_state(task(f"{number}", **fields))
    refused: list[Mapping[str, object]] = [
        both,
        {"action_id": "x"},
        {"action_id": "x", **TOOL},
        {"component": Component.AGENT, "agent_id": "g"},
        {"execution_type": ExecutionType.WAIT, "component": Component.AGENT, "agent_id": "g"},
        {"execution_type": ExecutionType.ROUTER, **AGENT},
        {"execution_type": ExecutionType.ROUTER, **TOOL},
        {"execution_type": ExecutionType.ROUTER, "action_id": "x"},
        {**AGENT, "component": Component.TASK},
        {**TOOL, "component": Component.TASK},
    ]
    for fields in refused:
        with pytest.raises(CheckViolationError):
            await engine.tasks.upsert_state(task("refused", **fields))
        with pytest.raises(CheckViolationError):
            await engine.tasks.upsert_state(task("0", **fields))
    assert len(await engine.tasks.list_states()) == len(accepted)
    assert (await engine.tasks.get_state("0")).action_id is None


@contract
async def test_a_task_refers_to_what_is_there(engine: Engine) -> None:
    await add(engine, task("t"))
    for unknown in ({"workflow_exec_id": "?"}, {"parent_state_id": "?"}):
        for exec_id in ("new", "t"):
            moves = chosen_partitions() > 1 and exec_id == "t" and "workflow_exec_id" in unknown
            with pytest.raises(ValidationError if moves else ReferenceViolationError):
                await engine.tasks.upsert_state(task(exec_id, **unknown))
    assert ids(await engine.tasks.list_states()) == ["t"]
    await engine.tasks.upsert_state(task("own", parent_state_id="own"))
    assert ids(await engine.tasks.list_children("own")) == ["own"]


@contract
async def test_states_that_break_a_field_are_refused(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())
    for broken in (
        task(""),
        task("t", status="NO"),
        task("t", task_id=""),
        task("t", task_id=None),
        task("t", parent_state_id=1),
        task("t", output=float("nan")),
        task("t", output={"a": object()}),
        task("t", usage=[UsageEntry(provider=" ", model="m")]),
        task("t", usage=[UsageEntry(provider="p", model="m", prompt_tokens=-1)]),
        task("t", usage=[UsageEntry(provider="p", model="m", reasoning_tokens=-1)]),
    ):
        with pytest.raises(ValidationError):
            await engine.tasks.upsert_state(broken)
    assert await engine.tasks.list_states() == []


@contract
async def test_tasks_are_listed_newest_first(engine: Engine) -> None:
    await add(engine, task("b"), task("a"), task("c"), task("b", output=1))
    assert ids(await engine.tasks.list_states()) == ["c", "a", "b"]
    assert ids(await engine.tasks.list_states(TaskFilter())) == ["c", "a", "b"]


@contract
async def test_filters_combine(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow("x"))
    await add(
        engine,
        task("a", task_id="t", status=Status.RUNNING, **AGENT),
        task("b", task_id="t", status=Status.RUNNING, execution_type=ExecutionType.WAIT, **AGENT),
        task("c", task_id="t", parent_state_id="a", **TOOL),
        task("d", task_id="u", parent_state_id="a", status=Status.RUNNING),
        task("e", task_id="t", workflow_exec_id="x", workflow_id="X", status=Status.RUNNING),
    )
    for wanted, expected in (
        ({"status": Status.RUNNING}, "edba"),
        ({"workflow_id": "W"}, "dcba"),
        ({"workflow_exec_id": "x"}, "e"),
        ({"task_id": "t"}, "ecba"),
        ({"task_exec_id": "c"}, "c"),
        ({"task_exec_id": "c", "task_id": "u"}, ""),
        ({"parent_state_id": "a"}, "dc"),
        ({"agent_id": "g"}, "ba"),
        ({"action_id": "x"}, "ba"),
        ({"tool_id": "h"}, "c"),
        ({"execution_type": ExecutionType.WAIT}, "b"),
        ({"execution_type": ExecutionType.BASIC}, "edca"),
        ({"execution_type": ExecutionType.BASIC, "workflow_id": "X"}, "e"),
        ({"execution_type": ExecutionType.BASIC, "agent_id": "g"}, "a"),
        ({"status": Status.RUNNING, "task_id": "t", "workflow_exec_id": "w"}, "ba"),
        ({"status": Status.RUNNING, "parent_state_id": "a"}, "d"),
        ({"task_id": "?"}, ""),
        ({"status": Status.FAILED}, ""),
    ):
        assert ids(await engine.tasks.list_states(TaskFilter(**wanted))) == list(expected), wanted


@contract
async def test_the_short_lists_of_an_execution(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow("x"))
    await add(
        engine,
        task("a", status=Status.RUNNING, **AGENT),
        task("b", status=Status.RUNNING, **TOOL),
        task("c", status=Status.FAILED, **AGENT),
        task("d", workflow_exec_id="x", status=Status.RUNNING, **AGENT),
        task("e", workflow_exec_id="x", status=Status.RUNNING, **TOOL),
    )
    assert ids(await engine.tasks.list_tasks_by_status("w", Status.RUNNING)) == ["b", "a"]
    assert ids(await engine.tasks.list_tasks_by_agent("w", "g")) == ["c", "a"]
    assert ids(await engine.tasks.list_tasks_by_tool("w", "h")) == ["b"]
    assert await engine.tasks.list_tasks_by_tool("?", "h") == []
    assert sorted(await engine.tasks.list_tasks_in_workflow("w")) == ["a", "b", "c"]


@contract
async def test_a_write_moves_a_task_between_lists(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow("x"))
    await add(engine, task("p"), task("q"), task("t", parent_state_id="p", **AGENT))
    moved = task("t", parent_state_id="q", workflow_exec_id="x", status=Status.FAILED, **TOOL)
    if chosen_partitions() > 1:
        with pytest.raises(ValidationError, match="workflow_exec_id decides the partition of a row"):
            await engine.tasks.upsert_state(moved)
        assert ids(await engine.tasks.list_children("p")) == ["t"]
        return
    await engine.tasks.upsert_state(moved)
    assert await engine.tasks.list_children("p") == []
    assert await engine.tasks.list_tasks_by_agent("w", "g") == []
    assert ids(await engine.tasks.list_children("q")) == ["t"]
    assert ids(await engine.tasks.list_tasks_by_tool("x", "h")) == ["t"]
    assert ids(await engine.tasks.list_tasks_by_status("x", Status.FAILED)) == ["t"]
    assert sorted(await engine.tasks.list_tasks_in_workflow("w")) == ["p", "q"]


@contract
async def test_children_are_ordered_by_task_id(engine: Engine) -> None:
    await add(
        engine,
        task("p"),
        task("1", task_id="b", parent_state_id="p", output={"n": 1}),
        task("2", task_id="a", parent_state_id="p"),
        task("3", task_id="b", parent_state_id="p", output=[]),
        task("4", task_id="B", parent_state_id="p", output=0),
        task("5", task_id="é", parent_state_id="p", output={}),
        task("6", task_id="deep", parent_state_id="1"),
    )
    assert ids(await engine.tasks.list_children("p")) == ["4", "2", "1", "3", "5"]
    newest = await engine.tasks.get_child_by_task_id("p", "b")
    assert (newest.task_exec_id, newest.output) == ("3", [])
    with pytest.raises(TaskNotFoundError):
        await engine.tasks.get_child_by_task_id("p", "deep")


@contract
async def test_outputs_of_children_omit_null_only(engine: Engine) -> None:
    await add(
        engine,
        task("p"),
        task("1", task_id="a", parent_state_id="p", output={}),
        task("2", task_id="b", parent_state_id="p", output=None),
        task("3", task_id="c", parent_state_id="p", output=[]),
        task("4", task_id="d", parent_state_id="p", output=False),
        task("5", task_id="e", parent_state_id="p", output=1),
        task("6", task_id="e", parent_state_id="p", output=2),
        task("7", task_id="e", parent_state_id="p", output=None),
    )
    outputs = await engine.tasks.list_children_outputs("p")
    assert outputs == {"a": {}, "c": [], "d": False, "e": 2}
    assert await engine.tasks.list_children_outputs("?") == {}


@contract
async def test_a_tree_is_ordered_by_depth_and_then_by_age(engine: Engine) -> None:
    await add(
        engine,
        *(
            task(id_, parent_state_id=parent)
            for id_, parent in (("r", None), ("b", "r"), ("a", "r"), ("d", "a"), ("c", "b"), ("e", "d"))
        ),
    )
    assert ids(await engine.tasks.get_task_tree("r")) == ["r", "b", "a", "d", "c", "e"]
    assert ids(await engine.tasks.get_task_tree("a")) == ["a", "d", "e"]
    assert ids(await engine.tasks.get_task_tree("r", 1)) == ["r", "b", "a"]
    assert ids(await engine.tasks.get_task_tree("r", max_depth=0)) == ["r"]
    await engine.tasks.upsert_state(task("r", parent_state_id="e"))
    assert ids(await engine.tasks.get_task_tree("r")) == ["r", "b", "a", "d", "c", "e"]


@contract
async def test_a_deep_tree_is_complete(engine: Engine) -> None:
    await add(engine, *(task(f"{n}", parent_state_id=f"{n - 1}" if n else None) for n in range(120)))
    assert ids(await engine.tasks.get_task_tree("0")) == [f"{n}" for n in range(101)]
    assert len(await engine.tasks.get_task_tree("0", 500)) == 120
    assert len((await engine.workflows.get_state("w")).tasks) == 120
