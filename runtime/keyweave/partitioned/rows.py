"""Rows of a query that may be in several partitions: each is asked for its rows in order, and they are merged.

Every partition answers the query by itself, as if it were the only one, and all at the same time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.errors import MultipleRowsError
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import Position, read_cursor, write_cursor
from keyweave.model.entity import Entity
from keyweave.model.exact import EXACT
from keyweave.model.page import Page, check_limit
from keyweave.partitioned import whereabouts
from keyweave.partitioned.entries import page_by_entries
from keyweave.partitioned.inside import inside
from keyweave.read import answers, explain, gather, query_page
from keyweave.read.execute import Answer, answer_to, read_rows, sort_key
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.query_page import list_of
from keyweave.read.rank import Rank, position_at
from keyweave.read.words import words_of
from keyweave.store.context import Context

_SURPLUS: Final = 1.5
"""How many documents are read first for each row of a page, because partitions do not have equal shares of it."""


class _Source:
    """What one partition has of a query: rows that were read and not merged yet, and where the next ones begin."""

    def __init__(self, context: Context, query: Query, start: Position | None) -> None:
        self.context: Final = context
        self.query: Final = query
        self.start = start
        self.whole = False
        self.read = 0
        self.rows: deque[tuple[Rank, Any]] = deque()
        self.answer: Answer | None = None

    @property
    def blocks(self) -> bool:
        """Whether a row that comes first may be among those that were not read."""
        return not self.rows and not self.whole

    def more(self, limit: int) -> Flow[None]:
        """Read up to `limit` rows."""
        if self.answer is None:
            self.answer = yield from answer_to(self.context, self.query, checked(self.query))
        found, self.start = yield from read_rows(self.context, self.answer, limit, self.start)
        self.whole = self.start is None
        self.read += len(found)
        self.rows += [(sort_key(self.context, self.query, row), row) for row in found]


def _merged(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, start: Position | None
) -> Flow[tuple[list[tuple[Context, Any]], Position | None]]:
    """Return up to `limit` rows after a position, each with the context of its partition, and the next position."""
    newest, entity = query.descending, query.entity
    sources = [_Source(inside(context, each), query, start) for each in partitions]
    found: dict[str, tuple[Context, Any]] = {}
    step = min(limit, max(1, math.ceil(limit * _SURPLUS / len(sources))))
    last: Rank | None = None
    while len(found) < limit:
        waiting = [source for source in sources if source.blocks]
        if waiting:
            yield from together(
                context, [source.more(min(limit, max(step, source.read))) for source in waiting]
            )
            step = max(1, math.ceil((limit - len(found)) / len(sources)))
            continue
        heads = [source for source in sources if source.rows]
        if not heads:
            return list(found.values()), None
        first = (max if newest else min)(heads, key=lambda source: source.rows[0][0])
        last, row = first.rows.popleft()
        found.pop(entity.key_of(row), None)  # it changed while others were read
        found[entity.key_of(row)] = first.context, row
    assert last is not None
    left = any(source.rows or not source.whole for source in sources)
    return list(found.values()), position_at(entity, query.order, newest, last) if left else None


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
    found, end = yield from _page_with_contexts(context, partitions, query, limit, cursor)
    return Page([row for _, row in found], end)


def _page_with_contexts(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, cursor: str | None
) -> Flow[tuple[list[tuple[Context, Any]], str | None]]:
    check_limit(limit, query.entity.name)
    checked(query)
    secret, words = context.state.cursors, words_of(query, list_of(query))
    start = (
        read_cursor(secret, cursor, query.entity.name, query.order, query.descending, words)
        if cursor is not None
        else None
    )
    read = yield from page_by_entries(context, partitions, query, limit, start)
    found, end = read if read is not None else (yield from _merged(context, partitions, query, limit, start))
    return found, write_cursor(secret, end, words) if end is not None else None


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
    found, _ = yield from _merged(context, partitions, query, 1, None)
    return found[0][1] if found else None


def _one(context: Context, partitions: Sequence[Partition], query: Query) -> Flow[Any]:
    found, _ = yield from _merged(context, partitions, query, 2, None)
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
        explain.explain, context, partitions, query, max(1, math.ceil(limit * _SURPLUS / len(partitions)))
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
    found, end = yield from _page_with_contexts(context, partitions, query, limit, cursor)
    return Page((yield from _with(found, context, query, child, field)), end)


def _list_with(
    context: Context, partitions: Sequence[Partition], query: Query, child: str, field: str
) -> Flow[list[Any]]:
    found = yield from _all(context, partitions, query)
    return (yield from _with(found, context, query, child, field))


def _first_with(
    context: Context, partitions: Sequence[Partition], query: Query, child: str, field: str
) -> Flow[Any]:
    found, _ = yield from _merged(context, partitions, query, 1, None)
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
