"""The oracle's tables as mapped classes, and rows as the contract's records."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, DateTime, FetchedValue, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from compozy_store import (
    APIKey,
    Component,
    ExecutionType,
    Role,
    Status,
    TaskState,
    UsageEntry,
    User,
    WorkflowState,
)
from keyweave.document.compact import compact

_DATABASE = FetchedValue()


class Table(DeclarativeBase):
    """Parent of the mapped classes."""

    type_annotation_map = {str: Text, datetime: DateTime(timezone=True), int: BigInteger}  # noqa: RUF012


class UserRow(Table):
    """A row of users."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=_DATABASE)
    seq: Mapped[int] = mapped_column(server_default=_DATABASE)

    def record(self) -> User:
        """The contract's record."""
        return User(id=self.id, email=self.email, role=Role(self.role), created_at=self.created_at)


class KeyRow(Table):
    """A row of api_keys."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    hash: Mapped[bytes]
    fingerprint: Mapped[bytes]
    prefix: Mapped[str]
    last_used: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_DATABASE)
    seq: Mapped[int] = mapped_column(server_default=_DATABASE)

    def record(self) -> APIKey:
        """The contract's record."""
        return APIKey(**{name: getattr(self, name) for name in APIKey.__struct_fields__})


class _State:
    """Columns that workflow and task states share. SQL's null is the absence of a value, never JSON's."""

    workflow_id: Mapped[str]
    status: Mapped[str]
    usage: Mapped[Any] = mapped_column(JSONB(none_as_null=True))
    input: Mapped[Any] = mapped_column(JSONB(none_as_null=True))
    output: Mapped[Any] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[Any] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(server_default=_DATABASE)
    updated_at: Mapped[datetime] = mapped_column(server_default=_DATABASE)
    seq: Mapped[int] = mapped_column(server_default=_DATABASE)
    touched: Mapped[int] = mapped_column(server_default=_DATABASE)

    @property
    def entries(self) -> list[UsageEntry] | None:
        """What was used."""
        return None if self.usage is None else msgspec.convert(self.usage, list[UsageEntry])


class WorkflowRow(_State, Table):
    """A row of workflow_states."""

    __tablename__ = "workflow_states"
    workflow_exec_id: Mapped[str] = mapped_column(primary_key=True)

    def record(self) -> WorkflowState:
        """The contract's record."""
        return WorkflowState(
            workflow_exec_id=self.workflow_exec_id,
            workflow_id=self.workflow_id,
            status=Status(self.status),
            usage=self.entries,
            input=self.input,
            output=self.output,
            error=self.error,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class TaskRow(_State, Table):
    """A row of task_states."""

    __tablename__ = "task_states"
    task_exec_id: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str]
    workflow_exec_id: Mapped[str]
    component: Mapped[str]
    execution_type: Mapped[str]
    parent_state_id: Mapped[str | None]
    agent_id: Mapped[str | None]
    action_id: Mapped[str | None]
    tool_id: Mapped[str | None]

    def record(self) -> TaskState:
        """The contract's record."""
        return TaskState(
            task_exec_id=self.task_exec_id,
            task_id=self.task_id,
            workflow_exec_id=self.workflow_exec_id,
            workflow_id=self.workflow_id,
            component=Component(self.component),
            status=Status(self.status),
            execution_type=ExecutionType(self.execution_type),
            parent_state_id=self.parent_state_id,
            agent_id=self.agent_id,
            action_id=self.action_id,
            tool_id=self.tool_id,
            usage=self.entries,
            input=self.input,
            output=self.output,
            error=self.error,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


def columns(record: WorkflowState | TaskState) -> dict[str, Any]:
    """The columns of a record, without those that the database sets."""
    values = {name: getattr(record, name) for name in type(record).__struct_fields__}
    del values["created_at"], values["updated_at"]
    if record.usage is not None:
        values["usage"] = msgspec.to_builtins(compact(record.usage))
    return values
