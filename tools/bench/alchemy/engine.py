"""Opening the engine on SQLAlchemy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from .auth import AuthRepository
from .tasks import TaskRepository
from .workflows import WorkflowRepository


class AlchemyEngine:
    """Auth, workflows and tasks on one pool of connections.

    Statements that stand alone run with autocommit: BEGIN and COMMIT around them would be two round trips more.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        single = async_sessionmaker(
            engine.execution_options(isolation_level="AUTOCOMMIT"),
            class_=AsyncSession,
            expire_on_commit=False,
        )
        several = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
        self.auth = AuthRepository(single, several)
        self.workflows = WorkflowRepository(single, several)
        self.tasks = TaskRepository(single, several)


@asynccontextmanager
async def alchemy_engine(dsn: str, connections: int) -> AsyncIterator[AlchemyEngine]:
    """Connect to the oracle's tables, which are there already; JSON goes through msgspec."""
    engine = create_async_engine(
        dsn.replace("postgresql:", "postgresql+asyncpg:", 1),
        pool_size=connections,
        max_overflow=0,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )
    try:
        yield AlchemyEngine(engine)
    finally:
        await engine.dispose()
