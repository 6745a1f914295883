"""Decides whether a store has telemetry: only with providers that record something."""

from __future__ import annotations

from typing import Final

from opentelemetry import metrics, trace

import keyweave
from keyweave.connection.settings import ConnectionSettings
from keyweave.errors import ConfigurationError
from keyweave.model.entity import Package
from keyweave.telemetry.instruments import Attributes, instruments_of
from keyweave.telemetry.report import Telemetry

_IDLE: Final = ("opentelemetry.trace", "opentelemetry.metrics")
"""The modules of the API that define the no-op providers, and the proxies that stand in until an SDK is set."""


def telemetry_of(
    settings: ConnectionSettings,
    package: Package,
    namespace: str,
    tracer_provider: object,
    meter_provider: object,
) -> Telemetry | None:
    """Return the telemetry of a store; None when no provider would record it.

    Args:
        settings: the address of the store's server.
        package: its errors and entities are reported by name.
        namespace: the prefix of the store's keys; never reported.
        tracer_provider, meter_provider: of OpenTelemetry; None stands for the global ones, as they are now.

    Raises:
        ConfigurationError: a provider has the wrong type.
    """
    meters = metrics.get_meter_provider() if meter_provider is None else meter_provider
    tracers = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    if not isinstance(meters, metrics.MeterProvider):
        raise ConfigurationError("meter_provider: must be a MeterProvider of OpenTelemetry")
    if not isinstance(tracers, trace.TracerProvider):
        raise ConfigurationError("tracer_provider: must be a TracerProvider of OpenTelemetry")
    version = keyweave.__version__
    instruments = None if _is_idle(meters) else instruments_of(meters, version)
    tracer = None if _is_idle(tracers) else tracers.get_tracer("keyweave", version)
    if instruments is None and tracer is None:
        return None
    address, port = server_address(settings)
    store: Attributes = {
        "db.system.name": "redis",
        "db.namespace": str(settings.db),
        "server.address": address,
        "store_driver": "redis",
    }
    pool = address
    if port is not None:
        store["server.port"] = port
        pool = settings.address
    return Telemetry(store, f"{pool}/{settings.db}", namespace, package, instruments, tracer)


def server_address(settings: ConnectionSettings) -> tuple[str, int | None]:
    """Return host and port of a TCP server, path and None for a socket, `embedded` and None for an embedded server."""
    if settings.scheme == "unix":
        return settings.path, None
    if settings.scheme == "embedded":
        return "embedded", None
    return settings.host, settings.port


def _is_idle(provider: object) -> bool:
    return type(provider).__module__.startswith(_IDLE)
