"""Rows of a query that may be in several partitions: each is asked for its rows in order, and they are merged.

Every partition answers the query by itself, as if it were the only one, and all at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.errors import MultipleRowsError
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import read_cursor, write_cursor
from keyweave.model.entity import Entity
from keyweave.model.exact import EXACT
from keyweave.model.page import Page, check_limit
from keyweave.partitioned import whereabouts
from keyweave.partitioned.inside import inside
from keyweave.partitioned.merge import SURPLUS, merged
from keyweave.partitioned.page import is_read_by_entries, page_by_entries
from keyweave.read import answers, explain, gather, query_page
from keyweave.read.execute import sort_key
from keyweave.read.known import named_list
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.words import words_of
from keyweave.store.context import Context


def answer(
    flow: Callable[..., Flow[Any]],
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    *rest: Any,
) -> Flow[Any]:
    """Do what a flow that answers a query does, over several partitions."""
    return (yield from _OVER_MANY[flow](context, partitions, query, *rest))


def _each(
    flow: Callable[..., Flow[Any]],
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    *rest: Any,
) -> Flow[list[Any]]:
    return (yield from together(context, [flow(inside(context, each), query, *rest) for each in partitions]))


def _page(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, cursor: str | None
) -> Flow[Page[Any]]:
    rows, _, end = yield from _placed_page(context, partitions, query, limit, cursor)
    return Page(rows, end)


def _placed_page(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, cursor: str | None
) -> Flow[tuple[list[Any], Iterator[Partition], str | None]]:
    """Return the rows of a page, the partition of each, and the cursor of the next page."""
    entity = query.entity
    check_limit(limit, entity.name)
    named = named_list(query)
    if named is None:
        checked(query)
    secret, words, start = context.state.cursors, b"", None
    if cursor is not None:
        words = words_of(query, named)
        start = read_cursor(secret, cursor, entity.name, query.order, query.descending, words)
    found = None
    if named is not None and is_read_by_entries(context, named):
        found = yield from page_by_entries(context, partitions, query, named, limit, start)
    if found is not None:
        rows, entries, end = found
        places: Iterator[Partition] = (partitions[number] for _, _, number in entries)
    else:
        pairs, end = yield from merged(context, partitions, query, limit, start)
        rows, places = [row for _, row in pairs], (there.partition(entity) for there, _ in pairs)
    if end is None:
        return rows, places, None
    return rows, places, write_cursor(secret, end, words or words_of(query, named))


def _list(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[list[Any]]:
    return [row for _, row in (yield from _all(context, partitions, query))]


def _all(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[list[tuple[Context, Any]]]:
    """Return all rows in order, each with the context of its partition."""
    contexts = [inside(context, each) for each in partitions]
    lists = yield from together(context, [answers.list_rows(each, query) for each in contexts])
    ranked = [
        (sort_key(each, query, row), each, row)
        for each, rows in zip(contexts, lists, strict=True)
        for row in rows
    ]
    ranked.sort(key=lambda one: one[0], reverse=query.descending)
    return [(each, row) for _, each, row in ranked]


def _first(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[Any]:
    found, _ = yield from merged(context, partitions, query, 1, None)
    return found[0][1] if found else None


def _one(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[Any]:
    found, _ = yield from merged(context, partitions, query, 2, None)
    if not found:
        raise query.entity.missing("")
    if len(found) > 1:
        name = query.entity.name
        raise MultipleRowsError(f"{name}: expected one row, found several", entity=name)
    return found[0][1]


def _count(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[int]:
    return sum((yield from _each(answers.count, context, partitions, query)))


def _exists(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[bool]:
    return any((yield from _each(answers.exists, context, partitions, query)))


def _keys(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[list[Any]]:
    rows = yield from _list(context, partitions, query)
    return [query.entity.key_in(row) for row in rows]


def _total(context: Context, partitions: Sequence[Partition], query: Query, field: str) -> Flow[Any]:
    sums = yield from _each(answers.total, context, partitions, query, field)
    decimal = query.entity.filters[field] == "Decimal"
    return reduce(EXACT.add if decimal else lambda one, other: one + other, sums)


def _lowest(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[Any]:
    found = yield from _each(answers.lowest, context, partitions, query)
    return min([value for value in found if value is not None], default=None)


def _highest(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[Any]:
    found = yield from _each(answers.highest, context, partitions, query)
    return max([value for value in found if value is not None], default=None)


def _explain(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int = 50
) -> Flow[explain.Explanation]:
    found: list[explain.Explanation] = yield from _each(
        explain.explain, context, partitions, query, max(1, math.ceil(limit * SURPLUS / len(partitions)))
    )
    sizes: dict[str, int] = {}
    for each in found:
        for name, size in each.candidates.items():
            sizes[name] = sizes.get(name, 0) + size
    return replace(
        found[0],
        candidates=sizes,
        trips=max(each.trips for each in found),
        documents=sum(each.documents for each in found),
        partitions=len(partitions),
    )


def _with(
    found: list[tuple[Context, Any]], context: Context, query: Query, child: str, field: str
) -> Flow[list[Any]]:
    """Return rows in order, each with the rows that refer to it, which are in its partition."""
    groups: dict[int, tuple[Context, list[Any]]] = {}
    for there, row in found:
        groups.setdefault(id(there), (there, []))[1].append(row)
    lists = yield from together(
        context, [gather.with_lists(there, query, rows, child, field) for there, rows in groups.values()]
    )
    pairs = {number: iter(pairs) for number, pairs in zip(groups, lists, strict=True)}
    return [next(pairs[id(there)]) for there, _ in found]


def _page_with(
    context: Context,
    partitions: Sequence[Partition],
    query: Query,
    child: str,
    field: str,
    limit: int,
    cursor: str | None,
) -> Flow[Page[Any]]:
    rows, found_in, end = yield from _placed_page(context, partitions, query, limit, cursor)
    places = list(found_in)
    contexts = {place.index: inside(context, place) for place in places}
    found = [(contexts[place.index], row) for place, row in zip(places, rows, strict=True)]
    return Page((yield from _with(found, context, query, child, field)), end)


def _list_with(
    context: Context, partitions: Sequence[Partition], query: Query, child: str, field: str
) -> Flow[list[Any]]:
    found = yield from _all(context, partitions, query)
    return (yield from _with(found, context, query, child, field))


def _first_with(
    context: Context, partitions: Sequence[Partition], query: Query, child: str, field: str
) -> Flow[Any]:
    found, _ = yield from merged(context, partitions, query, 1, None)
    return (yield from _with(found, context, query, child, field))[0] if found else None


def group_counts(
    flow: Callable[..., Flow[dict[str, int]]],
    context: Context,
    entity: Entity[Any],
    view: str,
    values: tuple[Any, ...],
) -> Flow[dict[str, int]]:
    """Return the number of rows for each value of a view's last field, over all partitions that can have them."""
    fields = entity.views[view].fields[: len(values)]
    if entity.partition_by in fields:
        value = values[fields.index(entity.partition_by)]
        partitions = [whereabouts.by_value(context, entity, value)]
    else:
        partitions = context.keyspace.holders(entity.group)
    every = yield from together(
        context, [flow(inside(context, each), entity, view, values) for each in partitions]
    )
    order = dict.fromkeys(entity.views[view].groups, 0)
    for counts in every:
        for name, number in counts.items():
            order[name] += number
    return {name: number for name, number in order.items() if number}


_OVER_MANY: Final[dict[Callable[..., Any], Callable[..., Flow[Any]]]] = {
    query_page.page: _page,
    answers.list_rows: _list,
    answers.first: _first,
    answers.one: _one,
    answers.count: _count,
    answers.exists: _exists,
    answers.keys: _keys,
    answers.total: _total,
    answers.lowest: _lowest,
    answers.highest: _highest,
    explain.explain: _explain,
    gather.page_with: _page_with,
    gather.list_with: _list_with,
    gather.first_with: _first_with,
}
"""What answers a query over several partitions, by the flow that does it in one."""
