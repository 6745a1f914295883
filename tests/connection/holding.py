"""Connections that a test keeps in use or drops, whichever channel the stores under test have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyweave.connection.redis_py.channel_aio import RedisPyChannel as AsyncRedisPyChannel
from keyweave.connection.redis_py.channel_sync import RedisPyChannel
from tests.harness import Harness


def hold(stores: Harness) -> Callable[[], None]:
    """Take a connection of the first store, and return the function that gives it back."""
    channel = stores.db.session.shell.channel
    if isinstance(channel, RedisPyChannel):
        lease: list[Any] = []
        channel._acquire(lease, None)
        return lambda: channel._release(lease)
    if isinstance(channel, AsyncRedisPyChannel):
        connection = channel._take()
        assert connection is not None, "no connection is free"
        return lambda: stores.runner.run(channel._release(connection))
    link = stores.do(channel.lease())
    return lambda: channel.release(link)


def drop_idle(stores: Harness) -> None:
    """Close the idle connections of the first store, which is blocking."""
    channel = stores.db.session.shell.channel
    if isinstance(channel, RedisPyChannel):
        channel._pool.disconnect(inuse_connections=False)
    else:
        channel.forget()
