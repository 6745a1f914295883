"""Runs flows under the watch of a store's telemetry, blocking."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from keyweave.effects import Flow
from keyweave.health.measure import measure
from keyweave.model.entity import Entity
from keyweave.store.context import Context
from keyweave.sync.shell import Shell

T = TypeVar("T")


class Run(Protocol):
    """Runs a flow; `about` is its purpose: the operation and the view."""

    def __call__(self, flow: Flow[T], /, *about: str, until: float | None = None) -> T:
        """Run the flow and return its result; `until` is the monotonic time at which its budget ends."""


def watched_run(run: Run, context: Context, entity: Entity[Any] | None = None) -> Run:
    """Return the function that runs the flows of an entity's repository, or of the store: `run` itself without telemetry."""
    telemetry = context.telemetry
    if telemetry is None:
        return run
    watcher = telemetry.watcher(entity.name if entity is not None else "", inside=context.unit is not None)

    def watched(flow: Flow[T], /, *about: str, until: float | None = None) -> T:
        if not about:
            return run(flow, until=until)
        with watcher(about):
            return run(flow, until=until)

    return watched


def report(shell: Shell, context: Context) -> None:
    """Let gauges report the pool and the server, which is measured whenever an SDK collects."""
    telemetry = context.telemetry
    if telemetry is None:
        return

    def refresh() -> None:
        telemetry.server = shell.run(measure(context))

    shell.watch_pool(telemetry)
    telemetry.attach(shell.pool_state, refresh)
