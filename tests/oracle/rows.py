"""Records as rows and rows as records. Both ways are written from the contract, without Keyweave's encoding."""

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
    """A copy of a record as it is to be stored, without managed fields; usage is tidied on `record` itself.

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
    """A status as text. Raises ValidationError for any other value."""
    try:
        return Status(status).value
    except ValueError as error:
        raise ValidationError(f"status: {error}", field="status") from error


def checked_usage(entry: UsageEntry) -> UsageEntry:
    """A tidy copy of a usage entry. Raises ValidationError when it breaks its type or limits."""
    try:
        copy = msgspec.structs.replace(entry)
        tidy(copy)
        return msgspec.convert(msgspec.to_builtins(copy), type=UsageEntry)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ValidationError(f"usage: {error}", field="usage") from error


def tidy(entry: UsageEntry) -> None:
    """Trim provider and model, and make a total of zero the sum of prompt and completion, in place."""
    try:
        entry.provider, entry.model = entry.provider.strip(), entry.model.strip()
        entry.total_tokens = entry.total_tokens or entry.prompt_tokens + entry.completion_tokens
    except (AttributeError, TypeError) as error:
        raise ValidationError(f"usage: {error}", field="usage") from error


def arguments(record: WorkflowState | TaskState) -> list[object]:
    """The columns of a checked record, except the managed ones, as arguments of a statement."""
    return [_argument(record, name) for name in type(record).__struct_fields__ if name not in MANAGED]


def _argument(record: WorkflowState | TaskState, name: str) -> object:
    value = getattr(record, name)
    if name == "usage":
        return usage_text(value)
    return json_text(value) if name in JSON else value


def json_text(value: object) -> str | None:
    """A value for jsonb; None is the absence of one.

    Raises:
        ValidationError: it is no JSON.
    """
    return None if value is None else _write(value)


def json_value(text: str | None) -> Any:
    """What a column of jsonb holds."""
    return None if text is None else _read(text)


@contextmanager
def json_by(write: Callable[[Any], str], read: Callable[[str], Any]) -> Iterator[None]:
    """Write and read JSON in another way inside: benchmarks want a fast one, and know that their values are plain."""
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
    """Usage for jsonb; an empty list is not None."""
    return None if entries is None else _write(msgspec.to_builtins(entries))


def usage_value(text: str | None) -> list[UsageEntry] | None:
    """What a column of usage holds."""
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
    """A number written out, with a point, so that jsonb keeps it a float; text stays as it is."""
    text = token[0]
    if text.startswith('"'):
        return text
    digits = format(Decimal(text), "f")
    return digits if "." in digits else f"{digits}.0"
