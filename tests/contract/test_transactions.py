"""with_transaction and get_state_for_update."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from compozy_engine import Engine, TaskFilter
from compozy_engine.errors import (
    CheckViolationError,
    ReferenceViolationError,
    TaskNotFoundError,
    TransactionRequiredError,
)
from compozy_engine.tasks import TaskRepository
from compozy_store import Status, UsageEntry
from tests.contract.engines import EVERY, KEYWEAVE, empty_engine
from tests.contract.stories import add, contract, ids, run_on, task, workflow


@contract
async def test_the_writes_of_a_transaction_become_visible_together(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())

    async def write(repository: TaskRepository) -> str:
        await repository.upsert_state(task("p", status=Status.RUNNING))
        await repository.upsert_state(task("c", parent_state_id="p"))
        with pytest.raises(TaskNotFoundError):
            await engine.tasks.get_state("c")
        return "done"

    assert await engine.tasks.with_transaction(write) == "done"
    assert ids(await engine.tasks.get_task_tree("p")) == ["p", "c"]
    assert sorted((await engine.workflows.get_state("w")).tasks) == ["c", "p"]


@contract
async def test_every_read_sees_the_transactions_own_writes(engine: Engine) -> None:
    await add(engine, task("p"), task("a", parent_state_id="p", task_id="t", output=1))

    async def write(repository: TaskRepository) -> None:
        await repository.upsert_state(
            task("b", parent_state_id="p", task_id="t", status=Status.FAILED, output={"n": 2})
        )
        assert (await repository.get_state("b")).output == {"n": 2}
        assert ids(await repository.list_states()) == ["b", "a", "p"]
        assert ids(await repository.list_states(TaskFilter(status=Status.FAILED))) == ["b"]
        assert ids(await repository.list_children("p")) == ["a", "b"]
        assert (await repository.get_child_by_task_id("p", "t")).task_exec_id == "b"
        assert ids(await repository.get_task_tree("p")) == ["p", "a", "b"]
        assert await repository.list_children_outputs("p") == {"t": {"n": 2}}
        progress = await repository.get_progress_info("p")
        assert progress.status_counts == {Status.SUCCESS: 1, Status.FAILED: 1}
        await repository.upsert_state(task("a", task_id="t", status=Status.RUNNING))
        assert ids(await repository.list_children("p")) == ["b"]
        assert ids(await repository.list_tasks_by_status("w", Status.RUNNING)) == ["a"]
        await repository.merge_usage("b", [UsageEntry(provider="p", model="m", prompt_tokens=1)])
        await repository.merge_usage("b", [UsageEntry(provider="p", model="m", prompt_tokens=1)])
        usage = await repository.get_usage_summary("b")
        assert [entry.prompt_tokens for entry in usage or ()] == [2]

    await engine.tasks.with_transaction(write)
    assert ids(await engine.tasks.list_children("p")) == ["b"]
    usage = await engine.tasks.get_usage_summary("b")
    assert [entry.prompt_tokens for entry in usage or ()] == [2]


@contract
async def test_an_exception_discards_everything_and_passes_through(engine: Engine) -> None:
    await add(engine, task("t", output="old"))

    async def write(repository: TaskRepository) -> None:
        await repository.upsert_state(task("t", output="new"))
        await repository.upsert_state(task("u"))
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        await engine.tasks.with_transaction(write)
    assert (await engine.tasks.get_state("t")).output == "old"
    assert ids(await engine.tasks.list_states()) == ["t"]


@contract
async def test_a_refused_write_discards_everything(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())

    async def unchecked(repository: TaskRepository) -> None:
        await repository.upsert_state(task("t"))
        await repository.upsert_state(task("u", tool_id="x"))

    async def dangling(repository: TaskRepository) -> None:
        await repository.upsert_state(task("t"))
        await repository.upsert_state(task("u", parent_state_id="?"))

    for broken, error in ((unchecked, CheckViolationError), (dangling, ReferenceViolationError)):
        with pytest.raises(error):
            await engine.tasks.with_transaction(broken)
        assert await engine.tasks.list_states() == []


@contract
async def test_nested_calls_join(engine: Engine) -> None:
    await engine.workflows.upsert_state(workflow())

    async def inner(repository: TaskRepository) -> str:
        await repository.upsert_state(task("t"))
        return "inner"

    async def outer(repository: TaskRepository) -> str:
        result = await repository.with_transaction(inner)
        assert (await repository.get_state("t")).task_id == "t"
        with pytest.raises(TaskNotFoundError):
            await engine.tasks.get_state("t")
        return f"{result} and outer"

    async def fail(repository: TaskRepository) -> None:
        await repository.with_transaction(inner)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await engine.tasks.with_transaction(fail)
    assert await engine.tasks.list_states() == []
    assert await engine.tasks.with_transaction(outer) == "inner and outer"
    assert ids(await engine.tasks.list_states()) == ["t"]


@contract
async def test_a_locking_read_needs_a_transaction_and_a_row(engine: Engine) -> None:
    await add(engine, task("t"))
    with pytest.raises(TransactionRequiredError):
        await engine.tasks.get_state_for_update("t")

    async def lock(repository: TaskRepository) -> None:
        assert (await repository.get_state_for_update("t")).task_id == "t"
        await repository.get_state_for_update("?")

    with pytest.raises(TaskNotFoundError):
        await engine.tasks.with_transaction(lock)


@contract
async def test_a_row_may_be_locked_twice_and_read_after_it_was_written(engine: Engine) -> None:
    await add(engine, task("t", output=0))

    async def twice(repository: TaskRepository) -> None:
        for _ in range(2):
            state = await repository.get_state_for_update("t")
            state.output = (state.output or 0) + 1
            await repository.upsert_state(state)

    await engine.tasks.with_transaction(twice)
    assert (await engine.tasks.get_state("t")).output == 2


@contract
async def test_twenty_children_update_their_parent_one_after_the_other(engine: Engine) -> None:
    await add(engine, task("p", status=Status.RUNNING, output={"done": []}))

    async def finish(repository: TaskRepository, name: str) -> None:
        parent = await repository.get_state_for_update("p")
        await repository.upsert_state(task(name, parent_state_id="p"))
        await asyncio.sleep(0)
        parent.output["done"].append(name)  # type: ignore[index]
        if len(parent.output["done"]) == 20:  # type: ignore[index]
            parent.status = Status.SUCCESS
        await repository.upsert_state(parent)

    names = [f"c{number}" for number in range(20)]
    await asyncio.gather(*(engine.tasks.with_transaction(partial(finish, name=name)) for name in names))
    parent = await engine.tasks.get_state("p")
    assert sorted(parent.output["done"]) == sorted(names)  # type: ignore[index]
    assert parent.status is Status.SUCCESS
    assert (await engine.tasks.get_progress_info("p")).success_count == 20


@run_on(*KEYWEAVE)
async def test_a_child_may_be_written_before_its_parent_is_locked(engine: Engine) -> None:
    """PostgreSQL deadlocks here: a child's foreign key locks the parent against `for update`."""
    await add(engine, task("p", output=0))

    async def finish(repository: TaskRepository, name: str) -> None:
        await repository.upsert_state(task(name, parent_state_id="p"))
        parent = await repository.get_state_for_update("p")
        parent.output = (parent.output or 0) + 1
        await repository.upsert_state(parent)

    names = [f"c{number}" for number in range(20)]
    await asyncio.gather(*(engine.tasks.with_transaction(partial(finish, name=name)) for name in names))
    assert (await engine.tasks.get_state("p")).output == 20
    assert len(await engine.tasks.list_children("p")) == 20


