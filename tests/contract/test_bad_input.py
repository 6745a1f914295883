"""Invalid input: it is refused with a typed error before anything is written, or accepted if its meaning is clear."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compozy_engine import Engine, TaskFilter, WorkflowFilter
from compozy_engine.errors import (
    ConflictError,
    KeyweaveError,
    StoreUnavailableError,
    TaskNotFoundError,
    TransactionRequiredError,
    ValidationError,
    WorkflowNotFoundError,
)
from compozy_engine.tasks import TaskRepository
from compozy_store import Component, ExecutionType, Role, Status, UsageEntry
from keyweave.errors import ConfigurationError
from tests.contract.engines import KEYWEAVE, empty_engine
from tests.contract.stories import add, contract, ids, key, run_on, task, user, workflow
from tests.servers.running import server_url


@contract
async def test_text_that_names_a_member_is_the_member(engine: Engine) -> None:
    made: Any = user("u", role="admin")  # type: ignore[arg-type]
    await engine.auth.create_user(made)
    assert (await engine.auth.get_user_by_id("u")).role is Role.ADMIN
    await engine.workflows.upsert_state(workflow(status="RUNNING"))
    state: Any = task("t", status="RUNNING", component="task", execution_type="wait")
    await engine.tasks.upsert_state(state)
    found = await engine.tasks.get_state("t")
    assert (found.status, found.component, found.execution_type) == ("RUNNING", "task", "wait")
    assert (type(found.status), type(found.component)) == (Status, Component)
    changed: Any = await engine.workflows.update_status("w", "PAUSED")  # type: ignore[arg-type]
    assert changed.status is Status.PAUSED
    assert ids(await engine.tasks.list_states(TaskFilter(status="RUNNING"))) == ["t"]  # type: ignore[arg-type]
    assert ids(await engine.tasks.list_tasks_by_status("w", "RUNNING")) == ["t"]  # type: ignore[arg-type]
    assert ids(await engine.workflows.list_states(WorkflowFilter(status="PAUSED"))) == ["w"]  # type: ignore[arg-type]


@run_on(*KEYWEAVE)
async def test_a_written_record_holds_the_members_that_were_stored(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())
    state: Any = task("t", status="RUNNING", component="task", execution_type="wait")
    await engine.tasks.upsert_state(state)
    assert [type(each) for each in (state.status, state.component, state.execution_type)] == [
        Status,
        Component,
        ExecutionType,
    ]


@contract
async def test_an_unknown_status_is_refused_in_writes_and_finds_nothing(engine: Engine) -> None:
    await add(engine, task("t"))
    for status in ("NO", "", "running"):
        wrong: Any = status
        with pytest.raises(ValidationError):
            await engine.workflows.update_status("w", wrong)
        assert await engine.tasks.list_states(TaskFilter(status=wrong)) == []
        assert await engine.workflows.list_states(WorkflowFilter(status=wrong)) == []
        assert await engine.tasks.list_tasks_by_status("w", wrong) == []
    assert (await engine.workflows.get_state("w")).status is Status.RUNNING


@contract
async def test_filters_of_another_type_are_refused(engine: Engine) -> None:
    await add(engine, task("1", task_id="5"))
    wrong: Any
    for wrong in (5, b"5"):
        for call in (
            engine.tasks.list_states(TaskFilter(task_id=wrong)),
            engine.tasks.list_states(TaskFilter(workflow_exec_id="w", task_id=wrong)),
            engine.tasks.list_states(TaskFilter(task_exec_id=wrong)),
            engine.workflows.list_states(WorkflowFilter(workflow_id=wrong)),
        ):
            with pytest.raises(ValidationError):
                await call


@run_on(*KEYWEAVE)
async def test_none_is_refused_as_a_value_of_a_filter(engine: Engine) -> None:
    """An application's empty variable must not list another owner's rows."""
    await add(engine, task("t", component=Component.AGENT, agent_id="g", action_id="x"))
    nothing: Any = None
    for call in (
        engine.auth.get_user_by_id(nothing),
        engine.auth.get_user_by_email(nothing),
        engine.auth.get_api_key_by_fingerprint(nothing),
        engine.auth.list_api_keys_by_user_id(nothing),
        engine.workflows.get_state(nothing),
        engine.workflows.get_state_by_id(nothing),
        engine.workflows.get_state_by_task_id("W", nothing),
        engine.workflows.get_state_by_agent_id("W", nothing),
        engine.workflows.get_state_by_tool_id("W", nothing),
        engine.workflows.get_state_by_task_id(nothing, "t"),
        engine.tasks.get_state(nothing),
        engine.tasks.list_tasks_in_workflow(nothing),
        engine.tasks.list_tasks_by_status("w", nothing),
        engine.tasks.list_tasks_by_agent("w", nothing),
        engine.tasks.list_tasks_by_tool("w", nothing),
        engine.tasks.list_tasks_by_agent(nothing, "g"),
        engine.tasks.list_children(nothing),
        engine.tasks.get_child_by_task_id("t", nothing),
        engine.tasks.get_child_by_task_id(nothing, "t"),
        engine.tasks.get_task_tree(nothing),
        engine.tasks.list_children_outputs(nothing),
        engine.tasks.get_progress_info(nothing),
    ):
        with pytest.raises(ValidationError):
            await call


@run_on(*KEYWEAVE)
async def test_values_of_another_type_are_refused(engine: Engine) -> None:
    """Text in place of bytes or a datetime is valid JSON, but would be read back as another value."""
    await engine.auth.create_user(user("u"))
    for fields in (
        {"hash": "abcd"},
        {"fingerprint": "abcd"},
        {"last_used": "2020-01-01T00:00:00Z"},
        {"last_used": datetime(2020, 1, 1)},  # noqa: DTZ001 - no time zone, on purpose
        {"prefix": 5},
    ):
        with pytest.raises(ValidationError):
            await engine.auth.create_api_key(key("k", **fields))
    assert await engine.auth.list_api_keys_by_user_id("u") == []
    wrong: Any
    for wrong in ("6b", 5, None):
        with pytest.raises(ValidationError):
            await engine.auth.get_api_key_by_fingerprint(wrong)


@run_on(*KEYWEAVE)
async def test_a_fingerprint_is_not_found_by_its_digits(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    await engine.auth.create_api_key(key("k", fingerprint=b"k"))
    digits: Any = b"k".hex()
    with pytest.raises(ValidationError):
        await engine.auth.get_api_key_by_fingerprint(digits)


@run_on(*KEYWEAVE)
async def test_usage_is_made_of_entries(engine: Engine) -> None:
    await add(engine, task("t"))
    plain: Any = {"provider": "p", "model": "m"}
    undated: Any = UsageEntry(provider="p", model="m", captured_at="2020-01-01T00:00:00Z")  # type: ignore[arg-type]
    wrong: Any
    for wrong in (plain, None, "p"):
        for call in (engine.tasks.merge_usage("t", [wrong]), engine.workflows.merge_usage("w", [wrong])):
            with pytest.raises(ValidationError):
                await call
    for wrong in (plain, undated):
        with pytest.raises(ValidationError):
            await engine.tasks.upsert_state(task("t", usage=[wrong]))
    assert await engine.tasks.get_usage_summary("t") is None


@contract
async def test_what_callers_put_into_managed_fields_is_ignored(engine: Engine) -> None:
    long_ago: Any = datetime(2001, 1, 1, tzinfo=UTC)
    for given in (long_ago, "yesterday", 5, datetime(2001, 1, 1)):  # noqa: DTZ001
        state: Any = workflow("w")
        state.created_at = state.updated_at = given
        await engine.workflows.upsert_state(state)
        assert datetime.now(UTC) - state.updated_at < timedelta(hours=1)
        assert datetime.now(UTC) - state.created_at < timedelta(hours=1)
    first: Any = await engine.workflows.get_state("w")
    assert first.created_at < first.updated_at
    made: Any = user("u")
    made.created_at = long_ago
    assert (await engine.auth.create_user(made)).created_at != long_ago


@contract
async def test_a_tree_has_no_negative_depth(engine: Engine) -> None:
    await add(engine, task("r"), task("c", parent_state_id="r"))
    with pytest.raises(ValidationError):
        await engine.tasks.get_task_tree("r", -1)
    assert ids(await engine.tasks.get_task_tree("r", 0)) == ["r"]


@contract
async def test_a_refused_admin_keeps_the_given_role(engine: Engine) -> None:
    broken = user("u", "")
    with pytest.raises(ValidationError):
        await engine.auth.create_initial_admin_if_none(broken)
    assert broken.role is Role.USER


@contract
async def test_an_error_of_the_closure_passes_through_whatever_it_is(engine: Engine) -> None:
    """This includes Keyweave's errors: raised by the closure, they say nothing about the transaction."""
    await engine.workflows.upsert_state(workflow())
    mine = ConflictError("mine")
    tries = []

    async def fail(repository: TaskRepository) -> None:
        tries.append(await repository.upsert_state(task("t")))
        raise mine

    with pytest.raises(ConflictError) as caught:
        await engine.tasks.with_transaction(fail)
    assert caught.value is mine
    assert len(tries) == 1
    assert await engine.tasks.list_states() == []


