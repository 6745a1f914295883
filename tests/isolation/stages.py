"""A theatre for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.isolation.acting import Body
from tests.isolation.on_keyweave import KeyweaveTheatre
from tests.isolation.on_postgres import PostgresTheatre


@asynccontextmanager
async def theatre(
    kind: str,
    setup: Callable[[Any], Awaitable[None]],
    bodies: Mapping[str, Body],
    *,
    each_exchange: bool = False,
) -> AsyncIterator[Any]:
    """A theatre on Keyweave or on PostgreSQL."""
    async with AsyncExitStack() as stack:
        made: Any
        if kind == "keyweave":
            made = KeyweaveTheatre(stack, setup, bodies, each=each_exchange)
        else:
            made = PostgresTheatre(stack, setup, bodies)
        await made.open()
        yield made
