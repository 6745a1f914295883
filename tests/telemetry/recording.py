"""An OpenTelemetry SDK that keeps everything in memory, and the queries of tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass(frozen=True)
class Point:
    """A value of a metric under some attributes: a number, or of a histogram how often and how much in all."""

    metric: str
    attributes: dict[str, Any]
    value: float
    count: int = 0
    bounds: tuple[float, ...] = ()


@dataclass
class Recording:
    """Providers to open stores with, and what these stores reported."""

    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.meters = MeterProvider([self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def metrics_only(self) -> dict[str, Any]:
        """Options of `Store.open` for metrics without spans."""
        return {"meter_provider": self.meters}

    @property
    def options(self) -> dict[str, Any]:
        """Options of `Store.open` for metrics and spans."""
        return {"meter_provider": self.meters, "tracer_provider": self.tracers}

    def points(self, metric: str = "") -> list[Point]:
        """Every point of a metric, or of all."""
        return [point for point in self._collected() if metric in ("", point.metric)]

    def total(self, metric: str, **attributes: Any) -> float:
        """The sum of a metric's values, of a histogram how often; `attributes` have underscores for dots."""
        wanted = {name.replace("_", "."): value for name, value in attributes.items()}
        return sum(
            point.count or point.value
            for point in self.points(metric)
            if all(point.attributes.get(name) == value for name, value in wanted.items())
        )

    def names(self, library: str) -> set[str]:
        """The names of the metrics that a library reported."""
        data = self.reader.get_metrics_data()
        return {
            metric.name
            for each in (data.resource_metrics if data else ())
            for scope in each.scope_metrics
            if scope.scope.name == library
            for metric in scope.metrics
        }

    def spans(self) -> list[ReadableSpan]:
        """Every span that has ended."""
        return list(self.exporter.get_finished_spans())

    def _collected(self) -> Iterator[Point]:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield _point(metric.name, point)


def _point(name: str, point: Any) -> Point:
    attributes = dict(point.attributes)
    if hasattr(point, "bucket_counts"):
        return Point(name, attributes, point.sum, point.count, tuple(point.explicit_bounds))
    return Point(name, attributes, point.value)
