"""What redis-py raises while it connects, as the failures and replies that flows know. No text here has a credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis

from keyweave.connection.direct import wire
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError

_DENIED: Final = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
_LATE: Final = (redis.TimeoutError, TimeoutError)


def connecting_failed(
    settings: ConnectionSettings, error: Exception, seconds: float | None = None
) -> ConnectionFailure:
    """Return the failure of connecting. None of the flow's commands were sent.

    Args:
        seconds: how long connecting was allowed to take.
    """
    if isinstance(error, _DENIED):
        return ConnectionFailure(
            "authentication", f"{settings.address} refused the credentials ({_code(error)})", sent=False
        )
    if isinstance(error, _LATE):
        return wire.connect_failed(settings, TimeoutError(), seconds)
    if isinstance(error, redis.RedisError | OSError | UnicodeError):
        return wire.connect_failed(settings, error)
    # A provider of credentials failed. Its text may contain one.
    message = f"cannot connect to {settings.address}: {type(error).__name__} while connecting"
    return ConnectionFailure("connect", message, sent=False)


def refused_while_connecting(refusal: redis.RedisError, commands: Sequence[Command]) -> list[Reply]:
    """Return the replies to commands that a server which is loading did not get."""
    return [ServerError(f"{_code(refusal) or 'LOADING'} {refusal}")] * len(commands)


def _code(error: redis.RedisError) -> str:
    return str(getattr(error, "status_code", None) or "")
