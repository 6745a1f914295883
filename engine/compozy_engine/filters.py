"""Filters of `list_states`. Fields with a value are combined with AND; a field that is None is not compared."""

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


def given(filter: WorkflowFilter | TaskFilter) -> dict[str, Any]:
    """The fields of a filter that have a value. In a search, None would ask for null."""
    return {name: value for name, value in msgspec.structs.asdict(filter).items() if value is not None}


def required(**fields: Any) -> dict[str, Any]:
    """The fields of a search in which every field must have a value.

    Raises:
        ValidationError: a field is None, for which a search would find the rows in which it is null.
    """
    for name, value in fields.items():
        if value is None:
            raise ValidationError(f"{name} is required", field=name, rule="required")
    return fields
