"""Rows that are in several views, in one round trip: the smallest view is read, and members of all views are kept.

An entry is stale only if its row is past its deadline or deleted, so a live row that is missing from a view does not
match. The caller compares fields that no view covers in the documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.model.cursor import read_cursor, write_cursor
from keyweave.model.entity import Entity, View
from keyweave.model.page import Page
from keyweave.model.record import Record
from keyweave.read.choose import values_of, view_key
from keyweave.read.page import most_members, read_reply
from keyweave.store.access_path import AccessPath
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)


def selectable(context: Context, access: AccessPath) -> bool:
    """Return whether an access path has several views and the server can intersect them."""
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
    """Return a page of the rows that are in every view of `access`.

    Returns:
        The view that was read, and the page. It may be short before the end, when few of the members that were read are
        in every view.

    Raises:
        InvalidCursorError: the cursor is damaged or belongs to another order.
        ValidationError: a value has no key text.
    """
    start = read_cursor(context.state.cursors, cursor, entity.name, order, newest)
    views = access.views
    arguments: tuple[Word, ...] = (
        context.partition(entity).document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        start.score if start is not None else "",
        start.member if start is not None else "",
        most_members(limit),
        len(access.readable),
    )
    keys = tuple([view_key(context, entity, view, filters) for view in views])
    reply: Any = yield from ask_script(context, "select", keys, arguments)
    view = views[reply[0] - 1]
    values = values_of(view, filters)
    records, end = yield from read_reply(context, entity, view.name, values, newest, reply[1:])
    return view, Page(records, write_cursor(context.state.cursors, end) if end is not None else None)
