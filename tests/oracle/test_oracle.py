"""The oracle keeps the contract; this is tested before Keyweave is compared with it."""

# ruff: noqa: A001 - records have a field named id
from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from compozy_engine.errors import (
    AlreadyBootstrappedError,
    AlreadyExistsError,
    APIKeyExistsError,
    APIKeyNotFoundError,
    CheckViolationError,
    EmailExistsError,
    ReferenceViolationError,
    StoreUnavailableError,
    TaskNotFoundError,
    TransactionRequiredError,
    UserNotFoundError,
    ValidationError,
    WorkflowNotFoundError,
    WorkflowNotReadyError,
)
from compozy_engine.filters import TaskFilter, WorkflowFilter
from compozy_engine.progress import ParallelStrategy
from compozy_engine.workflows import Workflow
from compozy_store import (
    Component,
    ExecutionType,
    Role,
    Status,
    UsageEntry,
)
from tests.oracle.engine import PostgresEngine
from tests.oracle.server import session_dsn
from tests.oracle.stories import key, oracle, task, user, workflow
from tests.oracle.tasks import TaskRepository


@oracle
async def test_users_are_unique_by_email_in_any_case(engine: PostgresEngine) -> None:
    first = await engine.auth.create_user(user("u", "Ä@x"))
    await engine.auth.create_user(user("v", "v@x"))
    assert await engine.auth.get_user_by_email("ä@X") == first
    with pytest.raises(EmailExistsError):
        await engine.auth.create_user(user("w", "ä@x"))
    with pytest.raises(AlreadyExistsError):
        await engine.auth.create_user(user("u", "new@x"))
    with pytest.raises(EmailExistsError):
        await engine.auth.update_user(user("v", "ä@x"))
    await engine.auth.update_user(user("u", "moved@x"))
    await engine.auth.update_user(user("v", "ä@x"))
    assert [each.id for each in await engine.auth.list_users()] == ["v", "u"]
    with pytest.raises(UserNotFoundError):
        await engine.auth.update_user(user("nobody", "n@x"))


@oracle
async def test_deleting_a_user_deletes_the_api_keys(engine: PostgresEngine) -> None:
    await engine.auth.create_user(user("u", "u@x"))
    made = await engine.auth.create_api_key(key("k", "one"))
    assert await engine.auth.get_api_key_by_fingerprint(b"one") == made
    with pytest.raises(APIKeyExistsError):
        await engine.auth.create_api_key(key("l", "one"))
    with pytest.raises(ReferenceViolationError):
        await engine.auth.create_api_key(key("l", "two", user_id="nobody"))
    await engine.auth.delete_user("u")
    with pytest.raises(APIKeyNotFoundError):
        await engine.auth.get_api_key_by_id("k")
    assert await engine.auth.list_api_keys_by_user_id("u") == []
    await engine.auth.delete_api_key("k")
    await engine.auth.update_api_key_last_used("k")


@oracle
async def test_last_used_never_decreases(engine: PostgresEngine) -> None:
    await engine.auth.create_user(user("u", "u@x"))
    future = datetime.now(UTC) + timedelta(days=1)
    for id, last_used in (("k", None), ("l", future)):
        made = key(id, id)
        made.last_used = last_used
        await engine.auth.create_api_key(made)
        await engine.auth.update_api_key_last_used(id)
    assert (await engine.auth.get_api_key_by_id("k")).last_used is not None
    assert (await engine.auth.get_api_key_by_id("l")).last_used == future


@oracle
async def test_one_of_many_becomes_the_first_admin(engine: PostgresEngine) -> None:
    candidates = [user(f"u{number}", f"{number}@x") for number in range(8)]
    attempts = [engine.auth.create_initial_admin_if_none(each) for each in candidates]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, AlreadyBootstrappedError) for result in results) == 7
    assert [each.role for each in await engine.auth.list_users()] == [Role.ADMIN]
    assert sorted(each.role for each in candidates) == [Role.ADMIN, *[Role.USER] * 7]


@oracle
async def test_an_upsert_keeps_created_at_alone(engine: PostgresEngine) -> None:
    state = await engine.workflows.upsert_state(workflow(output={}, input={"a": 1}))
    created, updated = state.created_at, state.updated_at
    assert created == updated is not None
    written = workflow(status=Status.PAUSED, created_at=datetime(2000, 1, 1, tzinfo=UTC))
    await engine.workflows.upsert_state(written)
    found = await engine.workflows.get_state("w")
    assert found == Workflow.of(written, {})
    assert found.created_at == created
    assert found.updated_at > updated  # type: ignore[operator]
    assert (found.status, found.input, found.output) == (Status.PAUSED, None, None)


