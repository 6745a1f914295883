"""Fetching: all rows of a list or search at once, read page after page. Nothing is left out for its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
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
"""Rows of one page, which is one step of the server."""


def fetch(
    context: Context, entity: Entity[R], view: str, values: tuple[str, ...], *, newest: bool
) -> Flow[list[R]]:
    """Every row of a view, each once; arguments and errors as for `paging.page`."""
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
    """Every row that `searching.search` finds, each once; arguments and errors as there."""
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
    """Rows that moved on while pages were read, and so were met again, only where they were met last."""
    key_of = attrgetter(entity.key)
    if len(set(map(key_of, records))) == len(records):
        return records
    last = {key_of(record): record for record in records}
    return [record for record in records if last[key_of(record)] is record]
