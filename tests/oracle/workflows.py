"""Workflow executions on PostgreSQL, each with its tasks."""

# ruff: noqa: A002 - the contract sets the names of arguments

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from compozy_engine.errors import WorkflowNotFoundError, WorkflowNotReadyError
from compozy_engine.filters import WorkflowFilter
from compozy_engine.workflows import OutputTransformer, Workflow
from compozy_store import ExecutionType, Status, TaskState, UsageEntry, WorkflowState

from .rows import (
    TASK_COLUMNS,
    Row,
    arguments,
    checked,
    checked_status,
    json_text,
    task_of,
    usage_text,
    workflow_of,
)
from .session import Session
from .upserting import UPSERT_WORKFLOW, update
from .usage import merged

_COLUMNS = ", ".join(TASK_COLUMNS)
_TASKS = f"""
    with recursive tree as (
        select {_COLUMNS}, seq from task_states where workflow_exec_id = any($1) and parent_state_id is null
        union all
        select {", ".join(f"child.{name}" for name in TASK_COLUMNS)}, child.seq
        from task_states as child
        join tree on child.parent_state_id = tree.task_exec_id and child.workflow_exec_id = tree.workflow_exec_id
    )
    select distinct on (workflow_exec_id, task_id) {_COLUMNS}
    from tree
    order by workflow_exec_id, task_id, created_at desc, seq desc
"""
_NEWEST = "order by w.created_at desc, w.seq desc limit 1"
_HAVING = """
    select w.* from workflow_states as w
    where w.workflow_id = $1 and exists (
        select from task_states as t where t.workflow_exec_id = w.workflow_exec_id and t.{column} = $2
    )
"""
_TOP = """
    select distinct on (task_id) status
    from task_states
    where workflow_exec_id = $1 and parent_state_id is null
    order by task_id, created_at desc, seq desc
"""
_UPDATE_STATUS = update("workflow_states", "workflow_exec_id", status="$3")
_COMPLETE = update(
    "workflow_states", "workflow_exec_id", status="$3", output="$4", error="coalesce($5::jsonb, error)"
)
_UPDATE_USAGE = update("workflow_states", "workflow_exec_id", usage="$3")
_LOCK = "select * from workflow_states where workflow_exec_id = $1 for update"


class WorkflowRepository:
    """Workflow executions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def upsert_state(self, state: WorkflowState) -> WorkflowState:
        plain = WorkflowState(**{name: getattr(state, name) for name in WorkflowState.__struct_fields__})
        row = await self._session.row(UPSERT_WORKFLOW, *arguments(checked(plain)), self._session.now())
        assert row is not None
        state.created_at, state.updated_at = row["created_at"], row["updated_at"]
        return state

    async def update_status(self, exec_id: str, status: Status) -> WorkflowState:
        row = await self._session.row(_UPDATE_STATUS, exec_id, self._session.now(), checked_status(status))
        return workflow_of(_found(row, exec_id))

    async def get_state(self, exec_id: str) -> Workflow:
        row = await self._session.row("select * from workflow_states where workflow_exec_id = $1", exec_id)
        return (await _with_tasks(self._session, [_found(row, exec_id)]))[0]

    async def list_states(self, filter: WorkflowFilter | None = None) -> list[Workflow]:
        wanted = msgspec.structs.asdict(filter or WorkflowFilter())
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = [f"{name} = ${number}" for number, name in enumerate(given, 1)]
        where = f"where {' and '.join(conditions)}" if conditions else ""
        rows = await self._session.rows(
            f"select * from workflow_states {where} order by updated_at desc, touched desc", *given.values()
        )
        return await _with_tasks(self._session, rows)

    async def get_state_by_id(self, workflow_id: str) -> Workflow:
        return await self._newest(
            "select w.* from workflow_states as w where w.workflow_id = $1", workflow_id
        )

    async def get_state_by_task_id(self, workflow_id: str, task_id: str) -> Workflow:
        return await self._newest(_HAVING.format(column="task_id"), workflow_id, task_id)

    async def get_state_by_agent_id(self, workflow_id: str, agent_id: str) -> Workflow:
        return await self._newest(_HAVING.format(column="agent_id"), workflow_id, agent_id)

    async def get_state_by_tool_id(self, workflow_id: str, tool_id: str) -> Workflow:
        return await self._newest(_HAVING.format(column="tool_id"), workflow_id, tool_id)

    async def complete_workflow(
        self, exec_id: str, output_transformer: OutputTransformer | None = None
    ) -> Workflow:
        async with self._session.transaction() as session:
            row = _found(await session.row(_LOCK, exec_id), exec_id)
            workflow = (await _with_tasks(session, [row]))[0]
            if workflow.status in (Status.SUCCESS, Status.FAILED):
                return workflow
            status = _outcome({Status(each["status"]) for each in await session.rows(_TOP, exec_id)})
            output: Any = _outputs(workflow.tasks)
            error = None
            if output_transformer is not None:
                try:
                    made = output_transformer(copy.deepcopy(workflow))
                    made = await made if inspect.isawaitable(made) else made
                    output = {} if made is None else made
                except Exception as failure:  # noqa: BLE001 - an application may raise any error
                    status = Status.FAILED
                    message = str(failure).encode(errors="backslashreplace").decode()
                    error = {"message": message, "code": "OUTPUT_TRANSFORMATION_FAILED"}
            written = await session.row(
                _COMPLETE, exec_id, session.now(), status.value, json_text(output), json_text(error)
            )
            return Workflow.of(workflow_of(_found(written, exec_id)), workflow.tasks)

    async def merge_usage(self, exec_id: str, entries: Sequence[UsageEntry]) -> None:
        if not entries:
            return
        async with self._session.transaction() as session:
            state = workflow_of(_found(await session.row(_LOCK, exec_id), exec_id))
            usage = merged(state.usage or (), entries)
            await session.row(_UPDATE_USAGE, exec_id, session.now(), usage_text(usage))

    async def _newest(self, statement: str, *keys: str) -> Workflow:
        row = _found(await self._session.row(f"{statement} {_NEWEST}", *keys), keys[0])
        return (await _with_tasks(self._session, [row]))[0]


async def _with_tasks(session: Session, rows: Sequence[Row]) -> list[Workflow]:
    """The workflows of rows, with their tasks, which are read by one statement."""
    tasks: dict[str, dict[str, TaskState]] = {row["workflow_exec_id"]: {} for row in rows}
    for row in await session.rows(_TASKS, list(tasks)) if rows else ():
        tasks[row["workflow_exec_id"]][row["task_id"]] = task_of(row)
    return [Workflow.of(workflow_of(row), tasks[row["workflow_exec_id"]]) for row in rows]


def _found(row: Row | None, key: str) -> Row:
    if row is None:
        raise WorkflowNotFoundError("WorkflowState: not found", entity="WorkflowState", key=key)
    return row


def _outcome(top: set[Status]) -> Status:
    """The final status of a workflow whose top-level tasks have these statuses."""
    if top & {Status.PENDING, Status.RUNNING}:
        raise WorkflowNotReadyError("a top-level task is pending or running")
    return Status.FAILED if Status.FAILED in top else Status.SUCCESS


def _outputs(tasks: dict[str, TaskState]) -> dict[str, dict[str, Any]]:
    outputs: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        outputs[name] = {"output": task.output}
        if task.parent_state_id is not None:
            outputs[name]["parent_state_id"] = task.parent_state_id
        if task.execution_type is ExecutionType.PARALLEL:
            outputs[name]["execution_type"] = "parallel"
    return outputs
