"""Task states on PostgreSQL."""

# ruff: noqa: A002 - the contract sets the names of arguments

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from compozy_engine.errors import (
    TaskNotFoundError,
    TransactionConflictError,
    TransactionRequiredError,
    ValidationError,
)
from compozy_engine.filters import TaskFilter
from compozy_engine.progress import ProgressInfo
from compozy_store import Status, TaskState, UsageEntry

from .progress import COUNTS, progress_of
from .rows import TASK_COLUMNS, Row, arguments, checked, json_value, task_of, usage_text, usage_value
from .session import Session
from .upserting import UPSERT_TASK, update
from .usage import merged

T = TypeVar("T")

_TRIES: Final = 10
_COLUMNS = ", ".join(TASK_COLUMNS)
_SELECT = f"select {_COLUMNS} from task_states"
_NEWEST_FIRST = "order by created_at desc, seq desc"
_NEWEST_BY_TASK_ID = f"""
    select distinct on (task_id) {_COLUMNS}
    from task_states
    where workflow_exec_id = $1
    order by task_id, created_at desc, seq desc
"""
_TREE = f"""
    with recursive tree as (
        select {_COLUMNS}, seq, 0 as depth, array[task_exec_id] as path
        from task_states
        where task_exec_id = $1
        union all
        select {", ".join(f"child.{name}" for name in TASK_COLUMNS)}, child.seq, depth + 1, path || child.task_exec_id
        from task_states as child
        join tree on child.parent_state_id = tree.task_exec_id
        where depth < $2 and child.task_exec_id <> all (path)
    )
    select {_COLUMNS} from tree order by depth, created_at, seq
"""
_OUTPUTS = """
    select distinct on (task_id) task_id, output
    from task_states
    where parent_state_id = $1 and output is not null
    order by task_id, created_at desc, seq desc
"""
_UPDATE_USAGE = update("task_states", "task_exec_id", usage="$3")


class TaskRepository:
    """Task states, on the pool or in one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def upsert_state(self, state: TaskState) -> TaskState:
        row = await self._session.row(UPSERT_TASK, *arguments(checked(state)), self._session.now())
        assert row is not None
        state.created_at, state.updated_at = row["created_at"], row["updated_at"]
        return state

    async def get_state(self, id: str) -> TaskState:
        return task_of(_found(await self._session.row(f"{_SELECT} where task_exec_id = $1", id), id))

    async def get_usage_summary(self, id: str) -> list[UsageEntry] | None:
        row = await self._session.row("select usage from task_states where task_exec_id = $1", id)
        return usage_value(_found(row, id)["usage"])

    async def list_states(self, filter: TaskFilter | None = None) -> list[TaskState]:
        wanted = msgspec.structs.asdict(filter or TaskFilter())
        return await self._list({name: value for name, value in wanted.items() if value is not None})

    async def list_tasks_in_workflow(self, exec_id: str) -> dict[str, TaskState]:
        rows = await self._session.rows(_NEWEST_BY_TASK_ID, exec_id)
        return {row["task_id"]: task_of(row) for row in rows}

    async def list_tasks_by_status(self, exec_id: str, status: Status) -> list[TaskState]:
        return await self._list({"workflow_exec_id": exec_id, "status": status})

    async def list_tasks_by_agent(self, exec_id: str, agent_id: str) -> list[TaskState]:
        return await self._list({"workflow_exec_id": exec_id, "agent_id": agent_id})

    async def list_tasks_by_tool(self, exec_id: str, tool_id: str) -> list[TaskState]:
        return await self._list({"workflow_exec_id": exec_id, "tool_id": tool_id})

    async def list_children(self, parent_id: str) -> list[TaskState]:
        return await self._list({"parent_state_id": parent_id}, order="order by task_id, created_at, seq")

    async def get_child_by_task_id(self, parent_id: str, task_id: str) -> TaskState:
        found = await self._list(
            {"parent_state_id": parent_id, "task_id": task_id}, order=f"{_NEWEST_FIRST} limit 1"
        )
        if not found:
            raise TaskNotFoundError("TaskState: no such child", entity="TaskState")
        return found[0]

    async def get_task_tree(self, root_id: str, max_depth: int = 100) -> list[TaskState]:
        if max_depth < 0:
            raise ValidationError("max_depth must be a whole number from 0", field="max_depth")
        return [task_of(row) for row in await self._session.rows(_TREE, root_id, max_depth)]

    async def list_children_outputs(self, parent_id: str) -> dict[str, Any]:
        rows = await self._session.rows(_OUTPUTS, parent_id)
        return {row["task_id"]: json_value(row["output"]) for row in rows}

    async def get_progress_info(self, parent_id: str) -> ProgressInfo:
        row = await self._session.row(COUNTS, parent_id)
        assert row is not None
        return progress_of(row)

    async def with_transaction(self, fn: Callable[[TaskRepository], Awaitable[T]]) -> T:
        if self._session.bound:
            return await fn(self)
        attempt = 1
        while True:
            tried: Session | None = None
            try:
                async with self._session.transaction() as session:
                    tried = session
                    return await fn(TaskRepository(session))
            except TransactionConflictError as error:
                ours = tried is not None and tried.failure is error
                if not ours:
                    raise
                if attempt == _TRIES:
                    raise TransactionConflictError("other writers won every try", attempts=attempt) from error
                attempt += 1

    async def get_state_for_update(self, id: str) -> TaskState:
        if not self._session.bound:
            raise TransactionRequiredError("TaskState: a locking read outside a transaction")
        row = await self._session.row(f"{_SELECT} where task_exec_id = $1 for update", id)
        return task_of(_found(row, id))

    async def merge_usage(self, id: str, entries: Sequence[UsageEntry]) -> TaskState:
        if not entries:
            return await self.get_state(id)
        async with self._session.transaction() as session:
            lock = "select usage from task_states where task_exec_id = $1 for update"
            present = usage_value(_found(await session.row(lock, id), id)["usage"])
            usage = merged(present or (), entries)
            row = await session.row(_UPDATE_USAGE, id, session.now(), usage_text(usage))
            return task_of(_found(row, id))

    async def _list(self, given: dict[str, object], *, order: str = _NEWEST_FIRST) -> list[TaskState]:
        conditions = [f"{name} = ${number}" for number, name in enumerate(given, 1)]
        where = f"where {' and '.join(conditions)}" if conditions else ""
        return [
            task_of(row) for row in await self._session.rows(f"{_SELECT} {where} {order}", *given.values())
        ]


def _found(row: Row | None, key: str) -> Row:
    if row is None:
        raise TaskNotFoundError("TaskState: not found", entity="TaskState", key=key)
    return row
