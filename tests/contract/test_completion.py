"""complete_workflow: atomic, idempotent, by the outcomes of top-level tasks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from compozy_engine import Engine
from compozy_engine.errors import ConflictError, WorkflowNotReadyError
from compozy_engine.workflows import Workflow
from compozy_store import ExecutionType, Status
from tests.contract.stories import add, contract, task, workflow

PENDING, RUNNING, SUCCESS, FAILED = Status.PENDING, Status.RUNNING, Status.SUCCESS, Status.FAILED


@contract
async def test_every_outcome_follows_from_top_level_tasks(engine: Engine) -> None:
    for number, (statuses, expected) in enumerate(
        (
            ((), SUCCESS),
            ((SUCCESS, SUCCESS), SUCCESS),
            ((SUCCESS, FAILED), FAILED),
            ((FAILED, RUNNING), None),
            ((SUCCESS, PENDING), None),
            ((Status.WAITING, Status.PAUSED), SUCCESS),
            ((Status.CANCELED, Status.TIMED_OUT), SUCCESS),
            ((Status.TIMED_OUT, FAILED), FAILED),
        )
    ):
        exec_id = f"w{number}"
        await engine.workflows.upsert_state(workflow(exec_id))
        for place, status in enumerate(statuses):
            await engine.tasks.upsert_state(
                task(f"{exec_id}.{place}", workflow_exec_id=exec_id, status=status)
            )
        before = await engine.workflows.get_state(exec_id)
        if expected is None:
            with pytest.raises(WorkflowNotReadyError):
                await engine.workflows.complete_workflow(exec_id)
            assert await engine.workflows.get_state(exec_id) == before
        else:
            assert (await engine.workflows.complete_workflow(exec_id)).status is expected
            assert (await engine.workflows.get_state(exec_id)).status is expected


@contract
async def test_the_output_holds_every_task(engine: Engine) -> None:
    await add(
        engine,
        task("p", execution_type=ExecutionType.PARALLEL, output=[1]),
        task("c", parent_state_id="p", status=RUNNING),
        task("q", status=PENDING),
    )
    with pytest.raises(WorkflowNotReadyError):
        await engine.workflows.complete_workflow("w")
    await engine.tasks.upsert_state(task("q"))
    done = await engine.workflows.complete_workflow("w")
    assert done.status is SUCCESS
    assert done.output == {
        "p": {"output": [1], "execution_type": "parallel"},
        "c": {"output": None, "parent_state_id": "p"},
        "q": {"output": None},
    }
    assert sorted(done.tasks) == ["c", "p", "q"]
    assert await engine.workflows.get_state("w") == done


@contract
async def test_a_task_that_ran_again_counts_by_its_newest_run(engine: Engine) -> None:
    await add(
        engine,
        task("1", task_id="t", status=FAILED, output=1),
        task("2", task_id="t", status=SUCCESS, output=2),
        task("3", task_id="u", status=RUNNING),
        task("4", task_id="u", status=SUCCESS),
    )
    done = await engine.workflows.complete_workflow("w")
    assert (done.status, done.output) == (SUCCESS, {"t": {"output": 2}, "u": {"output": None}})


@contract
async def test_a_child_does_not_hide_a_top_level_task_of_the_same_name(engine: Engine) -> None:
    await add(engine, task("1", task_id="t", status=RUNNING), task("2", task_id="t", parent_state_id="1"))
    with pytest.raises(WorkflowNotReadyError):
        await engine.workflows.complete_workflow("w")
    await engine.tasks.upsert_state(task("1", task_id="t", status=FAILED))
    done = await engine.workflows.complete_workflow("w")
    assert (done.status, done.output) == (FAILED, {"t": {"output": None, "parent_state_id": "1"}})


@contract
async def test_a_second_completion_changes_nothing(engine: Engine) -> None:
    await add(engine, task("q"))
    done = await engine.workflows.complete_workflow("w")
    await engine.tasks.upsert_state(task("q", status=FAILED))
    again = await engine.workflows.complete_workflow("w", lambda _: {"never": "called"})
    assert (again.status, again.output, again.updated_at) == (done.status, done.output, done.updated_at)
    await engine.workflows.upsert_state(workflow("x", status=FAILED, output={"kept": True}))
    kept = await engine.workflows.complete_workflow("x")
    assert (kept.status, kept.output) == (FAILED, {"kept": True})


@contract
async def test_other_ended_executions_are_completed(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow(status=Status.CANCELED))
    assert (await engine.workflows.complete_workflow("w")).status is SUCCESS


@contract
async def test_a_transformer_makes_the_output(engine: Engine) -> None:
    async def slow(seen: Workflow) -> object:
        await asyncio.sleep(0)
        return [seen.workflow_exec_id, seen.tasks["t"].output]

    async def none(seen: Workflow) -> None:
        assert seen.status is not PENDING

    for exec_id, transformer, expected in (
        ("a", lambda seen: {"first": seen.tasks["t"].output}, {"first": {"n": 1}}),
        ("b", slow, ["b", {"n": 1}]),
        ("c", none, {}),
        ("d", lambda _: None, {}),
        ("e", lambda _: [], []),
        ("f", lambda _: "", ""),
    ):
        await engine.workflows.upsert_state(workflow(exec_id, error={"old": True}))
        await engine.tasks.upsert_state(task(exec_id, task_id="t", workflow_exec_id=exec_id, output={"n": 1}))
        done = await engine.workflows.complete_workflow(exec_id, transformer)
        assert (done.status, done.output) == (SUCCESS, expected)
        assert (await engine.workflows.get_state(exec_id)).output == expected


@contract
async def test_a_transformer_that_raises_fails_the_workflow(engine: Engine) -> None:
    async def late(_: Workflow) -> object:
        await asyncio.sleep(0)
        raise ValueError("too late")

    for exec_id, transformer, message in (
        ("a", lambda seen: seen.tasks["?"], "'?'"),
        ("b", late, "too late"),
    ):
        await engine.workflows.upsert_state(workflow(exec_id))
        await engine.tasks.upsert_state(task(exec_id, task_id="t", workflow_exec_id=exec_id))
        done = await engine.workflows.complete_workflow(exec_id, transformer)
        assert (done.status, done.output) == (FAILED, {"t": {"output": None}})
        assert done.error == {"message": message, "code": "OUTPUT_TRANSFORMATION_FAILED"}
        found = await engine.workflows.get_state(exec_id)
        assert (found.status, found.error) == (FAILED, done.error)


@contract
async def test_of_concurrent_completions_one_writes(engine: Engine) -> None:
    await add(engine, task("t", output={"n": 1}))

    def sign(_: Workflow, caller: int) -> object:
        return {"by": caller}

    callers = [partial(sign, caller=caller) for caller in range(10)]
    done = await asyncio.gather(*(engine.workflows.complete_workflow("w", caller) for caller in callers))
    stored = await engine.workflows.get_state("w")
    assert stored.output in [{"by": caller} for caller in range(10)]
    assert all(each == stored for each in done)


def test_not_ready_is_a_conflict() -> None:
    assert issubclass(WorkflowNotReadyError, ConflictError)
