"""The actors of a schedule: the contract's repositories, on an engine or inside one transaction, on either engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

from compozy_engine import Engine
from compozy_engine.auth import AuthRepository
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import WorkflowRepository
from tests.isolation.exploring import Session
from tests.oracle.auth import AuthRepository as PostgresAuth
from tests.oracle.engine import PostgresEngine
from tests.oracle.workflows import WorkflowRepository as PostgresWorkflows
from tests.parity.removing import remove

Gate: TypeAlias = Callable[[str], Awaitable[None]]
"""Called by a session before every step, with the step's name."""

Body: TypeAlias = Callable[["Actor", Gate], Awaitable[Any]]
"""What a session does."""


class Actor:
    """The contract's repositories, and deleting, on an engine or inside one transaction."""

    def __init__(self, auth: Any, workflows: Any, tasks: Any, target: Any) -> None:
        self.auth: AuthRepository = auth
        self.workflows: WorkflowRepository = workflows
        self.tasks: TaskRepository = tasks
        self._target = target

    async def remove(self, kind: str, key: str) -> bool:
        return await remove(self._target, kind, key)

    async def transact(self, function: Callable[[Actor], Awaitable[Any]]) -> Any:
        """Run a function in one transaction, as `with_transaction` does."""
        return await self.tasks.with_transaction(lambda repository: function(actor(repository)))


def actor(target: Any) -> Actor:
    """The actor for an engine, or for the task repository of a transaction."""
    if isinstance(target, Engine | PostgresEngine):
        return Actor(target.auth, target.workflows, target.tasks, target)
    if isinstance(target, TaskRepository):
        place = cast(Any, target._place)
        return Actor(AuthRepository(place), WorkflowRepository(place), target, target)
    session = target._session
    return Actor(PostgresAuth(session), PostgresWorkflows(session), target, target)


def gate_of(session: Session) -> Gate:
    """A gate for each of a body's steps. A transaction that runs again passes those that were open already."""
    opened: set[str] = set()

    async def gate(label: str) -> None:
        if label not in opened:
            await session.gate(label)
            opened.add(label)

    return gate
