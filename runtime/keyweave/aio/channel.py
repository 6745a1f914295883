"""Opens the asyncio channel to the servers that settings describe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from keyweave.connection.channel import AsyncChannel
from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import busy_poll
from keyweave.connection.direct.link_aio import Link, open_link
from keyweave.connection.direct.pool_aio import Pool
from keyweave.connection.settings import NEEDS_REDIS_PY, ConnectionSettings
from keyweave.errors import ConfigurationError

_LONGEST: Final = 86_400.0
"""Seconds after which a link fails whatever its exchange allows."""


def open_channel(
    settings: ConnectionSettings, connection_factory: Callable[[], Awaitable[Link]] | None = None
) -> AsyncChannel:
    """Return a channel, which connects at its first exchange. An embedded server is started if it does not run yet.

    Args:
        settings: the address of the servers.
        connection_factory: opens a link instead of the connection that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or a package that the address needs is not installed.
        StoreUnavailableError: the embedded server does not start.
    """
    if settings.nodes:
        try:
            from keyweave.connection.redis_py import open_aio  # other addresses need no redis-py
        except ImportError as error:
            raise ConfigurationError(NEEDS_REDIS_PY) from error
        return (
            open_aio.cluster_channel(settings) if settings.clustered else open_aio.sentinel_channel(settings)
        )
    tls = wire.tls_context(settings)
    release = None
    if settings.scheme == "embedded" and connection_factory is None:
        from keyweave.embedded import server  # other servers need no process, which takes long to import

        lease = server.acquire(settings.path or None)
        settings, release = lease.settings(settings), lease.release
    polling = busy_poll(settings)
    # A link of a connection factory carries one exchange at a time.
    depth = settings.pipelining if connection_factory is None else 1

    def connect(until: float | None) -> Awaitable[Link]:
        if connection_factory is not None:
            return connection_factory()
        return open_link(settings, tls, polling, until)

    if connection_factory is not None:
        return Pool(settings, connect, depth, polling, release)
    # Each exchange has a limit of its own there, which may be longer than `timeout`.
    patient = replace(settings, timeout=_LONGEST)

    def connect_patient(until: float | None) -> Awaitable[Link]:
        return open_link(patient, tls, None, until)

    return Pool(settings, connect, depth, polling, release, Pool(patient, connect_patient, 1, None))