@run_on(*KEYWEAVE)
async def test_a_repository_ends_with_its_transaction(engine: Engine) -> None:
    """A write after the end of the transaction would never be applied."""
    await add(engine, task("t"))
    kept: list[TaskRepository] = []

    async def keep(repository: TaskRepository) -> None:
        kept.append(repository)
        await repository.upsert_state(task("u"))

    await engine.tasks.with_transaction(keep)
    for call in (
        kept[0].upsert_state(task("v")),
        kept[0].get_state("u"),
        kept[0].list_states(),
        kept[0].get_state_for_update("t"),
        kept[0].merge_usage("t", [UsageEntry(provider="p", model="m")]),
    ):
        with pytest.raises(TransactionRequiredError):
            await call
    assert ids(await engine.tasks.list_states()) == ["u", "t"]


@contract
async def test_a_missing_row_raises_exactly_the_contracts_error(engine: Engine) -> None:
    for call, error in (
        (engine.tasks.get_state("t"), TaskNotFoundError),
        (engine.workflows.get_state("w"), WorkflowNotFoundError),
    ):
        with pytest.raises(KeyweaveError) as caught:
            await call
        assert type(caught.value) is error
        assert "secret-id" not in str(caught.value)


@pytest.mark.parametrize("kind", KEYWEAVE)
def test_a_closed_engine_is_unavailable(kind: str) -> None:
    async def play() -> None:
        async with empty_engine(kind) as engine:
            await engine.workflows.upsert_state(workflow())
        for call in (
            engine.workflows.get_state("w"),
            engine.auth.create_user(user("u")),
            engine.tasks.with_transaction(lambda repository: repository.get_state("t")),
        ):
            with pytest.raises(StoreUnavailableError):
                await call

    asyncio.run(play())


