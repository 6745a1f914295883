"""Records to rows and rows to records. Both directions follow the contract, without Keyweave's encoding."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg
import msgspec

from compozy_engine.errors import ValidationError
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

R = TypeVar("R", User, APIKey, WorkflowState, TaskState)
Row = asyncpg.Record

JSON = ("input", "output", "error")
MANAGED = ("created_at", "updated_at")
WORKFLOW_COLUMNS = WorkflowState.__struct_fields__
TASK_COLUMNS = TaskState.__struct_fields__

_EXPONENT = re.compile(r"\d[eE][+-]?\d")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE][+-]?\d+')


def checked(record: R) -> R:
    """The copy of a record that is stored, without managed fields. The usage of `record` itself is normalized.

    Raises:
        ValidationError: a field breaks its type or limits.
    """
    kind = type(record)
    for entry in getattr(record, "usage", None) or ():
        tidy(entry)
    plain = {name: getattr(record, name) for name in kind.__struct_fields__ if name not in (*JSON, *MANAGED)}
    try:
        copy = msgspec.convert(msgspec.to_builtins(plain), type=kind)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ValidationError(f"{kind.__name__}: {error}", entity=kind.__name__) from error
    for name in JSON:
        if name in kind.__struct_fields__:
            setattr(copy, name, getattr(record, name))
    return copy


def checked_status(status: Status) -> str:
    """The text of a status. Raises ValidationError for any other value."""
    try:
        return Status(status).value
    except ValueError as error:
        raise ValidationError(f"status: {error}", field="status") from error


def checked_usage(entry: UsageEntry) -> UsageEntry:
    """A normalized copy of a usage entry. Raises ValidationError if it breaks its type or limits."""
    try:
        copy = msgspec.structs.replace(entry)
        tidy(copy)
        return msgspec.convert(msgspec.to_builtins(copy), type=UsageEntry)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ValidationError(f"usage: {error}", field="usage") from error


def tidy(entry: UsageEntry) -> None:
    """Trim provider and model, and replace a total of zero by the sum of prompt and completion tokens, in place."""
    try:
        entry.provider, entry.model = entry.provider.strip(), entry.model.strip()
        entry.total_tokens = entry.total_tokens or entry.prompt_tokens + entry.completion_tokens
    except (AttributeError, TypeError) as error:
        raise ValidationError(f"usage: {error}", field="usage") from error


def arguments(record: WorkflowState | TaskState) -> list[object]:
    """The columns of a checked record, without the managed columns, as arguments of a statement."""
    return [_argument(record, name) for name in type(record).__struct_fields__ if name not in MANAGED]


def _argument(record: WorkflowState | TaskState, name: str) -> object:
    value = getattr(record, name)
    if name == "usage":
        return usage_text(value)
    return json_text(value) if name in JSON else value


def json_text(value: object) -> str | None:
    """A value for a jsonb column; None is stored as null.

    Raises:
        ValidationError: the value is not JSON.
    """
    return None if value is None else _write(value)


def json_value(text: str | None) -> Any:
    """The value of a jsonb column."""
    return None if text is None else _read(text)


@contextmanager
def json_by(write: Callable[[Any], str], read: Callable[[str], Any]) -> Iterator[None]:
    """Use another JSON encoder and decoder inside: benchmarks use a fast one, which is exact for their plain values."""
    global _write, _read
    before, (_write, _read) = (_write, _read), (write, read)
    try:
        yield
    finally:
        _write, _read = before


def _exact_text(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"not JSON: {error}") from error
    return _TOKEN.sub(_without_exponent, text) if _EXPONENT.search(text) else text


_write: Callable[[Any], str] = _exact_text
_read: Callable[[str], Any] = json.loads


def usage_text(entries: list[UsageEntry] | None) -> str | None:
    """Usage for a jsonb column; an empty list is not null."""
    return None if entries is None else _write(msgspec.to_builtins(entries))


def usage_value(text: str | None) -> list[UsageEntry] | None:
    """The value of a usage column."""
    return None if text is None else msgspec.convert(_read(text), type=list[UsageEntry])


def user_of(row: Row) -> User:
    """A row of users."""
    return User(id=row["id"], email=row["email"], role=Role(row["role"]), created_at=row["created_at"])


def api_key_of(row: Row) -> APIKey:
    """A row of api_keys."""
    return APIKey(**{name: row[name] for name in APIKey.__struct_fields__})


def workflow_of(row: Row) -> WorkflowState:
    """A row of workflow_states."""
    return WorkflowState(
        workflow_exec_id=row["workflow_exec_id"],
        workflow_id=row["workflow_id"],
        status=Status(row["status"]),
        **_common(row),
    )


def task_of(row: Row) -> TaskState:
    """A row of task_states."""
    return TaskState(
        task_exec_id=row["task_exec_id"],
        task_id=row["task_id"],
        workflow_exec_id=row["workflow_exec_id"],
        workflow_id=row["workflow_id"],
        component=Component(row["component"]),
        status=Status(row["status"]),
        execution_type=ExecutionType(row["execution_type"]),
        parent_state_id=row["parent_state_id"],
        agent_id=row["agent_id"],
        action_id=row["action_id"],
        tool_id=row["tool_id"],
        **_common(row),
    )


def _common(row: Row) -> dict[str, Any]:
    return {
        "usage": usage_value(row["usage"]),
        **{name: json_value(row[name]) for name in JSON},
        **{name: row[name] for name in MANAGED},
    }


def _without_exponent(token: re.Match[str]) -> str:
    """A number without an exponent and with a point, so that jsonb keeps it a float; text is not changed."""
    text = token[0]
    if text.startswith('"'):
        return text
    digits = format(Decimal(text), "f")
    return digits if "." in digits else f"{digits}.0"
