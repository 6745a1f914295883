"""Deleting executions and tasks, which the contract has no method for, on either engine."""

from __future__ import annotations

from typing import Any, Final

from compozy_engine import Engine
from compozy_engine.tasks import TaskRepository
from tests.oracle.engine import PostgresEngine

_KEYS: Final = {"workflow_states": "workflow_exec_id", "task_states": "task_exec_id"}


async def remove(target: Any, kind: str, key: str) -> bool:
    """Delete the row `key` with all that refers to it; whether it was there.

    Args:
        target: an engine, or the task repository of a transaction.
        kind: `workflow_states` or `task_states`.
    """
    if isinstance(target, Engine):
        return bool(await getattr(target.store, kind).discard(key))
    if isinstance(target, TaskRepository):
        return bool(await getattr(target._place, kind).discard(key))
    session = target.tasks._session if isinstance(target, PostgresEngine) else target._session
    return bool(await session.run(f"delete from {kind} where {_KEYS[kind]} = $1", key))
