"""Servers, sides and data of one run: opened, filled and closed together.

Durability alike: Valkey and Redis keep an append-only file that reaches the disk every second, as they do by default,
and a Valkey of its own has every write on disk before it is answered, as PostgreSQL does by default. PostgreSQL once more
answers writes before they are on disk (`synchronous_commit=off`).
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
import redis.asyncio

from compozy_engine import Engine
from tests.oracle.engine import PostgresEngine
from tests.oracle.rows import json_by
from tests.oracle.server import running as running_postgres
from tests.servers.running import new_namespace, running_redis8
from tools.bench.alchemy.engine import alchemy_engine
from tools.bench.bare import BareSide, bare_sides
from tools.bench.data import Data
from tools.bench.loading import Advance, load_keyweave, load_postgres
from tools.bench.sides import (
    ALCHEMY,
    ALWAYS,
    BARE_REDIS8,
    BARE_VALKEY,
    POSTGRES,
    REDIS8,
    RELAXED,
    VALKEY,
    WIRE_REDIS8,
    WIRE_VALKEY,
    KeyweaveRows,
    PostgresRows,
    Side,
)

CONNECTIONS: Final = 16
"""Connections to PostgreSQL: more of them are slower on few cores."""

POSTGRES_SETTINGS: Final = ("shared_buffers=512MB", "max_wal_size=4GB", "jit=off", "random_page_cost=1.1")
"""Usual settings of production: memory, fewer checkpoints, no compiling of short queries, a disk without seeks."""

Starting = Callable[[str, int], Advance]
"""Called with the name and the number of executions of the next step; returns a function that is called with the progress."""


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis or Valkey server that holds the data.

    Attributes:
        name: of the side that Keyweave is on it.
        engine: Keyweave's.
        client: redis-py, for what is not measured.
        socket: where it listens.
        namespace: of the data.
    """

    name: str
    engine: Engine
    client: redis.asyncio.Redis
    socket: str
    namespace: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a run works with.

    Attributes:
        data: what all sides hold.
        postgres: the baseline.
        servers: Valkey, Valkey that waits for the disk, and Redis 8 where it is wanted.
        sides: the first is PostgreSQL.
    """

    data: Data
    postgres: PostgresEngine
    servers: Sequence[Server]
    sides: Sequence[Side]

    @property
    def ours(self) -> Side:
        """Keyweave on Valkey."""
        return next(side for side in self.sides if side.name == VALKEY)

    @property
    def bare(self) -> BareSide:
        """The bare bytes of `ours`."""
        return next(side for side in self.sides if isinstance(side, BareSide) and side.name == BARE_VALKEY)


@asynccontextmanager
async def opened(
    data: Data, starting: Starting, *, redis8: bool = True, durable: bool = True
) -> AsyncIterator[World]:
    """Start the servers, fill them, and open every side."""
    async with AsyncExitStack() as stack:
        stack.enter_context(json_by(lambda value: msgspec.json.encode(value).decode(), msgspec.json.decode))
        dsn = stack.enter_context(running_postgres(durable=durable, settings=POSTGRES_SETTINGS))
        postgres = await stack.enter_async_context(
            PostgresEngine.open(dsn, connections=CONNECTIONS, keep_open=CONNECTIONS)
        )
        rows = data.size.families
        await load_postgres(postgres, data, starting("PostgreSQL", rows))
        alchemy = await stack.enter_async_context(alchemy_engine(dsn, CONNECTIONS))
        relaxed = await stack.enter_async_context(
            PostgresEngine.open(f"{dsn}&synchronous_commit=off", connections=CONNECTIONS)
        )
        removal = PostgresRows(postgres)
        sides = [
            Side(POSTGRES, postgres, removal),
            Side(RELAXED, relaxed, removal),
            Side(ALCHEMY, alchemy, removal),
        ]
        servers = [await keyweave_server(stack, name, valkey_url(stack)) for name in (VALKEY, ALWAYS)]
        if redis8:
            servers.append(await _redis8(stack))
        for server in servers:
            await load_keyweave(server.engine, data, starting(server.name, rows))
            sides += await _sides(stack, server)
        # Waiting for the disk delays other clients too, so this side has a server of its own.
        await servers[1].client.config_set("appendfsync", "always")
        yield World(data, postgres, servers, sides)


def valkey_url(stack: AsyncExitStack) -> str:
    """A Valkey of its own with an append-only file, which ends with the stack."""
    return f"embedded:{stack.enter_context(tempfile.TemporaryDirectory(prefix='bench-'))}"


async def _redis8(stack: AsyncExitStack) -> Server:
    server = await keyweave_server(stack, REDIS8, stack.enter_context(running_redis8()))
    await server.client.config_set("appendonly", "yes")
    return server


async def keyweave_server(stack: AsyncExitStack, name: str, url: str) -> Server:
    """A server with an empty namespace, as long as the stack."""
    namespace = new_namespace("bench")
    engine = await stack.enter_async_context(Engine.open(url, namespace=namespace))
    socket = engine.store.session.shell.settings.path
    client = redis.asyncio.Redis(unix_socket_path=socket)
    stack.push_async_callback(client.aclose)
    return Server(name, engine, client, socket, namespace)


async def _sides(stack: AsyncExitStack, server: Server) -> list[Side]:
    removal = KeyweaveRows(server.engine)
    sides = [Side(server.name, server.engine, removal)]
    if server.name == ALWAYS:
        return sides
    names = (BARE_VALKEY, WIRE_VALKEY) if server.name == VALKEY else (BARE_REDIS8, WIRE_REDIS8)
    sides += await stack.enter_async_context(bare_sides(names, server.socket, server.namespace))
    return sides
