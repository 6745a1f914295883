"""Retention: tasks and workflows expire some time after their status is terminal, and no read sees them then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from compozy_engine import TaskFilter
from compozy_engine.errors import ReferenceViolationError, TaskNotFoundError, WorkflowNotFoundError
from compozy_store import Status
from keyweave.model.record import Record, memory_of
from tests.contract.engines import KEYWEAVE, empty_engine
from tests.contract.stories import ids, key, task, user, workflow

DAY = 24 * 3600 * 1_000_000
SOON = {"TaskState": timedelta(milliseconds=40), "WorkflowState": timedelta(milliseconds=40)}


async def _until(gone: Callable[[], Any]) -> None:
    """Wait until `gone` returns True, for as long as the slowest machine may need."""
    deadline = time.monotonic() + 20
    while not await gone():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def _lifetime(record: Record) -> int:
    """Microseconds between a row's last write and its deadline; 0 for a row without a deadline."""
    stored = memory_of(record)
    assert stored is not None
    return stored.expires - stored.revision if stored.expires else 0


@pytest.mark.parametrize("kind", KEYWEAVE)
def test_a_terminal_status_sets_the_deadline_and_leaving_it_cancels(kind: str) -> None:
    async def play() -> None:
        async with empty_engine(kind) as engine:
            await engine.workflows.upsert_state(workflow())
            await engine.tasks.upsert_state(task("t", status=Status.RUNNING))
            assert _lifetime(await engine.tasks.get_state("t")) == 0
            for status in (Status.SUCCESS, Status.FAILED, Status.CANCELED, Status.TIMED_OUT):
                await engine.tasks.upsert_state(task("t", status=Status.RUNNING))
                await engine.workflows.update_status("w", Status.RUNNING)
                await engine.tasks.upsert_state(task("t", status=status))
                assert _lifetime(await engine.tasks.get_state("t")) == 14 * DAY
                await engine.workflows.update_status("w", status)
                assert _lifetime(await engine.store.workflow_states.get("w")) == 60 * DAY
            await engine.tasks.upsert_state(task("t", status=Status.WAITING))
            await engine.workflows.update_status("w", Status.RUNNING)
            assert _lifetime(await engine.tasks.get_state("t")) == 0
            assert _lifetime(await engine.store.workflow_states.get("w")) == 0

    asyncio.run(play())


@pytest.mark.parametrize("kind", KEYWEAVE)
def test_a_row_past_its_deadline_is_gone_for_every_read(kind: str) -> None:
    async def play() -> None:
        async with empty_engine(kind, retention=SOON) as engine:
            await engine.workflows.upsert_state(workflow())
            await engine.tasks.upsert_state(task("p", status=Status.RUNNING))
            await engine.tasks.upsert_state(task("c", parent_state_id="p", output={"n": 1}))
            await _until(lambda: _missing(engine.tasks.get_state("c"), TaskNotFoundError))
            assert ids(await engine.tasks.list_states()) == ["p"]
            assert await engine.tasks.list_states(TaskFilter(task_exec_id="c")) == []
            assert await engine.tasks.list_children("p") == []
            assert await engine.tasks.list_children_outputs("p") == {}
            assert ids(await engine.tasks.get_task_tree("p")) == ["p"]
            assert (await engine.tasks.get_progress_info("p")).total_children == 0
            assert list((await engine.workflows.get_state("w")).tasks) == ["p"]
            with pytest.raises(WorkflowNotFoundError):
                await engine.workflows.get_state_by_task_id("W", "c")
            with pytest.raises(ReferenceViolationError):
                await engine.tasks.upsert_state(task("d", parent_state_id="c"))
            again = await engine.tasks.upsert_state(task("c", status=Status.RUNNING))
            assert again.created_at == again.updated_at
            await engine.workflows.update_status("w", Status.FAILED)
            await _until(lambda: _missing(engine.workflows.get_state("w"), WorkflowNotFoundError))
            assert await engine.workflows.list_states() == []
            with pytest.raises(WorkflowNotFoundError):
                await engine.workflows.get_state_by_id("W")
            with pytest.raises(ReferenceViolationError):
                await engine.tasks.upsert_state(task("e"))

    asyncio.run(play())


@pytest.mark.parametrize("kind", KEYWEAVE)
def test_users_and_api_keys_stay(kind: str) -> None:
    async def play() -> None:
        async with empty_engine(kind) as engine:
            await engine.auth.create_user(user("u"))
            await engine.auth.create_api_key(key("k"))
            assert _lifetime(await engine.auth.get_user_by_id("u")) == 0
            assert _lifetime(await engine.auth.get_api_key_by_id("k")) == 0

    asyncio.run(play())


async def _missing(lookup: Any, error: type[Exception]) -> bool:
    try:
        await lookup
    except error:
        return True
    return False
