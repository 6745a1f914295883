"""A store with the Prometheus exporter of OpenTelemetry, and operations that change every metric."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from compozy_store import Role, Status
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.errors import ConflictError, CorruptDocumentError, KeyweaveError, LockTimeoutError
from tests.connection.holding import hold
from tests.harness import AT_ONCE, add_tasks, harness, run, task, user
from tests.servers.running import new_namespace

MEMORY: Final = 256 * 1024 * 1024


class Export:
    """The metrics that Prometheus would scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.meters = MeterProvider([PrometheusMetricReader(registry=self.registry)])

    def page(self) -> str:
        """The page that Prometheus scrapes."""
        return generate_latest(self.registry).decode()

    def names(self) -> set[str]:
        """The names of all samples on it."""
        return {
            line.replace("{", " ").partition(" ")[0]
            for line in self.page().splitlines()
            if not line.startswith("#")
        }


@contextmanager
def living_stores(export: Export) -> Iterator[Any]:
    """A store that reports to `export`, and after at least one event of each metric."""
    options: dict[str, Any] = {"meter_provider": export.meters, "retention": {"TaskState": AT_ONCE}}
    with (
        harness("sync", "export", count=2, pool_size=4, pool_timeout=0.01, **options) as stores,
        harness("sync", "parted", partitions={"execution": 4}, **options),
    ):
        (limit,) = stores.send(("CONFIG", "GET", "maxmemory"))
        stores.send(("CONFIG", "SET", "maxmemory", MEMORY))
        try:
            stores.db.workflow_states.create(run())
            live_once(stores)
            yield stores
        finally:
            stores.send(("CONFIG", "SET", "maxmemory", limit[1]))


def live_once(stores: Any) -> None:
    """Reads, writes, a conflict, locks, dead and dangling rows, a sweep, a full pool."""
    name = new_namespace("u")
    stores.db.users.create(user(name))
    stores.db.users.get(name)
    stores.db.users.by_role(Role.USER).page()
    _fails(KeyweaveError, lambda: stores.db.users.get("nobody"))
    mine = stores.db.workflow_states.get("w")
    stores.db.workflow_states.upsert(run(status=Status.PAUSED))
    _fails(ConflictError, lambda: stores.db.workflow_states.save(mine))
    partition = stores.db.session.context.keyspace.partition("execution")
    lock = partition.lock("WorkflowState", "w")
    stores.send(("SET", lock, "somebody", "PX", 60_000))
    _fails(LockTimeoutError, lambda: stores.transact(_locking))
    stores.send(("DEL", lock))
    stores.transact(_locking)
    add_tasks(stores, [task(f"{name}{number}", status=Status.SUCCESS) for number in range(3)])
    stores.db.task_states.find(f"{name}0")
    stores.db.sweep()
    damaged = stores.db.session.context.keyspace.partition("auth").document("User", f"{name}?")
    stores.send(("LPUSH", damaged, "no document"))
    _fails(CorruptDocumentError, lambda: stores.db.users.get(f"{name}?"))
    stores.send(("DEL", damaged))
    held = [hold(stores) for _ in range(4)]
    _fails(ConnectionFailure, lambda: stores.db.session.shell.run(_ping()))
    for give_back in held:
        give_back()


def _locking(tx: Any) -> Generator[Any, Any, None]:
    yield tx.workflow_states.get_for_update("w", wait=0.005)


def _ping() -> Flow[None]:
    yield Send((("PING",),))


def _fails(kind: type[Exception], call: Any) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")
