"""Workflow executions, each with its tasks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from compozy_engine.family import latest_by, recast, rooted
from compozy_store import ExecutionType, Status, TaskState, UsageEntry, WorkflowState, aio
from keyweave.aio.rows import Rows

from .errors import WorkflowNotFoundError, WorkflowNotReadyError
from .filters import WorkflowFilter, given, required

TRANSFORMATION_FAILED = "OUTPUT_TRANSFORMATION_FAILED"
"""The error code of a workflow whose output transformer raised."""


class Workflow(WorkflowState, kw_only=True):
    """A workflow execution that a read returns: the fields of `WorkflowState`, and the tasks.

    Attributes:
        tasks: the newest state of each task, at every depth, by task id.
    """

    tasks: dict[str, TaskState] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, state: WorkflowState, tasks: dict[str, TaskState]) -> Workflow:
        """The workflow of a stored state and its tasks."""
        return recast(cls, state, tasks=tasks)


OutputTransformer: TypeAlias = Callable[[Workflow], Any | Awaitable[Any]]
"""Makes a workflow's output from the workflow with its tasks; None means an empty output."""


class WorkflowRepository:
    """Workflow executions. Every method may raise `StoreUnavailableError`."""

    __slots__ = ("_store", "_workflows")

    def __init__(self, store: aio.Store) -> None:
        self._store = store
        self._workflows = store.workflow_states

    async def upsert_state(self, state: WorkflowState) -> WorkflowState:
        """Insert an execution, or replace everything except `created_at`. The tasks of a `Workflow` are not written.

        Raises:
            ValidationError: a field breaks its type or limits.
        """
        if not isinstance(state, Workflow):
            return await self._workflows.upsert(state)
        written = await self._workflows.upsert(recast(WorkflowState, state))
        state.created_at, state.updated_at = written.created_at, written.updated_at
        return state

    async def update_status(self, exec_id: str, status: Status) -> WorkflowState:
        """Set the status of an execution.

        Raises:
            WorkflowNotFoundError: there is no such execution.
            ValidationError: there is no such status.
        """
        return await self._workflows.change(exec_id, lambda row: setattr(row, "status", status))

    async def get_state(self, exec_id: str) -> Workflow:
        """The execution with its tasks at every depth.

        Raises:
            WorkflowNotFoundError: there is no such execution.
        """
        return _read(*await self._workflows.get_with_task_states(exec_id))

    async def list_states(self, filter: WorkflowFilter | None = None) -> list[Workflow]:
        """The executions that match a filter, with their tasks; latest change first."""
        # From old to new: a row that changes during the read moves ahead and is read again, instead of being missed.
        rows = (
            self._workflows.where(**given(filter or WorkflowFilter())).scan().order_by("revision").reverse()
        )
        pairs = await self._workflows.with_task_states(rows).list()
        return [_read(state, tasks) for state, tasks in reversed(pairs)]

    async def get_state_by_id(self, workflow_id: str) -> Workflow:
        """The newest execution of a workflow.

        Raises:
            WorkflowNotFoundError: there is no such execution.
        """
        return await self._newest(self._of(workflow_id))

    async def get_state_by_task_id(self, workflow_id: str, task_id: str) -> Workflow:
        """The newest execution of a workflow that has a task with this id.

        Raises:
            WorkflowNotFoundError: there is no such execution.
        """
        tasks = self._store.task_states.where(**required(task_id=task_id))
        return await self._newest(self._of(workflow_id).having(tasks))

    async def get_state_by_agent_id(self, workflow_id: str, agent_id: str) -> Workflow:
        """The newest execution of a workflow that has a task with this agent.

        Raises:
            WorkflowNotFoundError: there is no such execution.
        """
        tasks = self._store.task_states.where(**required(agent_id=agent_id))
        return await self._newest(self._of(workflow_id).having(tasks))

    async def get_state_by_tool_id(self, workflow_id: str, tool_id: str) -> Workflow:
        """The newest execution of a workflow that has a task with this tool.

        Raises:
            WorkflowNotFoundError: there is no such execution.
        """
        tasks = self._store.task_states.where(**required(tool_id=tool_id))
        return await self._newest(self._of(workflow_id).having(tasks))

    async def complete_workflow(
        self, exec_id: str, output_transformer: OutputTransformer | None = None
    ) -> Workflow:
        """Complete an execution by the statuses of its top-level tasks. Atomic and idempotent: of several callers one writes.

        Args:
            output_transformer: makes the output from the stored workflow. It runs again if another writer changed
                the execution in the meantime. If it raises, the execution is FAILED with the default output and an
                error that contains the message.

        Raises:
            WorkflowNotFoundError: there is no such execution.
            WorkflowNotReadyError: a top-level task is pending or running. Nothing changed.
        """

        async def complete(transaction: aio.Transaction) -> tuple[WorkflowState, dict[str, TaskState]]:
            state, rows = await transaction.workflow_states.get_with_task_states(exec_id, for_update=True)
            rows.reverse()
            tasks = _shown(rows)
            if state.status in (Status.SUCCESS, Status.FAILED):
                return state, tasks
            newest = latest_by((task for task in rows if task.parent_state_id is None), "task_id")
            top = {task.status for task in newest.values()}
            if Status.PENDING in top or Status.RUNNING in top:
                raise WorkflowNotReadyError("WorkflowState: a top-level task is pending or running")
            # The transformer gets a copy, because it may change it.
            seen = copy.deepcopy(Workflow.of(state, tasks)) if output_transformer is not None else None
            state.status = Status.FAILED if Status.FAILED in top else Status.SUCCESS
            state.output = {name: _outcome(task) for name, task in tasks.items()}
            if output_transformer is not None and seen is not None:
                await _transform(state, seen, output_transformer)
            await transaction.workflow_states.save(state)
            return state, tasks

        # The state has its `updated_at` only after the commit.
        state, tasks = await self._store.transact(complete)
        return Workflow.of(state, tasks)

    async def merge_usage(self, exec_id: str, entries: Sequence[UsageEntry]) -> None:
        """Merge token usage into an execution, by provider, model and source. Concurrent merges lose nothing.

        Raises:
            WorkflowNotFoundError: there is no such execution.
            ValidationError: an entry breaks its type or limits.
        """
        if entries:
            await self._workflows.merge_usage(exec_id, entries)

    def _of(self, workflow_id: str) -> Rows[WorkflowState]:
        return self._workflows.where(**required(workflow_id=workflow_id))

    async def _newest(self, rows: Rows[WorkflowState]) -> Workflow:
        found = await self._workflows.with_task_states(rows).first()
        if found is None:
            raise WorkflowNotFoundError("WorkflowState: no such execution", entity="WorkflowState")
        return _read(*found)


