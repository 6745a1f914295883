"""The oracle as a theatre: a session waits when its backend is blocked by another one, as the server reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, cast

from tests.isolation.acting import Body, actor, gate_of
from tests.isolation.exploring import Session, Stand
from tests.oracle.engine import PostgresEngine
from tests.oracle.server import session_dsn


class PostgresSession(Session):
    """Waits when its backend is blocked by another one, as the server reports."""

    def __init__(self, name: str, engine: PostgresEngine, pid: int, control: PostgresEngine) -> None:
        super().__init__(name)
        self.engine: Final = engine
        self._pid = pid
        self._control = control

    async def hear(self) -> None:
        while self._reports.empty():
            blocked = await self._control.pool.fetchval(
                "select cardinality(pg_blocking_pids($1)) > 0", self._pid
            )
            if blocked and self._reports.empty():
                self.stand = Stand.WAITS
                return
        self.stand = self._reports.get_nowait()

    async def ask_again(self) -> None:
        await self.hear()


class PostgresTheatre:
    """The oracle; every session has one connection of its own."""

    def __init__(
        self, stack: AsyncExitStack, setup: Callable[[Any], Awaitable[None]], bodies: Mapping[str, Body]
    ) -> None:
        self._stack = stack
        self._setup = setup
        self._bodies = bodies
        self._places: dict[str, tuple[PostgresEngine, int]] = {}
        self.engine: PostgresEngine = cast(PostgresEngine, None)

    async def open(self) -> None:
        self.engine = await self._stack.enter_async_context(PostgresEngine.open(session_dsn(), connections=2))
        for name in self._bodies:
            engine = await self._stack.enter_async_context(PostgresEngine.open(session_dsn(), connections=1))
            pid = await engine.pool.fetchval("select pg_backend_pid()")
            self._places[name] = (engine, pid)

    async def set(self) -> Mapping[str, Session]:
        await self.engine.clear()
        await self._setup(actor(self.engine))
        sessions = {}
        for name, body in self._bodies.items():
            engine, pid = self._places[name]
            session = PostgresSession(name, engine, pid, self.engine)
            sessions[name] = session
            gate = gate_of(session)
            await session.begin(partial(body, actor(engine), gate))
        return sessions

    async def relieve(self) -> None:
        raise AssertionError("a deadlock: the tests of the oracle have it, schedules do not")
