"""Workflow executions by SQLAlchemy."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from compozy_engine.errors import WorkflowNotFoundError, WorkflowNotReadyError
from compozy_engine.filters import WorkflowFilter
from compozy_engine.workflows import OutputTransformer, Workflow
from compozy_store import ExecutionType, Status, TaskState, UsageEntry, WorkflowState

from .auth import Sessions
from .tables import TaskRow, WorkflowRow
from .writing import change, merge, upsert


class WorkflowRepository:
    """Workflow executions."""

    def __init__(self, single: Sessions, several: Sessions) -> None:
        self._single = single
        self._several = several

    async def upsert_state(self, state: WorkflowState) -> WorkflowState:
        async with self._single() as session:
            await upsert(session, WorkflowRow, state)
        return state

    async def update_status(self, exec_id: str, status: Status) -> WorkflowState:
        async with self._single() as session:
            key = WorkflowRow.workflow_exec_id
            row = _found(await change(session, WorkflowRow, key, exec_id, status=status.value))
            return row.record()

    async def get_state(self, exec_id: str) -> Workflow:
        async with self._single() as session:
            row = await session.scalar(select(WorkflowRow).where(WorkflowRow.workflow_exec_id == exec_id))
            return (await _with_tasks(session, [_found(row)]))[0]

    async def list_states(self, filter: WorkflowFilter | None = None) -> list[Workflow]:  # noqa: A002
        wanted = msgspec.structs.asdict(filter or WorkflowFilter())
        given = {name: value for name, value in wanted.items() if value is not None}
        statement = select(WorkflowRow).filter_by(**given)
        async with self._single() as session:
            rows = await session.scalars(
                statement.order_by(WorkflowRow.updated_at.desc(), WorkflowRow.touched.desc())
            )
            return await _with_tasks(session, rows.all())

    async def get_state_by_id(self, workflow_id: str) -> Workflow:
        return await self._newest(workflow_id)

    async def get_state_by_task_id(self, workflow_id: str, task_id: str) -> Workflow:
        return await self._newest(workflow_id, TaskRow.task_id == task_id)

    async def get_state_by_agent_id(self, workflow_id: str, agent_id: str) -> Workflow:
        return await self._newest(workflow_id, TaskRow.agent_id == agent_id)

    async def get_state_by_tool_id(self, workflow_id: str, tool_id: str) -> Workflow:
        return await self._newest(workflow_id, TaskRow.tool_id == tool_id)

    async def complete_workflow(
        self, exec_id: str, output_transformer: OutputTransformer | None = None
    ) -> Workflow:
        async with self._several.begin() as session:
            key = WorkflowRow.workflow_exec_id
            locked = select(WorkflowRow).where(key == exec_id).with_for_update()
            workflow = (await _with_tasks(session, [_found(await session.scalar(locked))]))[0]
            if workflow.status in (Status.SUCCESS, Status.FAILED):
                return workflow
            top = await session.scalars(
                select(TaskRow.status)
                .ext(distinct_on(TaskRow.task_id))
                .where(TaskRow.workflow_exec_id == exec_id, TaskRow.parent_state_id.is_(None))
                .order_by(TaskRow.task_id, TaskRow.created_at.desc(), TaskRow.seq.desc())
            )
            outcomes = {Status(each) for each in top}
            if outcomes & {Status.PENDING, Status.RUNNING}:
                raise WorkflowNotReadyError("a top-level task is pending or running")
            status = Status.FAILED if Status.FAILED in outcomes else Status.SUCCESS
            values: dict[str, Any] = {"output": _outputs(workflow.tasks)}
            if output_transformer is not None:
                try:
                    made = output_transformer(workflow)
                    made = await made if inspect.isawaitable(made) else made
                    values["output"] = {} if made is None else made
                except Exception as failure:  # noqa: BLE001 - whatever an application's callable raises
                    status = Status.FAILED
                    values["error"] = {"message": str(failure), "code": "OUTPUT_TRANSFORMATION_FAILED"}
            row = await change(session, WorkflowRow, key, exec_id, status=status.value, **values)
            return Workflow.of(row.record(), workflow.tasks)

    async def merge_usage(self, exec_id: str, entries: Sequence[UsageEntry]) -> None:
        if not entries:
            return
        async with self._several.begin() as session:
            _found(await merge(session, WorkflowRow, WorkflowRow.workflow_exec_id, exec_id, entries))

    async def _newest(self, workflow_id: str, task: ColumnElement[bool] | None = None) -> Workflow:
        statement = select(WorkflowRow).where(WorkflowRow.workflow_id == workflow_id)
        if task is not None:
            of = TaskRow.workflow_exec_id == WorkflowRow.workflow_exec_id
            statement = statement.where(select(TaskRow.task_exec_id).where(of, task).exists())
        async with self._single() as session:
            row = await session.scalar(
                statement.order_by(WorkflowRow.created_at.desc(), WorkflowRow.seq.desc()).limit(1)
            )
            return (await _with_tasks(session, [_found(row)]))[0]


def _found(row: WorkflowRow | None) -> WorkflowRow:
    if row is None:
        raise WorkflowNotFoundError("WorkflowState: not found", entity="WorkflowState")
    return row


async def _with_tasks(session: AsyncSession, rows: Sequence[WorkflowRow]) -> list[Workflow]:
    """The rows with their tasks at every depth, which one recursive statement reads for all of them."""
    tasks: dict[str, dict[str, TaskState]] = {row.workflow_exec_id: {} for row in rows}
    if rows:
        tree = (
            select(TaskRow)
            .where(TaskRow.workflow_exec_id.in_(list(tasks)), TaskRow.parent_state_id.is_(None))
            .cte("tree", recursive=True)
        )
        child = aliased(TaskRow)
        below = select(child).join(
            tree,
            (child.parent_state_id == tree.c.task_exec_id)
            & (child.workflow_exec_id == tree.c.workflow_exec_id),
        )
        found = aliased(TaskRow, tree.union_all(below))
        newest = (
            select(found)
            .ext(distinct_on(found.workflow_exec_id, found.task_id))
            .order_by(found.workflow_exec_id, found.task_id, found.created_at.desc(), found.seq.desc())
        )
        for task in await session.scalars(newest):
            tasks[task.workflow_exec_id][task.task_id] = task.record()
    return [Workflow.of(row.record(), tasks[row.workflow_exec_id]) for row in rows]


def _outputs(tasks: dict[str, TaskState]) -> dict[str, dict[str, Any]]:
    outputs: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        outputs[name] = {"output": task.output}
        if task.parent_state_id is not None:
            outputs[name]["parent_state_id"] = task.parent_state_id
        if task.execution_type is ExecutionType.PARALLEL:
            outputs[name]["execution_type"] = "parallel"
    return outputs
