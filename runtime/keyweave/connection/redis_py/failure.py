"""What redis-py raises while it connects, as the failures and replies that flows know. No text here has a credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis

from keyweave.connection.direct import wire
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError

_DENIED: Final = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
NOT_CARRIED_OUT: Final = (redis.BusyLoadingError, redis.exceptions.MasterDownError)
"""Refusals of the greeting by a server that is usable as a connection: it answers commands with the same refusal."""

_LATE: Final = (redis.TimeoutError, TimeoutError)


def original(error: Exception) -> Exception:
    """Return what a server answered, or a provider of credentials raised, where redis-py has wrapped it in another error."""
    cause = error.__cause__
    wrapped = type(error) is redis.ConnectionError and isinstance(cause, Exception)
    return cause if wrapped and not isinstance(cause, OSError) else error  # type: ignore[return-value]


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
    """Return the replies to commands that a server did not get, because it refused the greeting."""
    return [ServerError(f"{_code(refusal) or 'LOADING'} {refusal}")] * len(commands)


def _code(error: redis.RedisError) -> str:
    return str(getattr(error, "status_code", None) or "")
