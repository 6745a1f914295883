"""Statements that both states share: upsert, update of one row, merging of usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from compozy_store import TaskState, UsageEntry, WorkflowState
from keyweave.document.compact import compact
from tests.oracle.usage import merged

from .tables import TaskRow, WorkflowRow, columns

_TOUCH = {"updated_at": func.clock_timestamp(), "touched": func.nextval("touches")}


async def upsert(
    session: AsyncSession, table: type[WorkflowRow | TaskRow], state: WorkflowState | TaskState
) -> None:
    """INSERT … ON CONFLICT DO UPDATE of everything but created_at; the state learns its times."""
    values = columns(state)
    key = next(iter(values))
    statement = insert(table).values(values)
    replaced: dict[str, Any] = {name: statement.excluded[name] for name in values if name != key}
    times = await session.execute(
        statement.on_conflict_do_update(index_elements=[key], set_=replaced | _TOUCH).returning(
            table.created_at, table.updated_at
        )
    )
    state.created_at, state.updated_at = times.one()


async def change(
    session: AsyncSession, table: type[Any], key: InstrumentedAttribute[str], value: str, **values: Any
) -> Any:
    """UPDATE of one row, which is returned, or None."""
    statement = update(table).where(key == value).values(values | _TOUCH).returning(table)
    return await session.scalar(
        statement, execution_options={"synchronize_session": False, "populate_existing": True}
    )


async def merge(
    session: AsyncSession,
    table: type[Any],
    key: InstrumentedAttribute[str],
    value: str,
    entries: Sequence[UsageEntry],
) -> Any:
    """Lock a row, merge its usage and write it; the row, or None."""
    row = await session.scalar(select(table).where(key == value).with_for_update())
    if row is None:
        return None
    usage = msgspec.to_builtins(compact(merged(row.entries or (), entries)))
    return await change(session, table, key, value, usage=usage)
