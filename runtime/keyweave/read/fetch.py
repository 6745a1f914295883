"""Fetching: all rows of a list or search, read page by page without a limit on their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Flow
from keyweave.model.entity import Entity
from keyweave.model.page import Page
from keyweave.model.record import Record
from keyweave.read.join import Having
from keyweave.read.page import page
from keyweave.read.search import search
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

PAGE_SIZE: Final = 500
"""Maximum number of rows in one page, which the server reads in one step."""


def fetch(
    context: Context, entity: Entity[R], view: str, values: tuple[str, ...], *, newest: bool
) -> Flow[list[R]]:
    """Return every row of a view once; arguments and errors as for `page.page`."""
    return (
        yield from _read_all(
            entity,
            lambda cursor: page(context, entity, view, values, limit=PAGE_SIZE, cursor=cursor, newest=newest),
        )
    )


def fetch_matching(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    having: Sequence[Having] = (),
    *,
    order: str,
    newest: bool,
) -> Flow[list[R]]:
    """Return every row that `search.search` finds once; arguments and errors as there."""
    return (
        yield from _read_all(
            entity,
            lambda cursor: search(
                context, entity, filters, having, order=order, limit=PAGE_SIZE, cursor=cursor, newest=newest
            ),
        )
    )


def _read_all(entity: Entity[R], next_page: Callable[[str | None], Flow[Page[R]]]) -> Flow[list[R]]:
    found = yield from next_page(None)
    records, cursor = found.records, found.cursor
    if cursor is None:
        return records
    while cursor is not None:
        found = yield from next_page(cursor)
        records += found.records
        cursor = found.cursor
    return _without_repeats(entity, records)


def _without_repeats(entity: Entity[R], records: list[R]) -> list[R]:
    """Drop earlier occurrences of rows that other writers moved while the pages were read."""
    key_of = entity.key_of
    if len(set(map(key_of, records))) == len(records):
        return records
    last = {key_of(record): record for record in records}
    return [record for record in records if last[key_of(record)] is record]
