"""The engine's contract on PostgreSQL, as a drop-in for `compozy_engine.Engine`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from compozy_engine.errors import StoreUnavailableError

from .auth import AuthRepository
from .session import Clock, Connection, Pool, Session
from .tasks import TaskRepository
from .workflows import WorkflowRepository

_TABLES = Path(__file__).with_name("tables.sql")
_CREATION = 7_304_112
"""Number of the advisory lock that a process holds while it creates the tables."""

_LARGE = """
    select sum(pg_relation_size(name)) > 2_000_000
    from unnest(array['users', 'api_keys', 'workflow_states', 'task_states']::regclass[]) as name
"""
_TRUNCATE = "truncate users, api_keys, workflow_states, task_states"
_DELETE = """
    set local session_replication_role = replica;  -- every table is emptied, so no cascade is needed
    delete from task_states;
    delete from workflow_states;
    delete from api_keys;
    delete from users;
"""


class PostgresEngine:
    """The repositories on one connection pool.

    Attributes:
        auth: users and API keys.
        workflows: executions with their tasks.
        tasks: task states.
        pool: the connections.
    """

    def __init__(self, pool: Pool, clock: Clock | None = None) -> None:
        session = Session(pool, clock)
        self.pool = pool
        self.auth = AuthRepository(session)
        self.workflows = WorkflowRepository(session)
        self.tasks = TaskRepository(session)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, dsn: str, *, clock: Clock | None = None, connections: int = 10, keep_open: int = 1
    ) -> AsyncIterator[PostgresEngine]:
        """Connect, create missing tables, and close the connections at the end.

        Args:
            clock: gives `created_at`, `updated_at` and `last_used`; the database's clock does by default.
            connections: at most this many.
            keep_open: connect this many at once.

        Raises:
            StoreUnavailableError: the server cannot be reached.
        """
        try:
            pool = await asyncpg.create_pool(dsn, min_size=keep_open, max_size=connections, reset=_as_it_is)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailableError(f"PostgreSQL: {error}") from error
        try:
            async with pool.acquire() as connection:
                await _create_tables(connection)
            yield cls(pool, clock)
        finally:
            await pool.close()

    async def clear(self) -> None:
        """Delete every row: from small tables with DELETE, which is faster, from large ones with TRUNCATE."""
        large = await self.pool.fetchval(_LARGE)
        await self.pool.execute(_TRUNCATE if large else _DELETE)


async def _create_tables(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _CREATION)
        if await connection.fetchval("select to_regclass('task_states') is null"):
            await connection.execute(_TABLES.read_text(encoding="utf-8"))


async def _as_it_is(connection: object) -> None:
    """Release a connection without the driver's RESET ALL: the product's driver does not make that round trip either."""
