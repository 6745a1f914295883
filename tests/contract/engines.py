"""The engines that the contract is tested on: Keyweave on a real server, Keyweave on fakeredis, and the oracle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

from fakeredis import FakeServer

from compozy_engine import Engine, new_id
from compozy_store import aio
from compozy_store.package import PACKAGE
from keyweave.aio.session import Session
from keyweave.health.connect import connect
from keyweave.opening.prepare import prepare
from tests.channels import chosen_channel
from tests.fakes import fake_async_shell
from tests.oracle.engine import PostgresEngine
from tests.oracle.server import session_dsn
from tests.over import opened_store
from tests.repartition.midway import prepare_engine
from tests.servers.managed import chosen_profile
from tests.servers.partitions import are_doubled, chosen_partitions
from tests.servers.running import chosen_server, server_url

SERVER: Final = chosen_server()
"""The real server under test."""

_ONCE: Final = SERVER == "embedded" and chosen_profile() is None and chosen_partitions() == 1

KEYWEAVE: Final = ("server", "fake") if _ONCE else ("server",)
"""Engines on Keyweave. The fake and the oracle are tested once, in the run on the embedded server without restrictions."""

EVERY: Final = (*KEYWEAVE, "postgres") if _ONCE else KEYWEAVE


@asynccontextmanager
async def empty_engine(
    kind: str,
    *,
    namespace: str | None = None,
    retention: Mapping[str, timedelta] | None = None,
    **options: Any,
) -> AsyncIterator[Engine]:
    """An engine without rows.

    Args:
        kind: one of `EVERY`.
        namespace: a new one by default; the oracle has only one.
        retention: as for `Engine.open`; the oracle keeps rows until they are deleted.
        options: as for `Engine.open`; the oracle has none.
    """
    namespace = new_id() if namespace is None else namespace
    if kind == "server":
        where: dict[str, Any] = {"namespace": namespace, "retention": retention, **options}
        if chosen_partitions() > 1:
            where["partitions"] = {"execution": chosen_partitions()}
        if are_doubled():
            await asyncio.to_thread(prepare_engine, namespace, chosen_partitions())
        if chosen_channel() == "direct":
            async with Engine.open(server_url(), **where) as engine:
                yield engine
        else:
            async with await opened_store(aio, "aio", server_url(), **where) as store:
                yield Engine(store)
    elif kind == "fake":
        shell = fake_async_shell(FakeServer())
        _, context = prepare(PACKAGE, "redis://fake", namespace=namespace, retention=retention, **options)
        try:
            await shell.run(connect(context))
            yield Engine(aio.Store(Session(shell, context)))
        finally:
            await shell.aclose()
    else:
        async with PostgresEngine.open(session_dsn()) as oracle:
            await oracle.clear()
            yield cast(Engine, oracle)