@pytest.mark.parametrize("kind", EVERY)
def test_two_parents_locked_in_opposite_order_are_both_updated(kind: str) -> None:
    async def both(repository: TaskRepository, order: str) -> None:
        for name in order:
            state = await repository.get_state_for_update(name)
            await asyncio.sleep(0.01)
            state.output = (state.output or 0) + 1
            await repository.upsert_state(state)

    async def play() -> None:
        async with empty_engine(kind, lock_ttl=0.2) as engine:
            await add(engine, task("a", output=0), task("b", output=0))
            await asyncio.gather(
                *(engine.tasks.with_transaction(partial(both, order=order)) for order in ("ab", "ba"))
            )
            assert [(await engine.tasks.get_state(name)).output for name in "ab"] == [2, 2]

    asyncio.run(play())


@contract
async def test_a_lock_ends_with_its_transaction_however_that_ends(engine: Engine) -> None:
    """An error or a cancellation writes nothing, and the next transaction need not wait until the lock expires."""
    await add(engine, task("t", output=0))

    async def add_one(repository: TaskRepository) -> None:
        state = await repository.get_state_for_update("t")
        state.output = (state.output or 0) + 1
        await repository.upsert_state(state)

    async def add_one_and_fail(repository: TaskRepository) -> None:
        await add_one(repository)
        raise ZeroDivisionError

    locked = asyncio.Event()

    async def add_one_and_stay(repository: TaskRepository) -> None:
        await add_one(repository)
        locked.set()
        await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await engine.tasks.with_transaction(add_one_and_fail)
    staying = asyncio.create_task(engine.tasks.with_transaction(add_one_and_stay))
    await locked.wait()
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying
    async with asyncio.timeout(4):  # less than a lock's time to live
        await engine.tasks.with_transaction(add_one)
    assert (await engine.tasks.get_state("t")).output == 1