def _read(state: WorkflowState, rows: list[TaskState]) -> Workflow:
    """The workflow of a state and its task states, latest first."""
    return Workflow.of(state, _shown(rows[::-1]))


def _shown(rows: list[TaskState]) -> dict[str, TaskState]:
    """The newest run of each task that is reached from a top-level task of the execution; `rows` are from old to new."""
    return latest_by(rooted(rows, "task_exec_id", "parent_state_id"), "task_id")


def _outcome(task: TaskState) -> dict[str, Any]:
    """The part of a workflow's default output for one task."""
    outcome: dict[str, Any] = {"output": task.output}
    if task.parent_state_id is not None:
        outcome["parent_state_id"] = task.parent_state_id
    if task.execution_type is ExecutionType.PARALLEL:
        outcome["execution_type"] = task.execution_type.value
    return outcome


async def _transform(state: WorkflowState, seen: Workflow, transformer: OutputTransformer) -> None:
    """Put the transformer's output into `state`. If the transformer fails, the workflow is FAILED."""
    try:
        output = transformer(seen)
        output = await output if inspect.isawaitable(output) else output
    except Exception as error:  # noqa: BLE001 - an application may raise any error
        state.status = Status.FAILED
        message = str(error).encode(errors="backslashreplace").decode()  # a lone surrogate cannot be stored
        state.error = {"message": message, "code": TRANSFORMATION_FAILED}
    else:
        state.output = {} if output is None else output
