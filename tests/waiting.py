"""Waiting until something is true, within a bound: tests name the condition, never a duration."""

from __future__ import annotations

import asyncio
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
