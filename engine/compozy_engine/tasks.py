"""Task states: one row for each run of a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from compozy_engine.family import latest_by
from compozy_store import Status, TaskState, UsageEntry, aio

from .errors import TaskNotFoundError
from .filters import TaskFilter, given, required
from .progress import ProgressInfo

T = TypeVar("T")


class TaskRepository:
    """Task states, of a store or inside one transaction. Every method may raise `StoreUnavailableError`."""

    __slots__ = ("_place", "_tasks")

    def __init__(self, place: aio.Store | aio.Transaction) -> None:
        self._place = place
        self._tasks = place.task_states

    async def upsert_state(self, state: TaskState) -> TaskState:
        """Insert a task state, or replace everything except `created_at`.

        Raises:
            ReferenceViolationError: there is no such workflow execution or parent.
            CheckViolationError: agent, action, tool, component and execution type contradict each other.
            ValidationError: a field breaks its type or limits.
        """
        return await self._tasks.upsert(state)

    async def get_state(self, id: str) -> TaskState:
        """The task state with this id.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return await self._tasks.get(id)

    async def get_usage_summary(self, id: str) -> list[UsageEntry] | None:
        """The token usage of a task, or None.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return (await self._tasks.get(id)).usage

    async def list_states(self, filter: TaskFilter | None = None) -> list[TaskState]:
        """The task states that match a filter, newest first."""
        return await self._tasks.where(**given(filter or TaskFilter())).scan().list()

    async def list_tasks_in_workflow(self, exec_id: str) -> dict[str, TaskState]:
        """The newest task state of each task in an execution, by task id."""
        return latest_by(await self._tasks.by_workflow(exec_id).reverse().list(), "task_id")

    async def list_tasks_by_status(self, exec_id: str, status: Status) -> list[TaskState]:
        """The task states of an execution with this status, newest first."""
        return await self._tasks.where(**required(workflow_exec_id=exec_id, status=status)).list()

    async def list_tasks_by_agent(self, exec_id: str, agent_id: str) -> list[TaskState]:
        """The task states of an execution with this agent, newest first."""
        return await self._tasks.where(**required(workflow_exec_id=exec_id, agent_id=agent_id)).list()

    async def list_tasks_by_tool(self, exec_id: str, tool_id: str) -> list[TaskState]:
        """The task states of an execution with this tool, newest first."""
        return await self._tasks.where(**required(workflow_exec_id=exec_id, tool_id=tool_id)).list()

    async def list_children(self, parent_id: str) -> list[TaskState]:
        """The children of a task state, by task id and then age; empty for an unknown parent."""
        children = await self._tasks.by_parent(parent_id).reverse().list()
        return sorted(children, key=lambda task: task.task_id)

    async def get_child_by_task_id(self, parent_id: str, task_id: str) -> TaskState:
        """The newest child with this task id.

        Raises:
            TaskNotFoundError: there is no such child.
        """
        found = await self._tasks.where(**required(parent_state_id=parent_id, task_id=task_id)).first()
        if found is None:
            raise TaskNotFoundError("TaskState: no such child", entity="TaskState")
        return found

    async def get_task_tree(self, root_id: str, max_depth: int = 100) -> list[TaskState]:
        """A task state and up to `max_depth` levels below it, by depth and then age; empty for an unknown root.

        Raises:
            ValidationError: `max_depth` is not a whole number of at least 0.
        """
        return await self._tasks.tree(root_id, max_depth=max_depth)

    async def list_children_outputs(self, parent_id: str) -> dict[str, Any]:
        """The outputs of the children that have one, by task id. If a task has several runs, the newest counts."""
        children = await self._tasks.by_parent(parent_id).reverse().list()
        return {task.task_id: task.output for task in children if task.output is not None}

    async def get_progress_info(self, parent_id: str) -> ProgressInfo:
        """The progress of a task state's children, computed from counts, without loading the children."""
        return ProgressInfo.of(await self._tasks.by_parent_status(parent_id).group_counts())

    async def with_transaction(self, fn: Callable[[TaskRepository], Awaitable[T]]) -> T:
        """Run `fn` with a repository of one transaction: either all of its writes are applied, or none.

        Reads see the transaction's own writes. `fn` runs again if another writer changed a row first, or wrote one
        that `fn` upserts without reading it. Its result is returned, and its exception is raised. Inside a
        transaction, `fn` becomes part of that transaction.

        Raises:
            TransactionConflictError: every attempt lost to other writers.
            LockTimeoutError: a row stayed locked for too long.
        """
        return await self._place.transact(lambda transaction: fn(TaskRepository(transaction)))

    async def get_state_for_update(self, id: str) -> TaskState:
        """The task state, locked until the transaction ends. Other transactions that lock it wait.

        Raises:
            TransactionRequiredError: the call is outside `with_transaction`.
            TaskNotFoundError: there is no such task.
            LockTimeoutError: the row stayed locked for too long.
        """
        return await self._tasks.get_for_update(id)

    async def merge_usage(self, id: str, entries: Sequence[UsageEntry]) -> TaskState:
        """Merge token usage into a task, by provider, model and source. Concurrent merges lose nothing.

        Raises:
            TaskNotFoundError: there is no such task.
            ValidationError: an entry breaks its type or limits.
        """
        return await (self._tasks.merge_usage(id, entries) if entries else self._tasks.get(id))
