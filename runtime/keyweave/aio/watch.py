"""Runs flows under the watch of a store's telemetry, in asyncio."""

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
    """Runs a flow; `about` is its purpose: the operation and the view."""

    def __call__(self, flow: Flow[T], /, *about: str, until: float | None = None) -> Awaitable[T]:
        """Run the flow and return its result; `until` is the monotonic time at which its budget ends."""


def watched_run(run: Run, context: Context, entity: Entity[Any] | None = None) -> Run:
    """Return the function that runs the flows of an entity's repository, or of the store: `run` itself without telemetry."""
    telemetry = context.telemetry
    if telemetry is None:
        return run
    watcher = telemetry.watcher(entity.name if entity is not None else "", inside=context.unit is not None)

    async def watched(flow: Flow[T], /, *about: str, until: float | None = None) -> T:
        if not about:
            return await run(flow, until=until)
        with watcher(about):
            return await run(flow, until=until)

    return watched


async def report(shell: Shell, context: Context) -> None:
    """Let gauges report the pool and the server.

    An SDK collects on its own thread, which must not wait for the event loop: it reads the last measurement of the
    server, and lets the loop start the next one.
    """
    telemetry = context.telemetry
    if telemetry is None:
        return
    loop = asyncio.get_running_loop()
    measuring: set[asyncio.Task[None]] = set()

    async def measure_server() -> None:
        telemetry.server = await shell.run(measure(context))

    def begin() -> None:
        if not measuring:
            task = loop.create_task(measure_server())
            measuring.add(task)
            task.add_done_callback(measuring.discard)

    def refresh() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(begin)

    shell.watch_pool(telemetry)
    telemetry.attach(shell.pool_state, refresh)
    if telemetry.instruments is not None:
        await measure_server()
