"""Task states: one row for each run of a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from compozy_engine.family import latest_by
from compozy_store import Status, TaskState, UsageEntry, aio

from .filters import TaskFilter, required
from .progress import ProgressInfo

T = TypeVar("T")


class TaskRepository:
    """Task states, or those of one transaction. Every method may raise `StoreUnavailableError`."""

    __slots__ = ("_place", "_tasks")

    def __init__(self, place: aio.Store | aio.Transaction) -> None:
        self._place = place
        self._tasks = place.task_states

    async def upsert_state(self, state: TaskState) -> TaskState:
        """Insert a task state, or replace all of it but `created_at`.

        Raises:
            ReferenceViolationError: there is no such workflow execution or parent.
            CheckViolationError: agent, action, tool, component and execution type do not go together.
            ValidationError: a field breaks its type or limits.
        """
        return await self._tasks.upsert(state)

    async def get_state(self, id: str) -> TaskState:
        """The task state with this id.

        Raises:
            TaskNotFoundError: there is none.
        """
        return await self._tasks.get(id)

    async def get_usage_summary(self, id: str) -> list[UsageEntry] | None:
        """What a task used, or None.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return (await self._tasks.get(id)).usage

    async def list_states(self, filter: TaskFilter | None = None) -> list[TaskState]:
        """The task states that a filter asks for, newest first."""
        return await self._tasks.fetch(**msgspec.structs.asdict(filter or TaskFilter()))

    async def list_tasks_in_workflow(self, exec_id: str) -> dict[str, TaskState]:
        """The newest task state of each task of an execution, by task id."""
        (rows,) = await self._tasks.gather_by_workflow([exec_id], newest=False)
        return latest_by(rows, "task_id")

    async def list_tasks_by_status(self, exec_id: str, status: Status) -> list[TaskState]:
        """The task states of an execution with this status, newest first."""
        return await self._tasks.fetch(**required(workflow_exec_id=exec_id, status=status))

    async def list_tasks_by_agent(self, exec_id: str, agent_id: str) -> list[TaskState]:
        """The task states of an execution that run this agent, newest first."""
        return await self._tasks.fetch(**required(workflow_exec_id=exec_id, agent_id=agent_id))

    async def list_tasks_by_tool(self, exec_id: str, tool_id: str) -> list[TaskState]:
        """The task states of an execution that run this tool, newest first."""
        return await self._tasks.fetch(**required(workflow_exec_id=exec_id, tool_id=tool_id))

    async def list_children(self, parent_id: str) -> list[TaskState]:
        """The children of a task state, by task id and then age; empty for an unknown parent."""
        (children,) = await self._tasks.gather_by_parent([parent_id], newest=False)
        return sorted(children, key=lambda task: task.task_id)

    async def get_child_by_task_id(self, parent_id: str, task_id: str) -> TaskState:
        """The newest child with this task id.

        Raises:
            TaskNotFoundError: there is none.
        """
        return await self._tasks.first(**required(parent_state_id=parent_id, task_id=task_id))

    async def get_task_tree(self, root_id: str, max_depth: int = 100) -> list[TaskState]:
        """A task state and up to `max_depth` levels below it, by depth and then age; empty for an unknown root.

        Raises:
            ValidationError: `max_depth` is no whole number from 0.
        """
        return await self._tasks.tree(root_id, max_depth=max_depth)

    async def list_children_outputs(self, parent_id: str) -> dict[str, Any]:
        """The outputs of the children that have one, by task id; of several runs the newest stands."""
        (children,) = await self._tasks.gather_by_parent([parent_id], newest=False)
        return {task.task_id: task.output for task in children if task.output is not None}

    async def get_progress_info(self, parent_id: str) -> ProgressInfo:
        """How far the children of a task state are, from counts, without loading them."""
        return ProgressInfo.of(await self._tasks.group_counts_by_parent_status(parent_id))

    async def with_transaction(self, fn: Callable[[TaskRepository], Awaitable[T]]) -> T:
        """Run `fn` with a repository bound to one transaction: all that it writes, or nothing.

        Reads see the transaction's own writes. `fn` may run again when other writers came first; its result is
        returned and its exception passes through. Inside a transaction, `fn` joins it.

        Raises:
            TransactionConflictError: other writers won every try.
            LockTimeoutError: a row stayed locked for too long.
        """
        return await self._place.transact(lambda transaction: fn(TaskRepository(transaction)))

    async def get_state_for_update(self, id: str) -> TaskState:
        """The task state, which no other transaction can change until this one ends.

        Raises:
            TransactionRequiredError: outside `with_transaction`.
            TaskNotFoundError: there is no such task.
            LockTimeoutError: the row stayed locked for too long.
        """
        return await self._tasks.get_for_update(id)

    async def merge_usage(self, id: str, entries: Sequence[UsageEntry]) -> TaskState:
        """Merge what a task used by provider, model and source. Concurrent merges lose nothing.

        Raises:
            TaskNotFoundError: there is no such task.
            ValidationError: an entry breaks its type or limits.
        """
        return await (self._tasks.merge_usage(id, entries) if entries else self._tasks.get(id))