@pytest.mark.parametrize(
    "options",
    [
        {"retention": {"User": timedelta(days=1)}},
        {"retention": {"TaskState": timedelta(0)}},
        {"retention": {"TaskState": 14}},
        {"namespace": ""},
        {"no_such_option": 1},
    ],
)
def test_invalid_options_are_refused_before_connecting(options: dict[str, Any]) -> None:
    async def play() -> None:
        async with Engine.open("redis://nowhere.invalid:1", **options):
            pass

    with pytest.raises(ConfigurationError):
        asyncio.run(play())


def test_an_engine_that_cannot_connect_names_the_place_and_no_password() -> None:
    async def play() -> None:
        async with Engine.open("redis://app:planted@127.0.0.1:1", connect_timeout=2.0):
            pass

    with pytest.raises(StoreUnavailableError) as caught:
        asyncio.run(play())
    assert "127.0.0.1:1" in str(caught.value)
    assert "planted" not in repr(caught.value)


def test_engines_of_two_namespaces_share_nothing() -> None:
    async def play() -> None:
        async with (
            empty_engine("server") as left,
            Engine.open(server_url(), namespace="elsewhere:{x}") as right,
        ):
            await left.auth.create_user(user("u"))
            assert await right.auth.list_users() == []

    asyncio.run(play())
