"""Turns a story, a coroutine function that uses an empty oracle, into a test; and makes its records."""

# ruff: noqa: A002 - records have a field named id

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from compozy_store import APIKey, Component, Role, Status, TaskState, User, WorkflowState
from tests.oracle.engine import PostgresEngine
from tests.oracle.server import session_dsn

Story = Callable[[PostgresEngine], Awaitable[None]]


def oracle(story: Story) -> Callable[[], None]:
    """The test of a story, on an empty oracle and its own event loop."""

    async def play() -> None:
        async with PostgresEngine.open(session_dsn()) as engine:
            await engine.clear()
            await story(engine)

    def test() -> None:
        asyncio.run(play())

    return test


def workflow(exec_id: str = "w", **fields: Any) -> WorkflowState:
    return WorkflowState(workflow_exec_id=exec_id, **{"workflow_id": "W", "status": Status.RUNNING, **fields})


def task(exec_id: str, **fields: Any) -> TaskState:
    given = {"task_id": exec_id, "workflow_exec_id": "w", "workflow_id": "W", "component": Component.TASK}
    return TaskState(task_exec_id=exec_id, **{**given, "status": Status.SUCCESS, **fields})


def user(id: str, email: str, role: Role = Role.USER) -> User:
    return User(id=id, email=email, role=role)


def key(id: str, text: str, user_id: str = "u") -> APIKey:
    return APIKey(id=id, user_id=user_id, hash=b"\0\xff", fingerprint=text.encode(), prefix=text)
