"""Opens the blocking channel over a client of redis-py: one that the application gives, or one for the URL of Sentinels."""

from __future__ import annotations

from typing import Any

from keyweave.connection.channel import Channel
from keyweave.connection.redis_py.channel_sync import RedisPyChannel
from keyweave.connection.redis_py.client import sentinel_of, settings_of
from keyweave.connection.settings import ConnectionSettings


def client_channel(client: Any) -> Channel:
    """Return the channel over a client that stays the application's.

    Raises:
        ConfigurationError: a store cannot use this client. Nothing was sent.
    """
    return RedisPyChannel(client, settings_of(client, asynchronous=False))


def sentinel_channel(settings: ConnectionSettings) -> Channel:
    """Return the channel to the master that Sentinels name."""
    sentinel, master = sentinel_of(settings, asynchronous=False)

    def close() -> None:
        master.close()
        for each in sentinel.sentinels:
            each.close()

    return RedisPyChannel(master, settings, close)
