"""Sentinels of which none gets lost.

When a Sentinel has answered, redis-py swaps it with the first one of its list, by the place that it had when the question began. Of two
callers who do so at the same time, the second one puts one Sentinel into the list twice, and another one is gone for good: it
is never asked again, and never closed. Here every call has a list of its own, and the common list keeps all.
"""

from __future__ import annotations

import copy
from typing import Any

import redis.asyncio.sentinel
import redis.sentinel


class Sentinels(redis.sentinel.Sentinel):
    """The blocking Sentinels of a store."""

    def discover_master(self, service_name: str) -> Any:
        """Return host and port of the master; the Sentinel that named it is asked first the next time."""
        own = _copy(self)
        found = super(Sentinels, own).discover_master(service_name)  # type: ignore[no-untyped-call]
        self.sentinels = _led_by(own.sentinels[0], self.sentinels)
        return found


class AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """The asyncio Sentinels of a store."""

    async def discover_master(self, service_name: str) -> Any:
        """Return host and port of the master; the Sentinel that named it is asked first the next time."""
        own = _copy(self)
        found = await super(AsyncSentinels, own).discover_master(service_name)
        self.sentinels = _led_by(own.sentinels[0], self.sentinels)
        return found


def _copy(sentinels: Any) -> Any:
    own = copy.copy(sentinels)
    own.sentinels = list(sentinels.sentinels)
    return own


def _led_by(first: Any, sentinels: list[Any]) -> list[Any]:
    """Return a new list of the same Sentinels with one of them at its beginning."""
    return [first, *(each for each in sentinels if each is not first)]
