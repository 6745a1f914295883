"""Opens the asyncio channel over a client of redis-py: one that the application gives, or one for the URL of Sentinels."""

from __future__ import annotations

from typing import Any

from keyweave.connection.channel import AsyncChannel
from keyweave.connection.redis_py.channel_aio import RedisPyChannel
from keyweave.connection.redis_py.client import sentinel_of, settings_of
from keyweave.connection.settings import ConnectionSettings


def client_channel(client: Any) -> AsyncChannel:
    """Return the channel over a client that stays the application's.

    Raises:
        ConfigurationError: a store cannot use this client. Nothing was sent.
    """
    return RedisPyChannel(client, settings_of(client, asynchronous=True))


def sentinel_channel(settings: ConnectionSettings) -> AsyncChannel:
    """Return the channel to the master that Sentinels name."""
    sentinel, master = sentinel_of(settings, asynchronous=True)

    async def close() -> None:
        await master.aclose()
        for each in sentinel.sentinels:
            await each.aclose()

    return RedisPyChannel(master, settings, close)
