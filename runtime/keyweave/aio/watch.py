"""Running flows where somebody watches, in asyncio: what a session of this flavour does for its store's telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar

from keyweave.aio.shell import Shell
from keyweave.effects import Flow
from keyweave.health.measure import measure
from keyweave.model.entity import Entity
from keyweave.store.context import Context

T = TypeVar("T")


class Run(Protocol):
    """Runs a flow; `about` says what the flow is for: the operation and the view."""

    def __call__(self, flow: Flow[T], /, *about: str) -> Awaitable[T]:
        """The flow's result."""


def watched_run(run: Run, context: Context, entity: Entity[Any] | None = None) -> Run:
    """What runs the flows of an entity's repository, or of the store: `run` itself when nobody watches."""
    telemetry = context.telemetry
    if telemetry is None:
        return run
    watcher = telemetry.watcher(entity.name if entity is not None else "", inside=context.unit is not None)

    async def watched(flow: Flow[T], /, *about: str) -> T:
        if not about:
            return await run(flow)
        with watcher(about):
            return await run(flow)

    return watched


async def report(shell: Shell, context: Context) -> None:
    """Let gauges tell about the pool and the server.

    An SDK collects in a thread of its own, which must not wait for the loop: it gets what the last look at the
    server has shown, and has the loop look again.
    """
    telemetry = context.telemetry
    if telemetry is None:
        return
    loop = asyncio.get_running_loop()
    looking: set[asyncio.Task[None]] = set()

    async def look() -> None:
        telemetry.server = await shell.run(measure(context))

    def begin() -> None:
        if not looking:
            task = loop.create_task(look())
            looking.add(task)
            task.add_done_callback(looking.discard)

    def refresh() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(begin)

    shell.watch_pool(telemetry)
    telemetry.attach(shell.pool_state, refresh)
    if telemetry.instruments is not None:
        await look()
