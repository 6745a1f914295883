"""The sides of a comparison: the same repositories on different stores, each with the same calls.

A side makes one timed call at a time; what a case prepares is not timed. Sides on one server share its data, so
every writing case prepares its rows anew for each of them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from compozy_engine import Engine
from keyweave.store.recent import Recent
from tests.oracle.engine import PostgresEngine
from tools.bench.case import Case, Turn

VALKEY: Final = "keyweave-valkey"
REDIS8: Final = "keyweave-redis8"
ALWAYS: Final = "keyweave-valkey-always"
POSTGRES: Final = "postgresql"
RELAXED: Final = "postgresql-relaxed"
ALCHEMY: Final = "sqlalchemy"
BARE_VALKEY: Final = "bare-valkey"
BARE_REDIS8: Final = "bare-redis8"
WIRE_VALKEY: Final = "wire-valkey"
WIRE_REDIS8: Final = "wire-redis8"

BARE_OF: Final = {VALKEY: BARE_VALKEY, REDIS8: BARE_REDIS8}
WIRE_OF: Final = {VALKEY: WIRE_VALKEY, REDIS8: WIRE_REDIS8}
"""What sends the bytes of a side."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The nanoseconds and the result of a timed call."""

    took: int
    result: Any


class Rows(Protocol):
    """Removes rows where the contract has no method for it."""

    async def forget(self, workflows: Sequence[str] = (), tasks: Sequence[str] = ()) -> None:
        """Remove executions with their tasks, and single tasks, where they are there."""

    def estrange(self, entity: str, key: str) -> None:
        """Forget a row, as if another process had written it."""

    def begin_anew(self) -> None:
        """Forget every row, for an engine behind whose back rows were written."""


class Side:
    """A store under the names of the contract.

    Attributes:
        name: how reports call it.
        engine: `auth`, `workflows` and `tasks`.
        rows: see `Rows`.
    """

    preparing = 8
    """How many calls can be prepared at once."""

    def __init__(self, name: str, engine: Any, rows: Rows) -> None:
        self.name = name
        self.engine = engine
        self.rows = rows

    async def once(self, case: Case, turn: Turn) -> Outcome:
        """Prepare a call and time it.

        What was prepared has warmed this side's path through caches that the side before it emptied. A read, which
        needs no preparing, is made once before it is timed.
        """
        if case.writes:
            self.rows.begin_anew()  # senders of bare bytes wrote the same rows since the turn before
        arguments = await case.prepare(self, turn)
        target = case.target(self.engine)
        if not case.writes:
            await target(*arguments)
        started = time.perf_counter_ns()
        result = await target(*arguments)
        return Outcome(time.perf_counter_ns() - started, result)

    async def ready(self, case: Case, turn: Turn) -> Callable[[], Awaitable[Any]]:
        """Prepare a call, and return the function that makes it."""
        return partial(case.target(self.engine), *await case.prepare(self, turn))

    async def observed(self, case: Case, turn: Turn) -> Any:
        """The rows after a writing case, as the store returns them."""
        return copy.deepcopy(await case.observe(self.engine, turn))


class KeyweaveRows:
    """Removal through the generated repositories."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    async def forget(self, workflows: Sequence[str] = (), tasks: Sequence[str] = ()) -> None:
        for key in workflows:
            await self._store.workflow_states.discard(key)
        for key in tasks:
            await self._store.task_states.discard(key)

    def estrange(self, entity: str, key: str) -> None:
        self._store.session.context.state.recent.drop(entity, key)

    def begin_anew(self) -> None:
        """Forget every row."""
        context = self._store.session.context
        context.state.recent = Recent(context.policy.remembered)


class PostgresRows:
    """Removal by SQL."""

    def __init__(self, engine: PostgresEngine) -> None:
        self._pool = engine.pool

    async def forget(self, workflows: Sequence[str] = (), tasks: Sequence[str] = ()) -> None:
        if workflows:
            await self._pool.execute(
                "delete from workflow_states where workflow_exec_id = any($1)", list(workflows)
            )
        if tasks:
            await self._pool.execute("delete from task_states where task_exec_id = any($1)", list(tasks))

    def estrange(self, entity: str, key: str) -> None:
        """A connection pool remembers no rows."""

    def begin_anew(self) -> None:
        """Do nothing, for the same reason."""
