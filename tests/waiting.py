"""Waiting until something is true, within a bound: tests name the condition, never a duration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LONGEST = 20
"""Seconds that the slowest machine may need."""


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until `condition` is true.

    Raises:
        TimeoutError: it did not become true.
    """
    async with asyncio.timeout(_LONGEST):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, without an event loop, until `condition` is true.

    Raises:
        TimeoutError: it never was.
    """
    limit = time.monotonic() + _LONGEST
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.001)
