"""What `list_states` can ask for. Fields that are given are combined with AND; None asks for nothing."""

from __future__ import annotations

import msgspec

from compozy_store import ExecutionType, Status


class WorkflowFilter(msgspec.Struct, frozen=True):
    """Which executions to list."""

    status: Status | None = None
    workflow_id: str | None = None
    workflow_exec_id: str | None = None


class TaskFilter(msgspec.Struct, frozen=True):
    """Which task states to list."""

    status: Status | None = None
    workflow_id: str | None = None
    workflow_exec_id: str | None = None
    task_id: str | None = None
    task_exec_id: str | None = None
    parent_state_id: str | None = None
    agent_id: str | None = None
    action_id: str | None = None
    tool_id: str | None = None
    execution_type: ExecutionType | None = None
