"""Watches operations: records the duration and outcome of each and, with a tracer, a span."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Final, Protocol, TypeAlias

from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from keyweave.telemetry.catalogue import DURATION
from keyweave.telemetry.instruments import Attributes, Instruments
from keyweave.telemetry.outcomes import FAULTS, ErrorTypes, outcome_of, status_code

About: TypeAlias = tuple[str, ...]
"""The purpose of a flow, given by generated code: the operation, and the view or unique constraint that it reads."""


class StoreTelemetry(Protocol):
    """The part of a store's telemetry that a watcher uses."""

    @property
    def store(self) -> Attributes:
        """Attributes of everything that the store reports."""

    @property
    def errors(self) -> ErrorTypes:
        """The names of errors."""

    @property
    def instruments(self) -> Instruments | None:
        """Record metrics; None without an SDK for metrics."""

    @property
    def tracer(self) -> Tracer | None:
        """Creates spans; None without an SDK for traces."""


class Watcher:
    """Watches the operations of one repository. A call returns a context manager that watches one operation."""

    __slots__ = ("_entity", "_inside", "_operations", "_telemetry")

    def __init__(self, telemetry: StoreTelemetry, entity: str, *, inside: bool) -> None:
        self._telemetry: Final = telemetry
        self._entity: Final = entity
        self._inside: Final = inside
        self._operations: Final[dict[About, _Operation]] = {}

    def __call__(self, about: About) -> Timed:
        """Return a context manager that watches one operation."""
        operation = self._operations.get(about)
        if operation is None:
            operation = self._operations.setdefault(about, self._operation(*about))
        return Timed(operation) if operation.tracer is None else Traced(operation)

    def _operation(self, name: str, view: str = "") -> _Operation:
        return _Operation(self._telemetry, self._entity, f"tx.{name}" if self._inside else name, view)


class _Operation:
    """One operation on one view: its attributes, which never change, and the series of its durations."""

    __slots__ = (
        "_attributes",
        "_errors",
        "_instruments",
        "name",
        "record_duration",
        "span_attributes",
        "tracer",
    )

    def __init__(self, telemetry: StoreTelemetry, entity: str, name: str, view: str) -> None:
        self._attributes: Attributes = {**telemetry.store, "db.operation.name": name}
        if entity:
            self._attributes["db.collection.name"] = entity
        self._errors: Final = telemetry.errors
        self._instruments: Final[Instruments | None] = telemetry.instruments
        self.tracer: Final[Tracer | None] = telemetry.tracer
        self.name: Final = f"{name} {entity}" if entity else name
        self.span_attributes: Final[Attributes] = dict(self._attributes)
        if view:
            self.span_attributes["keyweave.view"] = view
        series = self._instruments.series(self._attributes) if self._instruments is not None else None
        self.record_duration: Final = series.record_duration if series is not None else None

    def record_duration_now(self, seconds: float) -> None:
        """Record a duration while its span is current, so that the SDK can link them."""
        if self._instruments is not None:
            self._instruments.record_duration(DURATION, seconds, self._attributes)

    def fail(self, seconds: float, error: BaseException) -> Attributes:
        """Record the duration of an operation that raised `error`, and return the attributes of the error."""
        attributes: Attributes = {"error.type": self._errors.name(error)}
        code = status_code(error)
        if code:
            attributes["db.response.status_code"] = code
        if self._instruments is not None:
            self._instruments.record_duration(DURATION, seconds, {**self._attributes, **attributes})
        return attributes


class Timed:
    """Measures the duration of an operation."""

    __slots__ = ("_operation", "_started")

    def __init__(self, operation: _Operation) -> None:
        self._operation: Final = operation

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = perf_counter() - self._started
        if error is not None:
            self._operation.fail(seconds, error)
        elif self._operation.record_duration is not None:
            self._operation.record_duration(seconds)


_CURRENT: Final[ContextVar[Traced | None]] = ContextVar("keyweave.operation", default=None)
"""The innermost operation with a span that runs now."""


def note_partition(group: str, number: int) -> None:
    """Note that the current operation, if it has a span, uses a partition of a group with several."""
    current = _CURRENT.get()
    if current is not None:
        current.partitions.add((group, number))


class Traced(Timed):
    """Measures the duration of an operation and creates its span, without an error's text and stack: they may hold values.

    Attributes:
        partitions: those that it has used, by group and number.
    """

    __slots__ = ("_context", "_outer", "_span", "_token", "partitions")

    def __enter__(self) -> None:
        operation = self._operation
        assert operation.tracer is not None
        self._span: Span = operation.tracer.start_span(
            operation.name, kind=SpanKind.CLIENT, attributes=operation.span_attributes
        )
        self._context = set_span_in_context(self._span)
        self._token = attach(self._context)
        self.partitions: set[tuple[str, int]] = set()
        self._outer = _CURRENT.get()
        _CURRENT.set(self)
        self._started = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = perf_counter() - self._started
        outcome = outcome_of(error)
        if error is None:
            self._operation.record_duration_now(seconds)
        else:
            self._span.set_attributes(self._operation.fail(seconds, error))
            if outcome in FAULTS:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("keyweave.outcome", outcome.value)
        if self.partitions:
            self._span.set_attribute("keyweave.partitions", len(self.partitions))
        if len(self.partitions) == 1:
            ((group, number),) = self.partitions
            self._span.set_attribute("keyweave.partition", f"{group} {number}")
        if _CURRENT.get() is self:
            _CURRENT.set(self._outer)
        if get_current() is self._context:  # a discarded coroutine may be closed in another context
            detach(self._token)
        self._span.end()
