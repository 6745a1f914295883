"""Opens the blocking channel to the servers that settings describe."""

from __future__ import annotations

from collections.abc import Callable

from keyweave.connection.channel import Channel
from keyweave.connection.direct import wire
from keyweave.connection.direct.busy_poll import busy_poll
from keyweave.connection.direct.link_sync import Link, SocketLink, TLSLink
from keyweave.connection.direct.pool_sync import Pool
from keyweave.connection.settings import NEEDS_REDIS_PY, ConnectionSettings
from keyweave.errors import ConfigurationError


def open_channel(
    settings: ConnectionSettings, connection_factory: Callable[[], Link] | None = None
) -> Channel:
    """Return a channel, which connects at its first exchange. An embedded server is started if it does not run yet.

    Args:
        settings: the address of the servers.
        connection_factory: opens a link instead of the socket that the settings describe.

    Raises:
        ConfigurationError: TLS files cannot be read, or a package that the address needs is not installed.
        StoreUnavailableError: the embedded server does not start.
    """
    if settings.nodes:
        try:
            from keyweave.connection.redis_py import open_sync  # other addresses need no redis-py
        except ImportError as error:
            raise ConfigurationError(NEEDS_REDIS_PY) from error
        return (
            open_sync.cluster_channel(settings)
            if settings.clustered
            else open_sync.sentinel_channel(settings)
        )
    tls = wire.tls_context(settings)
    release = None
    if settings.scheme == "embedded" and connection_factory is None:
        from keyweave.embedded import server  # other servers need no process, which takes long to import

        lease = server.acquire(settings.path or None)
        settings, release = lease.settings(settings), lease.release
    polling = busy_poll(settings)

    def connect(until: float | None) -> Link:
        if connection_factory is not None:
            return connection_factory()
        link = SocketLink if tls is None else TLSLink
        return link(settings, tls, polling, until)

    return Pool(settings, connect, polling, release)
