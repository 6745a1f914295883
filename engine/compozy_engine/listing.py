"""Lists without a limit, read page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from keyweave.page import Page
from keyweave.record import Record

R = TypeVar("R", bound=Record)

BATCH: Final = 500
"""Rows that are read at a time."""


async def every(page: Callable[[str | None], Awaitable[Page[R]]]) -> list[R]:
    """The rows of all pages.

    Args:
        page: reads the page at a cursor; None is the first.
    """
    rows: list[R] = []
    cursor: str | None = None
    while True:
        found = await page(cursor)
        rows += found.records
        cursor = found.cursor
        if cursor is None:
            return rows
