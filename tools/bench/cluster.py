"""The same calls on a cluster and over redis-py on one server, with a replica and without, interleaved: medians and their ratios.

The machine's speed drifts, the ratio of two neighbours does not. Both servers are of the kind under test.
"""

from __future__ import annotations

import asyncio
import inspect
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Final

import redis
import redis.asyncio
import typer
from rich.console import Console

from compozy_store import Component, Status, TaskState, WorkflowState, aio, sync
from keyweave.model.ids import ksuid
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.running import configured_server, free_port

FLAVOURS: Final = ("sync", "aio")
_BATCH: Final = 20
"""Calls of one measurement."""


def main(rounds: Annotated[int, typer.Option(help="Batches of calls of each kind.", min=3)] = 60) -> None:
    """Print microseconds of each call on one server, on one with a replica, and on a cluster, and the ratios to the first."""
    console = Console(highlight=False)
    ports = free_port(), free_port()
    with (
        running_cluster() as cluster,
        configured_server(port=str(ports[0])),
        configured_server(port=str(ports[1])),
        configured_server(port=str(free_port()), replicaof=f"127.0.0.1 {ports[1]}"),
    ):
        for flavour in FLAVOURS:
            with asyncio.Runner() as runner, ExitStack() as stack:
                clients = [_client(flavour, port) for port in ports]
                clients.append(_cluster_client(flavour, cluster))
                for client in clients:
                    stack.callback(_closed, runner, client)
                module = aio if flavour == "aio" else sync
                stores = [module.Store.over(client, namespace=f"bench-{flavour}") for client in clients]
                for store in stores:
                    _prepare(runner, store)
                for name, call in _calls().items():
                    one, replicated, many = _compare(stores, call, rounds, runner)
                    console.print(
                        f"cluster: {flavour:4} {name:6} one server {one:6.1f} µs, with a replica {replicated:6.1f} "
                        f"(x{replicated / one:.2f}), cluster {many:6.1f} (x{many / one:.2f})"
                    )


def _client(flavour: str, port: int) -> Any:
    return (redis.asyncio if flavour == "aio" else redis).Redis(port=port)


def _cluster_client(flavour: str, cluster: Cluster) -> Any:
    if flavour == "sync":
        return cluster.client()
    startup = [redis.asyncio.cluster.ClusterNode(*each) for each in cluster.addresses]
    return redis.asyncio.RedisCluster(startup_nodes=startup)


def _closed(runner: asyncio.Runner, client: Any) -> None:
    if hasattr(client, "aclose"):
        runner.run(client.aclose())
    else:
        client.close()


def _prepare(runner: asyncio.Runner, store: Any) -> None:
    for result in (
        store.ready,
        lambda: store.workflow_states.create(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        ),
        lambda: store.task_states.create(_task("t")),
    ):
        waiting = result()
        if inspect.isawaitable(waiting):
            runner.run(_awaited(waiting))


async def _awaited(result: Any) -> Any:
    return await result


def _task(key: str) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="step",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.AGENT,
        status=Status.RUNNING,
        output={"text": "x" * 540},
    )


def _calls() -> dict[str, Callable[[Any], Any]]:
    return {
        "get": lambda store: store.task_states.get("t"),
        "update": lambda store: store.task_states.update("t", status=Status.RUNNING),
        "create": lambda store: store.task_states.create(_task(ksuid())),
        "page": lambda store: store.task_states.by_workflow("w").page(limit=20),
    }


def _compare(
    stores: list[Any], call: Callable[[Any], Any], rounds: int, runner: asyncio.Runner
) -> list[float]:
    """Return the median of each store, in microseconds."""
    took: list[list[float]] = [[] for _ in stores]
    for number in range(rounds):
        for index in range(len(stores)):
            turn = (index + number) % len(stores)
            took[turn].append(_batch(stores[turn], call, runner))
    return [statistics.median(each) for each in took]


def _batch(store: Any, call: Callable[[Any], Any], runner: asyncio.Runner) -> float:
    if not isinstance(store, aio.Store):
        began = time.perf_counter()
        for _ in range(_BATCH):
            call(store)
        return (time.perf_counter() - began) / _BATCH * 1e6

    async def work() -> float:
        began = time.perf_counter()
        for _ in range(_BATCH):
            await call(store)
        return (time.perf_counter() - began) / _BATCH * 1e6

    return runner.run(work())


if __name__ == "__main__":
    typer.run(main)
