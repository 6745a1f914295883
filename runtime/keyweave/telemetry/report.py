"""One store's telemetry: its attributes, the destination of its events, and the values of its gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from opentelemetry.trace import Tracer

from keyweave.connection.pool_state import PoolState
from keyweave.health.measure import ServerState
from keyweave.model.entity import Package
from keyweave.telemetry.catalogue import METRICS, POOL, REASONS, STORE, Kind
from keyweave.telemetry.instruments import Attributes, Instruments
from keyweave.telemetry.outcomes import ErrorTypes
from keyweave.telemetry.watch import Watcher, note_partition


class Telemetry:
    """Reports what a store does. It is an `EventSink` and a `PoolWatch`.

    Args:
        store: attributes of everything that this store reports.
        pool: name of its connection pool.
        namespace: identifies stores that see the same rows; never reported.
        package: its entities and errors are reported by name.
        instruments: record metrics; None without an SDK for metrics.
        tracer: creates spans; None without an SDK for traces.
    """

    def __init__(
        self,
        store: Attributes,
        pool: str,
        namespace: str,
        package: Package,
        instruments: Instruments | None,
        tracer: Tracer | None,
    ) -> None:
        self.store: Final = store
        self.namespace: Final = namespace
        self.errors: Final = ErrorTypes(package)
        self._entities: Final = tuple(package.entities)
        self.instruments: Final = instruments
        self.tracer: Final = tracer
        self.server: ServerState | None = None
        self._pool: Final[Attributes] = {**store, "db.client.connection.pool.name": pool}
        self._pool_state: Callable[[], PoolState | None] = lambda: None
        self._refresh: Callable[[], None] | None = None
        self._watchers: Final[dict[tuple[str, bool], Watcher]] = {}

    def watcher(self, entity: str, *, inside: bool) -> Watcher:
        """Return the watcher of an entity's repository (empty: of the store), `inside` a transaction or not."""
        found = self._watchers.get((entity, inside))
        if found is None:
            found = self._watchers.setdefault((entity, inside), Watcher(self, entity, inside=inside))
        return found

    def attach(self, pool_state: Callable[[], PoolState | None], refresh: Callable[[], None]) -> None:
        """Set the functions that gauges call.

        Args:
            pool_state: returns the state of the pool; None once it is closed.
            refresh: sets a new `server`, or starts to; called on the thread in which an SDK collects.
        """
        self._pool_state = pool_state
        self._refresh = refresh
        if self.instruments is not None:
            self._begin_at_zero()
            self.instruments.join(self)

    def _begin_at_zero(self) -> None:
        """Create every counter at zero: a query for a rate does not see the step from no data point to one."""
        for metric in METRICS:
            if metric.kind is not Kind.COUNTER:
                continue
            if metric.attributes == POOL:
                assert self.instruments is not None
                self.instruments.count(metric.name, 0, self._pool)
                continue
            for entity in ("", *self._entities) if metric.attributes != STORE else ("",):
                for reason in REASONS if "keyweave.reason" in metric.attributes else ("",):
                    self.count(metric.name, 0, entity, reason)

    def placed(self, group: str, number: int) -> None:
        """Note that the current operation uses a partition of a group with several."""
        if self.tracer is not None:
            note_partition(group, number)

    def count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None:
        """Add to a counter."""
        if self.instruments is not None:
            attributes = self._of(entity)
            if reason:
                attributes = {**attributes, "keyweave.reason": reason}
            self.instruments.count(metric, number, attributes)

    def record_duration(self, metric: str, seconds: float, entity: str = "") -> None:
        """Record a duration in seconds."""
        if self.instruments is not None:
            self.instruments.record_duration(metric, seconds, self._of(entity))

    def pool_waited(self, seconds: float, *, timed_out: bool) -> None:
        """Record the time that an operation waited for a connection, and whether the wait timed out."""
        if self.instruments is not None:
            self.instruments.record_duration("keyweave.connection.wait_time", seconds, self._pool)
            if timed_out:
                self.instruments.count("db.client.connection.timeouts", 1, self._pool)

    def is_open(self) -> bool:
        """Return whether the store still has a pool."""
        return self._pool_state() is not None

    def refresh(self) -> None:
        """Measure the server again."""
        if self._refresh is not None:
            self._refresh()

    def observed(self, name: str) -> Iterator[tuple[int | float, Attributes]]:
        """Yield this store's values of a gauge and their attributes."""
        if name.startswith("db."):
            yield from self._observed_pool(name)
        elif name.startswith("keyweave.partition."):
            yield from self._observed_partitions(name)
        elif self.server is not None:
            value = _SERVER[name](self.server)
            if value is not None:
                yield value, self.store

    def _observed_partitions(self, name: str) -> Iterator[tuple[int | float, Attributes]]:
        """Yield the most and the mean of the partitions of each group with several."""
        groups: dict[str, list[int | None]] = {}
        for each in self.server.partitions if self.server is not None else ():
            groups.setdefault(each.group, []).append(each.rows if name.endswith("rows") else each.due)
        for group, numbers in groups.items():
            known = [number for number in numbers if number is not None]
            if len(known) == len(numbers):
                about: Attributes = {**self.store, "keyweave.group": group}
                yield max(known), {**about, "keyweave.extent": "most"}
                yield sum(known) / len(known), {**about, "keyweave.extent": "mean"}

    def _observed_pool(self, name: str) -> Iterator[tuple[int, Attributes]]:
        state = self._pool_state()
        if state is None:
            return
        if name == "db.client.connection.max":
            yield state.limit, self._pool
        elif name == "db.client.connection.pending_requests":
            yield state.waiting, self._pool
        else:
            yield state.idle, {**self._pool, "db.client.connection.state": "idle"}
            yield state.open - state.idle, {**self._pool, "db.client.connection.state": "used"}

    def _of(self, entity: str) -> Attributes:
        return {**self.store, "db.collection.name": entity} if entity else self.store


_SERVER: Final[dict[str, Callable[[ServerState], int | float | None]]] = {
    "keyweave.server.up": lambda server: int(server.up),
    "keyweave.server.memory.used": lambda server: server.memory_used,
    "keyweave.server.memory.limit": lambda server: server.memory_limit,
    "keyweave.server.keys": lambda server: server.keys,
    "keyweave.server.clients": lambda server: server.clients,
    "keyweave.server.evicted": lambda server: server.evicted,
    "keyweave.server.durable": lambda server: None if server.durable is None else int(server.durable),
    "keyweave.sweep.overdue": lambda server: server.overdue,
    "keyweave.sweep.lag": lambda server: None if server.lag is None else server.lag / 1_000_000,
}
