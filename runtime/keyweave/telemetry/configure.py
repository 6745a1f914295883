"""Configures the telemetry of a store. A store has telemetry only if a provider would export it.

OpenTelemetry is optional, and its API takes milliseconds to import. So this module imports it, and the modules that use it,
only when a store may have telemetry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import keyweave
from keyweave.connection.settings import ConnectionSettings
from keyweave.errors import ConfigurationError
from keyweave.model.entity import Package

if TYPE_CHECKING:
    from keyweave.telemetry.instruments import Attributes
    from keyweave.telemetry.report import Telemetry

_API: Final = ("opentelemetry.trace", "opentelemetry.metrics")
"""The modules of the API package that define the providers without effect, and the proxies that are used until an SDK is set."""

_CHOSEN_BY: Final = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""Environment variables that name an SDK. The API package loads it when a provider is first requested."""


def telemetry_of(
    settings: ConnectionSettings,
    package: Package,
    namespace: str,
    tracer_provider: object,
    meter_provider: object,
) -> Telemetry | None:
    """Return the telemetry of a store, or None when no provider would export it.

    Args:
        settings: the address of the server.
        package: its errors and entities are reported by name.
        namespace: the prefix of the store's keys; never exported.
        tracer_provider, meter_provider: providers of OpenTelemetry; by default the global ones at the time of the call.

    Raises:
        ConfigurationError: a provider has the wrong type, or one was given and OpenTelemetry is not installed.
    """
    given = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    named = [name for name, provider in given.items() if provider is not None]
    if not named and not global_provider_possible(os.environ):
        return None
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        if not named:
            return None
        raise ConfigurationError(
            f"{named[0]}: OpenTelemetry is not installed; install it with: pip install 'keyweave[otel]'"
        ) from error
    meters = metrics.get_meter_provider() if meter_provider is None else meter_provider
    tracers = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    if not isinstance(meters, metrics.MeterProvider):
        raise ConfigurationError("meter_provider: must be a MeterProvider of OpenTelemetry")
    if not isinstance(tracers, trace.TracerProvider):
        raise ConfigurationError("tracer_provider: must be a TracerProvider of OpenTelemetry")
    if _is_idle(meters) and _is_idle(tracers):
        return None
    from keyweave.telemetry.instruments import instruments_of
    from keyweave.telemetry.report import Telemetry

    version = keyweave.__version__
    instruments = None if _is_idle(meters) else instruments_of(meters, version)
    tracer = None if _is_idle(tracers) else tracers.get_tracer("keyweave", version)
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


def global_provider_possible(environment: Mapping[str, str]) -> bool:
    """Return whether this process may have a global provider: it has imported the API, or a variable names a provider."""
    return any(name in sys.modules for name in _API) or any(name in environment for name in _CHOSEN_BY)


def server_address(settings: ConnectionSettings) -> tuple[str, int | None]:
    """Return host and port of a TCP server, path and None for a socket, `embedded` and None for an embedded server."""
    if settings.scheme == "unix":
        return settings.path, None
    if settings.scheme == "embedded":
        return "embedded", None
    return settings.host, settings.port


def _is_idle(provider: object) -> bool:
    return type(provider).__module__.startswith(_API)
