"""The instruments of one meter provider, shared by all stores that report to it.

An SDK registers an instrument once, however many stores a process opens, so a gauge iterates over the open stores.

Recording into an SDK's histogram takes about as long as a whole round trip to a nearby server. So the duration of an
operation is only buffered (`Series.record_duration`), and recorded when the SDK collects. The buffer of a series that is not
collected is bounded: above `BACKLOG` durations, operations record them at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from keyweave.telemetry.catalogue import BY_NAME, DURATION, METRICS, Kind, Metric

BACKLOG: Final = 16_384
"""The most durations that a series buffers."""

_BREATH: Final = 16
"""Durations that are recorded before other threads may run."""

Attributes: TypeAlias = dict[str, str | int]


class Series:
    """The durations of one kind of operation, of those that succeeded."""

    __slots__ = ("_attributes", "_durations", "_histogram")

    def __init__(self, histogram: Histogram, attributes: Attributes) -> None:
        self._histogram: Final = histogram
        self._attributes: Final = attributes
        self._durations: Final[deque[float]] = deque()

    def record_duration(self, seconds: float) -> None:
        """Buffer the duration of an operation, in seconds."""
        durations = self._durations
        durations.append(seconds)
        if len(durations) > BACKLOG:
            self._record(2)

    def drain(self) -> None:
        """Record every buffered duration."""
        for _ in range(0, len(self._durations), _BREATH):
            self._record(_BREATH)
            time.sleep(0)

    def _record(self, most: int) -> None:
        take, record, attributes = self._durations.popleft, self._histogram.record, self._attributes
        try:
            for _ in range(most):
                record(take(), attributes)
        except IndexError:  # another thread has emptied the buffer
            return


class ObservedStore(Protocol):
    """A store whose gauges an SDK collects."""

    @property
    def namespace(self) -> str:
        """Identifies stores that see the same rows; never reported."""

    def is_open(self) -> bool:
        """Return whether the store still has a pool."""

    def refresh(self) -> None:
        """Measure the server again."""

    def observed(self, name: str) -> Iterator[tuple[int | float, Attributes]]:
        """Yield the values of a gauge and their attributes."""


class Instruments:
    """Every instrument of the catalogue, created by one meter."""

    def __init__(self, meter: Meter) -> None:
        self._lock: Final = threading.Lock()
        self._stores: Final[WeakSet[ObservedStore]] = WeakSet()
        self._series: Final[dict[frozenset[tuple[str, str | int]], Series]] = {}
        self._made: Final = {metric.name: self._make(meter, metric) for metric in METRICS}

    def join(self, store: ObservedStore) -> None:
        """Include a store in the gauges for as long as it is open."""
        with self._lock:
            self._stores.add(store)

    def series(self, attributes: Attributes) -> Series:
        """Return the series with these attributes, which all stores share."""
        with self._lock:
            key = frozenset(attributes.items())
            if key not in self._series:
                self._series[key] = Series(self._made[DURATION], attributes)
            return self._series[key]

    def count(self, name: str, number: int, attributes: Attributes) -> None:
        """Add to a counter."""
        self._made[name].add(number, attributes)

    def record_duration(self, name: str, seconds: float, attributes: Attributes) -> None:
        """Record a duration in seconds into a histogram, without buffering it."""
        self._made[name].record(seconds, attributes)

    def _make(self, meter: Meter, metric: Metric) -> Any:
        described = {"unit": metric.unit, "description": metric.meaning}
        if metric.kind is Kind.COUNTER:
            return meter.create_counter(metric.name, **described)
        if metric.kind is Kind.HISTOGRAM:
            return meter.create_histogram(
                metric.name, **described, explicit_bucket_boundaries_advisory=list(metric.buckets)
            )
        create = {
            Kind.OBSERVED_COUNTER: meter.create_observable_counter,
            Kind.OBSERVED_UP_DOWN: meter.create_observable_up_down_counter,
            Kind.OBSERVED_GAUGE: meter.create_observable_gauge,
        }[metric.kind]
        return create(metric.name, [self._observer(metric.name)], **described)

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        first = name == METRICS[0].name

        def observe(_: CallbackOptions) -> Iterator[Observation]:
            stores = self._open_stores()
            if first:
                self._catch_up(stores)
            merge = _MERGE.get(name, sum)
            shared = name.startswith(("keyweave.sweep.", "keyweave.partition."))
            found: dict[frozenset[tuple[str, str | int]], dict[object, int | float]] = {}
            for store in stores:
                for value, attributes in store.observed(name):
                    values = found.setdefault(frozenset(attributes.items()), {})
                    values[store.namespace if shared else store] = value
            for key, values in found.items():
                yield Observation(merge(values.values()), dict(key))

        return observe

    def _catch_up(self, stores: list[ObservedStore]) -> None:
        with self._lock:
            series = list(self._series.values())
        for each in series:
            each.drain()
        for store in stores:
            store.refresh()

    def _open_stores(self) -> list[ObservedStore]:
        with self._lock:
            return [store for store in self._stores if store.is_open()]


# Stores on one server see the same memory, those on one namespace the same rows, and each has a pool of its own.
_MERGE: Final[dict[str, Callable[[Iterable[int | float]], int | float]]] = {
    name: min if name in ("keyweave.server.up", "keyweave.server.durable") else max
    for name in BY_NAME
    if name.startswith(("keyweave.server.", "keyweave.partition.")) or name == "keyweave.sweep.lag"
}

_BY_PROVIDER: Final[WeakKeyDictionary[MeterProvider, Instruments]] = WeakKeyDictionary()
_MAKING: Final = threading.Lock()


def instruments_of(provider: MeterProvider, version: str) -> Instruments:
    """Return the instruments of a provider, which are created at the first call."""
    with _MAKING:
        found = _BY_PROVIDER.get(provider)
        if found is None:
            found = _BY_PROVIDER[provider] = Instruments(provider.get_meter("keyweave", version))
        return found
