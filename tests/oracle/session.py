"""Runs statements: each on its own connection of the pool, or all on the connection of one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TypeAlias

import asyncpg
import asyncpg.pool

from compozy_engine.errors import KeyweaveError

from .faults import translated

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Clock: TypeAlias = Callable[[], datetime]


class Session:
    """Runs statements and raises the contract's errors.

    Attributes:
        bound: whether the statements belong to one transaction.
        failure: the error of a refused statement. PostgreSQL aborts the transaction, so it cannot be committed, even
            if the caller caught the error.
    """

    def __init__(self, pool: Pool, clock: Clock | None, connection: Connection | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._connection = connection
        self.failure: KeyweaveError | None = None

    @property
    def bound(self) -> bool:
        return self._connection is not None

    def now(self) -> datetime | None:
        """The time of the test's clock, or None to use the database's clock."""
        return None if self._clock is None else self._clock()

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows that a statement returns."""
        with self._refusals():
            return await (self._connection or self._pool).fetch(statement, *arguments)

    async def row(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """The first row that a statement returns, or None."""
        with self._refusals():
            return await (self._connection or self._pool).fetchrow(statement, *arguments)

    async def run(self, statement: str, *arguments: object) -> int:
        """Run a statement, and return the number of affected rows."""
        with self._refusals():
            done = await (self._connection or self._pool).execute(statement, *arguments)
        number = done.rpartition(" ")[2]
        return int(number) if number.isdecimal() else 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A session whose statements are committed together or not at all; inside a transaction, this session.

        Raises:
            KeyweaveError: a statement was refused, even if the error was caught inside.
        """
        if self.bound:
            yield self
            return
        with translated():
            connection = await self._pool.acquire()
        try:
            async with connection.transaction():
                session = Session(self._pool, self._clock, connection)
                yield session
                if session.failure is not None:
                    raise session.failure
        finally:
            await self._pool.release(connection)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except KeyweaveError as error:
            self.failure = error
            raise