@oracle
async def test_json_is_read_back_unchanged(engine: PostgresEngine) -> None:
    numbers = [2**80, -(2**63), 1e23, 1e-300, 1.0, 0.1, True]
    value = {"numbers": numbers, "text": 'é😀 "1e5" \\ 2E3', "": {"deep": [[[[{}]]]], "none": None}}
    outputs: list[Any] = [value, {}, [], "", 0, False, None]
    for output in outputs:
        await engine.workflows.upsert_state(workflow(output=output))
        back = (await engine.workflows.get_state("w")).output
        assert (back, type(back)) == (output, type(output))
    await engine.workflows.upsert_state(workflow(output=value))
    found: Any = (await engine.workflows.get_state("w")).output
    assert [type(number) for number in found["numbers"]] == [type(number) for number in numbers]
    for unstorable in ({"a": float("nan")}, {"a": object()}, "\0"):
        with pytest.raises(ValidationError):
            await engine.workflows.upsert_state(workflow(output=unstorable))


@oracle
async def test_writes_are_checked(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    agent = {"component": Component.AGENT, "agent_id": "a"}
    for broken in (
        task("t", **agent, execution_type=ExecutionType.WAIT),
        task("t", action_id="x"),
        task("t", **agent, action_id="x", tool_id="y"),
        task("t", **agent, action_id="x", execution_type=ExecutionType.ROUTER),
        task("t", tool_id="x"),
    ):
        with pytest.raises(CheckViolationError):
            await engine.tasks.upsert_state(broken)
    for unknown in ({"workflow_exec_id": "?"}, {"parent_state_id": "?"}):
        with pytest.raises(ReferenceViolationError):
            await engine.tasks.upsert_state(task("t", **unknown))
    for invalid in (task(""), task("t", usage=[UsageEntry(provider=" ", model="m")]), task("t", status="NO")):
        with pytest.raises(ValidationError):
            await engine.tasks.upsert_state(invalid)
    assert await engine.tasks.list_states() == []


@oracle
async def test_a_workflow_has_the_newest_run_of_each_task_at_every_depth(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    await engine.tasks.upsert_state(task("1", task_id="top"))
    await engine.tasks.upsert_state(task("2", task_id="child", parent_state_id="1"))
    await engine.tasks.upsert_state(task("3", task_id="leaf", parent_state_id="2"))
    await engine.tasks.upsert_state(task("4", task_id="top"))
    await engine.tasks.upsert_state(task("1", task_id="top"))
    found = await engine.workflows.get_state("w")
    assert {name: state.task_exec_id for name, state in found.tasks.items()} == {
        "top": "4",
        "child": "2",
        "leaf": "3",
    }
    assert await engine.tasks.list_tasks_in_workflow("w") == found.tasks
    assert (await engine.workflows.list_states())[0] == found


@oracle
async def test_lists_are_filtered_and_ordered(engine: PostgresEngine) -> None:
    for exec_id in ("w", "x", "y"):
        await engine.workflows.upsert_state(workflow(exec_id))
    await engine.workflows.update_status("w", Status.FAILED)
    listed = [each.workflow_exec_id for each in await engine.workflows.list_states()]
    assert listed == ["w", "y", "x"]
    running = WorkflowFilter(status=Status.RUNNING, workflow_id="W")
    assert [each.workflow_exec_id for each in await engine.workflows.list_states(running)] == ["y", "x"]
    for id, exec_id in (("a", "w"), ("b", "x"), ("c", "x")):
        await engine.tasks.upsert_state(
            task(id, task_id="t", workflow_exec_id=exec_id, tool_id="h", component="tool")
        )
    wanted = TaskFilter(task_id="t", tool_id="h", workflow_exec_id="x")
    assert [each.task_exec_id for each in await engine.tasks.list_states(wanted)] == ["c", "b"]
    assert (await engine.workflows.get_state_by_id("W")).workflow_exec_id == "y"
    assert (await engine.workflows.get_state_by_tool_id("W", "h")).workflow_exec_id == "x"
    with pytest.raises(WorkflowNotFoundError):
        await engine.workflows.get_state_by_agent_id("W", "h")


@oracle
async def test_trees_end_at_their_depth_and_at_cycles(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    for id, parent in (("r", None), ("b", "r"), ("a", "r"), ("c", "b"), ("d", "c")):
        await engine.tasks.upsert_state(task(id, parent_state_id=parent, output={"of": id}))
    assert [each.task_exec_id for each in await engine.tasks.get_task_tree("r")] == ["r", "b", "a", "c", "d"]
    assert [each.task_exec_id for each in await engine.tasks.get_task_tree("r", 1)] == ["r", "b", "a"]
    assert await engine.tasks.get_task_tree("?") == []
    assert [each.task_id for each in await engine.tasks.list_children("r")] == ["a", "b"]
    assert await engine.tasks.list_children_outputs("r") == {"a": {"of": "a"}, "b": {"of": "b"}}
    await engine.tasks.upsert_state(task("r", parent_state_id="d"))
    assert len(await engine.tasks.get_task_tree("r")) == 5


@oracle
async def test_progress_counts_children(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    await engine.tasks.upsert_state(task("p"))
    nothing = await engine.tasks.get_progress_info("p")
    assert (nothing.total_children, nothing.status_counts, nothing.failure_rate) == (0, {}, 0.0)
    for number, status in enumerate([*Status, Status.SUCCESS]):
        await engine.tasks.upsert_state(task(f"c{number}", parent_state_id="p", status=status))
    progress = await engine.tasks.get_progress_info("p")
    assert (progress.total_children, progress.terminal_count, progress.running_count) == (9, 5, 3)
    assert progress.status_counts == {**dict.fromkeys(Status, 1), Status.SUCCESS: 2}
    assert (progress.completion_rate, progress.failure_rate) == (2 / 9, 2 / 9)
    assert progress.calculate_overall_status(ParallelStrategy.FAIL_FAST) is Status.FAILED


@oracle
async def test_completion_considers_top_level_tasks(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    await engine.tasks.upsert_state(task("p", execution_type=ExecutionType.PARALLEL, output=[1]))
    await engine.tasks.upsert_state(task("c", parent_state_id="p", status=Status.RUNNING))
    await engine.tasks.upsert_state(task("q", status=Status.PENDING))
    with pytest.raises(WorkflowNotReadyError):
        await engine.workflows.complete_workflow("w")
    await engine.tasks.upsert_state(task("q"))
    done = await engine.workflows.complete_workflow("w")
    assert done.status is Status.SUCCESS
    assert done.output == {
        "p": {"output": [1], "execution_type": "parallel"},
        "c": {"output": None, "parent_state_id": "p"},
        "q": {"output": None},
    }
    await engine.tasks.upsert_state(task("q", status=Status.FAILED))
    again = await engine.workflows.complete_workflow("w", lambda _: {"never": "called"})
    assert (again.status, again.output, again.updated_at) == (done.status, done.output, done.updated_at)


@oracle
async def test_a_transformer_makes_the_output_or_fails_the_workflow(engine: PostgresEngine) -> None:
    async def nothing(seen: Workflow) -> None:
        assert seen.status is Status.RUNNING

    for exec_id in ("w", "x"):
        await engine.workflows.upsert_state(workflow(exec_id))
        await engine.tasks.upsert_state(task(exec_id, task_id="t", workflow_exec_id=exec_id))
    assert (await engine.workflows.complete_workflow("w", nothing)).output == {}
    failed = await engine.workflows.complete_workflow("x", lambda seen: seen.tasks["?"].output)
    assert (failed.status, failed.output) == (Status.FAILED, {"t": {"output": None}})
    assert failed.error == {"message": "'?'", "code": "OUTPUT_TRANSFORMATION_FAILED"}


@oracle
async def test_concurrent_merges_lose_nothing(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    await engine.tasks.upsert_state(task("t", usage=[UsageEntry(provider="p", model="m", source=" Ta sk")]))
    early, late = (datetime(year, 1, 1, tzinfo=UTC) for year in (2001, 2002))
    first = UsageEntry(
        provider=" p", model="m ", source="TASK", prompt_tokens=2, agent_ids=["b"], captured_at=late
    )
    second = UsageEntry(
        provider="p", model="m", source="task", completion_tokens=3, reasoning_tokens=0, agent_ids=["a"]
    )
    second.captured_at = second.updated_at = early
    other = UsageEntry(provider="p", model="l")
    merges = [engine.tasks.merge_usage("t", [first, other, second]) for _ in range(10)]
    await asyncio.gather(*merges, engine.workflows.merge_usage("w", [first]))
    usage = await engine.tasks.get_usage_summary("t")
    assert usage == [
        UsageEntry(provider="p", model="l"),
        UsageEntry(
            provider="p",
            model="m",
            source=" Ta sk",
            prompt_tokens=20,
            completion_tokens=30,
            total_tokens=50,
            reasoning_tokens=0,
            agent_ids=["a", "b"],
            captured_at=early,
            updated_at=early,
        ),
    ]
    with pytest.raises(TaskNotFoundError):
        await engine.tasks.merge_usage("?", [first])
    with pytest.raises(ValidationError):
        await engine.tasks.merge_usage("t", [UsageEntry(provider="p", model="m", prompt_tokens=-1)])


@oracle
async def test_a_transaction_is_all_or_nothing(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())

    async def write(repository: TaskRepository) -> str:
        await repository.upsert_state(task("t"))
        assert (await repository.get_state("t")).status is Status.SUCCESS
        return "done"

    async def fail(repository: TaskRepository) -> None:
        assert await repository.with_transaction(write) == "done"
        with pytest.raises(TaskNotFoundError):
            await engine.tasks.get_state("t")
        raise ZeroDivisionError

    async def swallow(repository: TaskRepository) -> None:
        await write(repository)
        with pytest.raises(CheckViolationError):
            await repository.upsert_state(task("u", tool_id="x"))

    for broken, error in ((fail, ZeroDivisionError), (swallow, CheckViolationError)):
        with pytest.raises(error):
            await engine.tasks.with_transaction(broken)
        assert await engine.tasks.list_states() == []
    assert await engine.tasks.with_transaction(write) == "done"
    assert (await engine.tasks.get_state("t")).task_id == "t"


@oracle
async def test_a_locked_row_waits_for_its_transaction(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    await engine.tasks.upsert_state(task("t", output=0))

    async def count(repository: TaskRepository) -> None:
        state = await repository.get_state_for_update("t")
        await asyncio.sleep(0)
        state.output = (state.output or 0) + 1
        await repository.upsert_state(state)

    await asyncio.gather(*(engine.tasks.with_transaction(count) for _ in range(12)))
    assert (await engine.tasks.get_state("t")).output == 12
    with pytest.raises(TransactionRequiredError):
        await engine.tasks.get_state_for_update("t")


@oracle
async def test_transactions_that_block_each_other_run_again(engine: PostgresEngine) -> None:
    await engine.workflows.upsert_state(workflow())
    for id in ("a", "b"):
        await engine.tasks.upsert_state(task(id, output=0))
    met = asyncio.Barrier(2)
    runs = 0

    async def both(repository: TaskRepository, order: str) -> None:
        nonlocal runs
        runs += 1
        first = await repository.get_state_for_update(order[0])
        if runs <= 2:
            await met.wait()
        second = await repository.get_state_for_update(order[1])
        for state in (first, second):
            state.output = (state.output or 0) + 1
            await repository.upsert_state(state)

    orders = [partial(both, order=order) for order in ("ab", "ba")]
    await asyncio.gather(*(engine.tasks.with_transaction(order) for order in orders))
    assert runs >= 3  # the aborted transaction may take its first lock again before the other one does
    assert [(await engine.tasks.get_state(id)).output for id in "ab"] == [2, 2]


def test_a_test_may_bring_its_own_clock() -> None:
    noon = datetime(2001, 1, 1, 12, tzinfo=UTC)

    async def play() -> None:
        async with PostgresEngine.open(session_dsn(), clock=lambda: noon) as engine:
            await engine.clear()
            state = await engine.workflows.upsert_state(workflow())
            assert state.created_at == state.updated_at == noon
            await engine.workflows.upsert_state(workflow("x"))
            await engine.workflows.upsert_state(state)
            assert state.updated_at == noon + timedelta(microseconds=1)
            assert (await engine.workflows.get_state_by_id("W")).workflow_exec_id == "x"

    asyncio.run(play())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def play() -> None:
        async with PostgresEngine.open("postgresql://postgres@/postgres?host=/nowhere"):
            pass

    with pytest.raises(StoreUnavailableError):
        asyncio.run(play())
