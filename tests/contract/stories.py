"""Turns a story, a coroutine function that uses an empty engine, into a test; and makes its records."""

# ruff: noqa: A002 - records have a field named id

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest

from compozy_engine import Engine
from compozy_store import APIKey, Component, Role, Status, TaskState, User, WorkflowState
from tests.contract.engines import EVERY, empty_engine

Story = Callable[[Engine], Awaitable[None]]


def contract(story: Story) -> Callable[[str], None]:
    """The test of a story on every engine, each empty and on its own event loop."""
    return run_on(*EVERY)(story)


def run_on(*kinds: str) -> Callable[[Story], Callable[[str], None]]:
    """The test of a story on some engines."""

    def decorate(story: Story) -> Callable[[str], None]:
        async def play(kind: str) -> None:
            async with empty_engine(kind) as engine:
                await story(engine)

        @pytest.mark.parametrize("kind", kinds)
        def test(kind: str) -> None:
            asyncio.run(play(kind))

        test.story = story  # type: ignore[attr-defined]
        return test

    return decorate


def user(id: str, email: str | None = None, role: Role = Role.USER) -> User:
    return User(id=id, email=f"{id}@x" if email is None else email, role=role)


def key(id: str, user_id: str = "u", **fields: Any) -> APIKey:
    given = {"hash": b"\0\xff", "fingerprint": id.encode(), "prefix": id}
    return APIKey(id=id, user_id=user_id, **{**given, **fields})


def workflow(exec_id: str = "w", **fields: Any) -> WorkflowState:
    return WorkflowState(workflow_exec_id=exec_id, **{"workflow_id": "W", "status": Status.RUNNING, **fields})


def task(exec_id: str, **fields: Any) -> TaskState:
    given = {"task_id": exec_id, "workflow_exec_id": "w", "workflow_id": "W", "component": Component.TASK}
    return TaskState(task_exec_id=exec_id, **{**given, "status": Status.SUCCESS, **fields})


async def add(engine: Engine, *tasks: TaskState) -> None:
    """Create the execution `w` and write tasks into it, in this order."""
    await engine.workflows.upsert_state(workflow())
    for each in tasks:
        await engine.tasks.upsert_state(each)


def ids(records: Iterable[User | APIKey | WorkflowState | TaskState]) -> list[str]:
    """The keys of records, in their order."""
    return [getattr(record, type(record).__struct_fields__[0]) for record in records]


async def outcomes(attempts: Sequence[Awaitable[object]]) -> list[str]:
    """The results of several concurrent attempts: `ok` or the name of the error."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    return [type(each).__name__ if isinstance(each, BaseException) else "ok" for each in results]
