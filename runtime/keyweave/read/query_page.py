"""Pages of queries. Most of them are pages of known lists; the others are planned."""

from __future__ import annotations

from typing import Any

from keyweave.effects import Flow
from keyweave.model.cursor import read_cursor, write_cursor
from keyweave.model.page import MAX_LIMIT, Page, check_limit
from keyweave.read.execute import answer_to, read_rows
from keyweave.read.known import known_lists, named_list, read_known, remember_choice
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.words import words_of
from keyweave.store.context import Context


def page(context: Context, query: Query, limit: int, cursor: str | None) -> Flow[Page[Any]]:
    """Return one page of a query.

    Args:
        query: what to read.
        limit: maximum number of rows, 1 to 1000.
        cursor: where the page begins, from an earlier page of the query; None for the first page.

    Raises:
        ValidationError: the limit, the order, a filter, a value or a predicate is not valid.
        InvalidCursorError: the cursor is damaged or belongs to another query.
        UnboundedQueryError: no view bounds the query, and it does not allow to scan.
        ViewNotBuiltError: a view that the query needs is not built.
    """
    if context.router is not None:
        found: Page[Any] = yield from context.router.query(page, context, query, limit, cursor)
        return found
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        check_limit(limit, query.entity.name)
    entity, newest = query.entity, query.descending
    named = named_list(query)
    lists = known_lists(context, query, named)
    conditions = checked(query) if lists is None else []
    words, start = b"", None
    if cursor is not None:
        words = words_of(query, named)
        start = read_cursor(context.state.cursors, cursor, entity.name, query.order, newest, words)
    if lists is not None:
        rows, end = yield from read_known(context, query, lists, limit, start)
    else:
        answer = yield from answer_to(context, query, conditions)
        remember_choice(context, answer)
        rows, end = yield from read_rows(context, answer, limit, start)
    if end is None:
        return Page(rows, None)
    return Page(rows, write_cursor(context.state.cursors, end, words or words_of(query, named)))
