"""Filling stores with many rows, in the same order everywhere: Keyweave by plans of many rows, PostgreSQL by COPY.

Only loading goes below the public names: a row at a time would take a quarter of an hour for a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from compozy_engine import Engine
from compozy_store import PACKAGE, TaskState, WorkflowState
from keyweave.changes.change import Change
from keyweave.commit.commit import commit
from keyweave.effects import Flow
from keyweave.store.context import Context
from tests.oracle.engine import PostgresEngine
from tests.oracle.rows import arguments
from tools.bench.data import Data, Family

T = TypeVar("T")

Advance = Callable[[int], None]
"""Called with the number of executions that were loaded since the last call."""

_AT_ONCE: Final = 20
"""Executions in one plan: some 200 rows, so that other clients of the server never wait long."""

_COPIED: Final = 2_000
_MANAGED: Final = {"created_at", "updated_at", "last_used"}


async def load_keyweave(engine: Engine, data: Data, advance: Advance) -> None:
    """Fill an empty namespace."""
    session = engine.store.session
    for user, keys in data.accounts():
        await session.run(_insert(session.context, [user, *keys]))
    for families in _batches(data.families(), _AT_ONCE):
        await session.run(_insert(session.context, _flat(families)))
        advance(len(families))


def _insert(context: Context, records: Sequence[Any]) -> Flow[None]:
    """Insert rows of one group by one plan: references between them hold because they come together."""
    changes = []
    for record in records:
        entity = PACKAGE.entities[type(record).__name__]
        prepared = context.codec(entity).prepare(record, None)
        changes.append(
            Change(
                entity,
                prepared.key,
                old=None,
                old_entries=[],
                prepared=prepared,
                record=record,
                guard="absent",
            )
        )
    refusal = yield from commit(context, changes)
    assert refusal is None, "the namespace is not empty"


async def load_postgres(engine: PostgresEngine, data: Data, advance: Advance) -> None:
    """Fill empty tables, and let the planner learn about them as autovacuum would."""
    async with engine.pool.acquire() as connection:
        accounts = list(data.accounts())
        await copy_records(connection, "users", [user for user, _ in accounts])
        await copy_records(connection, "api_keys", [key for _, keys in accounts for key in keys])
        for families in _batches(data.families(), _COPIED):
            await copy_records(connection, "workflow_states", [workflow for workflow, _ in families])
            await copy_records(connection, "task_states", [task for _, tasks in families for task in tasks])
            advance(len(families))
        await connection.execute("vacuum analyze")
        await connection.execute("checkpoint")


async def copy_records(connection: Any, table: str, records: Sequence[Any]) -> None:
    """Copy records of one entity into a table of the contract, without the values that the store sets."""
    if records:
        columns = [name for name in type(records[0]).__struct_fields__ if name not in _MANAGED]
        await connection.copy_records_to_table(
            table, records=[_columns(record, columns) for record in records], columns=columns
        )


def _columns(record: Any, columns: Sequence[str]) -> tuple[object, ...]:
    if isinstance(record, WorkflowState | TaskState):
        return tuple(arguments(record))
    return tuple(getattr(record, name) for name in columns)


def _flat(families: Iterable[Family]) -> list[Any]:
    return [record for workflow, tasks in families for record in (workflow, *tasks)]


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
