"""The engine: opens a store and holds the three repositories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from compozy_store import aio

from .auth import AuthRepository
from .tasks import TaskRepository
from .workflows import WorkflowRepository


class Engine:
    """The repositories of one store.

    Attributes:
        auth: users and API keys.
        workflows: executions with their tasks.
        tasks: task states.
        store: the generated repositories on which the three are built.
    """

    __slots__ = ("auth", "store", "tasks", "workflows")

    def __init__(self, store: aio.Store) -> None:
        self.store = store
        self.auth = AuthRepository(store)
        self.workflows = WorkflowRepository(store)
        self.tasks = TaskRepository(store)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        namespace: str | None = None,
        retention: Mapping[str, timedelta] | None = None,
        durable: str | None = None,
        **options: Any,
    ) -> AsyncIterator[Engine]:
        """Open the store. The context manager closes its connections on exit.

        Args:
            url: `redis://`, `rediss://`, `unix://`, or `embedded:` for a server that ends with the program.
            namespace: the tenant, any text; separates tenants and tests.
            retention: how long finished rows are kept, by entity name (`TaskState`, `WorkflowState`); replaces the
                schema's.
            durable: what every write waits for: `disk`, or `replicas:N`; nothing by default.
            options: connection options, such as `timeout` in seconds; see `keyweave.connection.settings`.

        Raises:
            ConfigurationError: an option is not valid, or the server cannot confirm writes as `durable` asks.
            StoreUnavailableError: the server cannot be used; the message names host and port.
        """
        async with aio.Store.open(
            url, namespace=namespace, retention=retention, durable=durable, **options
        ) as store:
            yield cls(store)

    def tenant(self, name: str) -> Engine:
        """Return the repositories of another tenant on the same connections; see `compozy_store.aio.Store.tenant`.

        Raises:
            TenantNameError: the name is empty, too long or no text.
        """
        return Engine(self.store.tenant(name))

    @classmethod
    def over(
        cls,
        client: Any,
        *,
        namespace: str | None = None,
        retention: Mapping[str, timedelta] | None = None,
        durable: str | None = None,
        **policy: Any,
    ) -> Engine:
        """Return the repositories over an asyncio client of redis-py, which stays open; see `compozy_store.aio.Store.over`.

        Args:
            client: `redis.asyncio.Redis`, or the `master_for(...)` of a Sentinel.
            namespace: as for `open`.
            retention: as for `open`.
            durable: as for `open`.
            policy: options that are not the connection's, such as `deadline` in seconds.

        Raises:
            ConfigurationError: an option is not valid, or a store cannot use the client. Nothing was sent.
        """
        return cls(
            aio.Store.over(client, namespace=namespace, retention=retention, durable=durable, **policy)
        )
