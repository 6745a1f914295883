"""Task states by SQLAlchemy."""

# ruff: noqa: A002 - the contract names its arguments

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Select, func, literal, select
from sqlalchemy.dialects.postgresql import array, distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from compozy_engine.errors import TaskNotFoundError, TransactionRequiredError
from compozy_engine.filters import TaskFilter
from compozy_engine.progress import ProgressInfo
from compozy_store import Status, TaskState, UsageEntry

from .auth import Sessions
from .tables import TaskRow
from .writing import merge, upsert

T = TypeVar("T")


class TaskRepository:
    """Task states, each statement on its own or all in one transaction."""

    def __init__(self, single: Sessions, several: Sessions, session: AsyncSession | None = None) -> None:
        self._single = single
        self._several = several
        self._session = session

    async def upsert_state(self, state: TaskState) -> TaskState:
        async with self._one() as session:
            await upsert(session, TaskRow, state)
        return state

    async def get_state(self, id: str) -> TaskState:
        return await self._task(select(TaskRow).where(TaskRow.task_exec_id == id))

    async def get_usage_summary(self, id: str) -> list[UsageEntry] | None:
        async with self._one() as session:
            row = (await session.execute(select(TaskRow.usage).where(TaskRow.task_exec_id == id))).first()
        if row is None:
            raise TaskNotFoundError("TaskState: not found", entity="TaskState")
        return None if row[0] is None else msgspec.convert(row[0], list[UsageEntry])

    async def list_states(self, filter: TaskFilter | None = None) -> list[TaskState]:
        wanted = msgspec.structs.asdict(filter or TaskFilter())
        return await self._newest_first(**{name: each for name, each in wanted.items() if each is not None})

    async def list_tasks_in_workflow(self, exec_id: str) -> dict[str, TaskState]:
        newest = (
            select(TaskRow)
            .ext(distinct_on(TaskRow.task_id))
            .where(TaskRow.workflow_exec_id == exec_id)
            .order_by(TaskRow.task_id, TaskRow.created_at.desc(), TaskRow.seq.desc())
        )
        return {task.task_id: task for task in await self._tasks(newest)}

    async def list_tasks_by_status(self, exec_id: str, status: Status) -> list[TaskState]:
        return await self._newest_first(workflow_exec_id=exec_id, status=status.value)

    async def list_tasks_by_agent(self, exec_id: str, agent_id: str) -> list[TaskState]:
        return await self._newest_first(workflow_exec_id=exec_id, agent_id=agent_id)

    async def list_tasks_by_tool(self, exec_id: str, tool_id: str) -> list[TaskState]:
        return await self._newest_first(workflow_exec_id=exec_id, tool_id=tool_id)

    async def list_children(self, parent_id: str) -> list[TaskState]:
        children = select(TaskRow).where(TaskRow.parent_state_id == parent_id)
        return await self._tasks(children.order_by(TaskRow.task_id, TaskRow.created_at, TaskRow.seq))

    async def get_child_by_task_id(self, parent_id: str, task_id: str) -> TaskState:
        found = select(TaskRow).filter_by(parent_state_id=parent_id, task_id=task_id)
        return await self._task(found.order_by(TaskRow.created_at.desc(), TaskRow.seq.desc()).limit(1))

    async def get_task_tree(self, root_id: str, max_depth: int = 100) -> list[TaskState]:
        path = array([TaskRow.task_exec_id])
        tree = (
            select(TaskRow, literal(0).label("depth"), path.label("path"))
            .where(TaskRow.task_exec_id == root_id, literal(max_depth) >= 0)
            .cte("tree", recursive=True)
        )
        child = aliased(TaskRow)
        below = (
            select(child, tree.c.depth + 1, func.array_append(tree.c.path, child.task_exec_id))
            .join(tree, child.parent_state_id == tree.c.task_exec_id)
            .where(tree.c.depth < max_depth, child.task_exec_id != func.all(tree.c.path))
        )
        whole = tree.union_all(below)
        found = aliased(TaskRow, whole)
        return await self._tasks(select(found).order_by(whole.c.depth, found.created_at, found.seq))

    async def list_children_outputs(self, parent_id: str) -> dict[str, Any]:
        newest = (
            select(TaskRow.task_id, TaskRow.output)
            .ext(distinct_on(TaskRow.task_id))
            .where(TaskRow.parent_state_id == parent_id, TaskRow.output.is_not(None))
            .order_by(TaskRow.task_id, TaskRow.created_at.desc(), TaskRow.seq.desc())
        )
        async with self._one() as session:
            return {row.task_id: row.output for row in await session.execute(newest)}

    async def get_progress_info(self, parent_id: str) -> ProgressInfo:
        counts = (
            select(TaskRow.status, func.count())
            .where(TaskRow.parent_state_id == parent_id)
            .group_by(TaskRow.status)
        )
        async with self._one() as session:
            return ProgressInfo.of({Status(status): count for status, count in await session.execute(counts)})

    async def with_transaction(self, fn: Callable[[TaskRepository], Awaitable[T]]) -> T:
        if self._session is not None:
            return await fn(self)
        async with self._several.begin() as session:
            return await fn(TaskRepository(self._single, self._several, session))

    async def get_state_for_update(self, id: str) -> TaskState:
        if self._session is None:
            raise TransactionRequiredError("TaskState: a locking read outside a transaction")
        return await self._task(select(TaskRow).where(TaskRow.task_exec_id == id).with_for_update())

    async def merge_usage(self, id: str, entries: Sequence[UsageEntry]) -> TaskState:
        if not entries:
            return await self.get_state(id)
        async with self._several.begin() as session:
            row = await merge(session, TaskRow, TaskRow.task_exec_id, id, entries)
            if row is None:
                raise TaskNotFoundError("TaskState: not found", entity="TaskState")
            return row.record()  # type: ignore[no-any-return]

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[AsyncSession]:
        if self._session is not None:
            yield self._session
        else:
            async with self._single() as session:
                yield session

    async def _task(self, statement: Select[TaskRow]) -> TaskState:
        async with self._one() as session:
            row = await session.scalar(statement)
        if row is None:
            raise TaskNotFoundError("TaskState: not found", entity="TaskState")
        return row.record()

    async def _tasks(self, statement: Select[TaskRow]) -> list[TaskState]:
        async with self._one() as session:
            return [row.record() for row in await session.scalars(statement)]

    async def _newest_first(self, **given: Any) -> list[TaskState]:
        found = select(TaskRow).filter_by(**given)
        return await self._tasks(found.order_by(TaskRow.created_at.desc(), TaskRow.seq.desc()))
