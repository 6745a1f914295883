"""What `list_states` can ask for. Fields that are given are combined with AND; None asks for nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from compozy_store import ExecutionType, Status

from .errors import ValidationError


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


def required(**fields: Any) -> dict[str, Any]:
    """Fields to search by when each of them must be given: None, which filters take for any value, is refused.

    Raises:
        ValidationError: one of them is None.
    """
    for name, value in fields.items():
        if value is None:
            raise ValidationError(f"{name} is required", field=name, rule="required")
    return fields
