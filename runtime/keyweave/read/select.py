"""Rows that are in several views at once, in one round trip: the smallest is read, the others tell which members count.

An entry can be stale only where its row is past its deadline or gone, so a live row that is missing from one of the
views does not match. What no view answers for is compared on the documents, by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.model.entity import Entity, View
from keyweave.model.page import Page, read_cursor, write_cursor
from keyweave.model.record import Record
from keyweave.read.choose import values_of, view_key
from keyweave.read.page import SCAN_FACTOR, read_reply
from keyweave.store.access_path import AccessPath
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

MIN_SCAN: Final = 4000
"""Members that one call may look at, also for a small page: few of them may be in the other views."""


def selectable(context: Context, access: AccessPath) -> bool:
    """Whether several views can be put together by the server."""
    several = len(access.readable) + len(access.narrowing) > 1
    return several and context.strategy.select is not None


def select(
    context: Context,
    entity: Entity[R],
    access: AccessPath,
    filters: Mapping[str, Any],
    *,
    order: str,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[tuple[View, Page[R]]]:
    """One stretch of the rows that are in every view of `access`.

    Returns:
        The view that was read, and a page, which is short only when few of the members that were looked at are in every
        view.

    Raises:
        InvalidCursorError: the cursor.
        ValidationError: a value cannot be looked up.
    """
    place = read_cursor(cursor, entity.name, order, newest)
    views = access.views
    arguments: tuple[Word, ...] = (
        context.partition(entity).document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        place.score if place is not None else "",
        place.member if place is not None else "",
        max(MIN_SCAN, limit * SCAN_FACTOR),
        len(access.readable),
    )
    keys = tuple([view_key(context, entity, view, filters) for view in views])
    reply: Any = yield from ask_script(context, "select", keys, arguments)
    view = views[reply[0] - 1]
    values = values_of(view, filters)
    records, onward = yield from read_reply(context, entity, view.name, values, newest, reply[1:])
    return view, Page(records, write_cursor(onward) if onward is not None else None)
