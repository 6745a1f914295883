"""Pages of queries. Most queries ask for the rows of one list of a view, or of a stretch of it; the others are planned.

A view's handle names its list. Of filters the planner finds it out, and it depends on their values only where an index has a
condition. So the process remembers which list it chose, and does not plan again for filters that differ in other values.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any

from keyweave.effects import Flow
from keyweave.model.cursor import read_cursor, write_cursor
from keyweave.model.entity import Entity, View
from keyweave.model.keytext import check_value, key_text
from keyweave.model.moment import to_micros
from keyweave.model.numbering import IntKey
from keyweave.model.page import MAX_LIMIT, Page, check_limit
from keyweave.query import Predicate, Range
from keyweave.read.conditions import order_fields, stretch_of
from keyweave.read.ends import EXACT
from keyweave.read.execute import answer_to, read_rows
from keyweave.read.page import read_streams
from keyweave.read.plan import checked
from keyweave.read.query import MOMENTS, Query
from keyweave.read.stream import Stream, ends_of
from keyweave.read.words import words_of
from keyweave.store.access_path import FilteredList, FilteredLists
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
    named = list_of(query)
    stream = named if named is not None else _filtered_list(context, query)
    conditions = checked(query) if stream is None else []
    words, start = b"", None
    if cursor is not None:
        words = words_of(query, named)
        start = read_cursor(context.state.cursors, cursor, entity.name, query.order, newest, words)
    if stream is not None:
        # The fast path: most pages are of one list.
        rows, end = yield from read_streams(context, entity, (stream,), limit, start, newest)
    else:
        answer = yield from answer_to(context, query, conditions)
        if answer.plain and len(answer.streams) == 1 and not answer.plans[0].sizes:
            _remember_list(context, query, answer.streams[0])
        rows, end = yield from read_rows(context, answer, limit, start)
    if end is None:
        return Page(rows, None)
    return Page(rows, write_cursor(context.state.cursors, end, words or words_of(query, named)))


def list_of(query: Query) -> Stream | None:
    """Return the list that the handle of a view asks for and nothing else; None for any other query.

    Raises:
        ValidationError: a value does not fit its field.
    """
    part, entity = query.parts[0], query.entity
    if len(query.parts) > 1 or not part.view or part.having or part.filters:
        return None
    view = entity.views[part.view]
    if view.order != query.order:
        return None
    return _list(entity, view, part.values, part.stretches)


def _filtered_list(context: Context, query: Query) -> Stream | None:
    """Return the list that the planner chose for filters of this kind; None if it has to plan.

    Raises:
        ValidationError: a value does not fit its field.
    """
    lists = context.state.filtered_lists.get(query.entity.name)
    if lists is None or context.unbuilt or context.unit is not None:
        return None
    try:
        known = lists.known.get(_kind(query, lists))
    except TypeError:  # a value that cannot be compared; the planner says which one
        return None
    if known is None:
        return None
    part, view = query.parts[0], known.view
    filters = part.filters
    stretches = list(part.stretches)
    for name in known.ranges:
        stretches.append((filters[name].low, filters[name].high))
    found = _list(query.entity, view, [filters[name] for name in view.fields], stretches)
    return found if found is not None and (found.ends or not stretches) else None


def _remember_list(context: Context, query: Query, stream: Stream) -> None:
    """Remember that the planner chose this list, without a comparison and without asking for sizes."""
    entity, view, ranges = query.entity, stream.view, []
    lists = context.state.filtered_lists.get(entity.name)
    if lists is None:
        lists = context.state.filtered_lists.setdefault(entity.name, FilteredLists(entity))
    kind = _kind(query, lists)
    if kind is None or context.unbuilt or context.unit is not None or view.each:
        return
    for name, value in query.parts[0].filters.items():
        if type(value) is Range and name in order_fields(entity, view.order):
            ranges.append(name)
        elif name not in lists.conditional and (type(value) is Range or name not in view.fields):
            return
    lists.remember(kind, FilteredList(view, tuple(ranges)))


def _kind(query: Query, lists: FilteredLists) -> Hashable | None:
    """Return what the planner's choice depends on; None for a query that it has to plan each time."""
    part = query.parts[0]
    if len(query.parts) > 1 or part.view or part.having or not part.filters:
        return None
    marks: list[Any] = [
        query.order,
        query.scan,
        *[(low is None, high is None) for low, high in part.stretches],
    ]
    for name, value in part.filters.items():
        kind = type(value)
        if kind is Range:
            marks += (name, kind, value.low is None, value.high is None)
        elif value is None or isinstance(value, Predicate):
            return None
        else:
            marks += (name, kind)
        if name in lists.conditional:
            marks.append(value)
    return tuple(marks)


def _list(
    entity: Entity[Any], view: View, values: Sequence[Any], stretches: Sequence[tuple[Any, Any]]
) -> Stream | None:
    texts = []
    for name, value in zip(view.selecting, values, strict=True):
        kind = entity.filters[name] if name != view.each else entity.filters[name][5:-1]
        if type(value) is not str or kind != "str" or not value.isascii():
            checked_value = check_value(value, kind, entity=entity.name, field=name)
            text = key_text(IntKey(checked_value) if name in entity.referring else checked_value)
        else:
            text = value  # check_value and key_text would return it as well
        texts.append(text.strip() if name in entity.trimmed else text)
    if not stretches:
        return Stream(view, tuple(texts))
    moments = _moment_ends(*stretches[0]) if len(stretches) == 1 and view.order in MOMENTS else None
    if moments is not None:
        return Stream(view, tuple(texts), moments)
    ends = stretch_of(entity, view.order, stretches)
    return Stream(view, tuple(texts), ends_of(*ends)) if ends is not None else None


def _moment_ends(low: Any, high: Any) -> tuple[str, str] | None:
    """Return what `ends_of` returns for a stretch of moments; None if that takes a closer look at its ends."""
    ends = []
    for end in (low, high):
        if end is None:
            ends.append(0)
        elif type(end) is datetime and end.tzinfo is not None:
            ends.append(to_micros(end))
        else:
            return None
    first, last = ends
    if not (-EXACT < first < EXACT and -EXACT < last < EXACT):
        return None
    if low is None:
        return ("-inf", str(last)) if high is not None else None
    if high is None:
        return (str(first), "+inf")
    return (str(first), str(last)) if first <= last else None
