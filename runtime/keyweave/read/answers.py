"""What a handle can be asked for, beside a page: all rows, the first, the only one, numbers, keys, sums and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial, reduce
from operator import attrgetter
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.errors import MultipleRowsError, ValidationError
from keyweave.exchange.bound import most_lists
from keyweave.exchange.handshake import require_built
from keyweave.homes.misplaced import has_misplaced
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.exact import EXACT
from keyweave.model.page import MAX_LIMIT
from keyweave.read.conditions import condition_name
from keyweave.read.count import count_streams
from keyweave.read.cover import Cover, count_covered, covers_of, members_covered
from keyweave.read.execute import Answer, answer_to, read_rows
from keyweave.read.known import (
    known_cover,
    known_lists,
    named_list,
    read_known,
    remember_choice,
    remember_cover,
)
from keyweave.read.match import value_of
from keyweave.read.merge import merge_call
from keyweave.read.page import next_position
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.stream import Stream
from keyweave.store.context import Context

PAGE_SIZE: Final = 500
"""Maximum number of rows in one page of a list, which the server reads in one step."""

_ZEROS: Final[dict[str, Any]] = {"int": 0, "float": 0.0, "Decimal": Decimal(0), "timedelta": timedelta(0)}
"""The sum of no rows, by the kind of field."""


def list_rows(context: Context, query: Query) -> Flow[list[Any]]:
    """Return every row of a query once, read page by page without a limit on their number; errors as for `query_page.page`."""
    if context.router is not None:
        return list((yield from context.router.query(list_rows, context, query)))
    lists = known_lists(context, query, named_list(query))
    if lists is None:
        return (yield from rows_of(context, (yield from _planned(context, query))))
    return (yield from _every_row(query, partial(read_known, context, query, lists, PAGE_SIZE)))


def rows_of(context: Context, answer: Answer) -> Flow[list[Any]]:
    """Return every row of a planned query once."""
    return (yield from _every_row(answer.query, partial(read_rows, context, answer, PAGE_SIZE)))


def _every_row(
    query: Query, read: Callable[[Position | None], Flow[tuple[list[Any], Position | None]]]
) -> Flow[list[Any]]:
    """Return every row of a query once; `read` returns the rows behind a position, and the next position."""
    rows, start = yield from read(None)
    if start is None:
        return rows
    while start is not None:
        more, start = yield from read(start)
        rows += more
    return _without_repeats(query, rows)


def _planned(context: Context, query: Query) -> Flow[Answer]:
    """Return a query with its plans, and remember them where they depend on the kinds of its filters alone."""
    answer = yield from answer_to(context, query, checked(query))
    remember_choice(context, answer)
    return answer


def _without_repeats(query: Query, rows: list[Any]) -> list[Any]:
    """Drop earlier occurrences of rows that other writers moved while the pages were read."""
    key_of = attrgetter(*query.entity.key_fields)
    if len(set(map(key_of, rows))) == len(rows):
        return rows
    last = {key_of(row): row for row in rows}
    return [row for row in rows if last[key_of(row)] is row]


def first(context: Context, query: Query) -> Flow[Any]:
    """Return the first row of a query, or None; errors as for `query_page.page`."""
    if context.router is not None:
        return (yield from context.router.query(first, context, query))
    rows = yield from _leading(context, query, 1)
    return rows[0] if rows else None


def one(context: Context, query: Query) -> Flow[Any]:
    """Return the only row of a query.

    Raises:
        NotFoundError: the entity's own error, when there is no row.
        MultipleRowsError: there are several.
        ValidationError, UnboundedQueryError, ViewNotBuiltError: as for `query_page.page`.
    """
    if context.router is not None:
        return (yield from context.router.query(one, context, query))
    rows = yield from _leading(context, query, 2)
    if not rows:
        raise query.entity.missing("")
    if len(rows) > 1:
        name = query.entity.name
        raise MultipleRowsError(f"{name}: expected one row, found several", entity=name)
    return rows[0]


def _leading(context: Context, query: Query, limit: int) -> Flow[list[Any]]:
    lists = known_lists(context, query, named_list(query))
    if lists is not None:
        rows, _ = yield from read_known(context, query, lists, limit, None)
    else:
        rows, _ = yield from read_rows(context, (yield from _planned(context, query)), limit, None)
    return rows


def count(context: Context, query: Query) -> Flow[int]:
    """Return the number of rows of a query, without documents where views cover the filters; errors as for `query_page.page`."""
    if context.router is not None:
        return int((yield from context.router.query(count, context, query)))
    if _misplaced(context, query):
        return len((yield from list_rows(context, query)))
    covers = _covers(context, query)
    if covers is not None:
        if len(covers) == len(covers[0]) == 1:
            return sum((yield from count_streams(context, query.entity, covers[0][0])))
        return (yield from count_covered(context, query, covers))
    answer = yield from answer_to(context, query, checked(query))
    if answer.plain and not answer.streams:
        return 0
    if _countable(context, answer):
        return sum((yield from count_streams(context, query.entity, answer.streams)))
    number, start = 0, None
    while True:
        rows, start = yield from read_rows(context, answer, MAX_LIMIT, start)
        number += len(rows)
        if start is None:
            return number


def _covers(context: Context, query: Query) -> Sequence[Cover] | None:
    """Return the covers of a query in whatever order; see `covers_of`. Where they depend on the kinds of its filters alone, they are remembered."""
    usual = context.unit is None and not context.unbuilt and query.order not in query.entity.nullable
    if usual:
        named = named_list(query)
        known = known_cover(context, query) if named is None else (named,)
        if known is not None and not known[0].ends and not known[0].view.by_text:
            return [tuple([(each,) for each in known])]
    covers = covers_of(context, query, checked(query))
    if usual and covers is not None and len(covers) == 1 and all(len(group) == 1 for group in covers[0]):
        remember_cover(context, query, tuple([group[0] for group in covers[0]]))
    return covers


def _misplaced(context: Context, query: Query) -> bool:
    """Return whether rows have to be read, because the partition may have some that have moved to its twin."""
    return context.doubling is not None and has_misplaced(context, context.partition(query.entity))


def _countable(context: Context, answer: Answer) -> bool:
    """Return whether sizes give the number of rows: lists of one view have no row in common.

    A transaction's own rows are counted in whole lists only.
    """
    bounded = any(stream.ends for stream in answer.streams)
    return answer.plain and len(answer.plans) == 1 and not (bounded and context.unit is not None)


def exists(context: Context, query: Query) -> Flow[bool]:
    """Return whether a query has a row, without documents where views cover the filters; errors as for `query_page.page`."""
    if context.router is not None:
        return bool((yield from context.router.query(exists, context, query)))
    if _misplaced(context, query):
        return (yield from first(context, query)) is not None
    covers = _covers(context, query)
    if covers is not None:
        if len(covers) == len(covers[0]) == 1:
            return sum((yield from count_streams(context, query.entity, covers[0][0]))) > 0
        return bool((yield from members_covered(context, query, covers, 1)))
    answer = yield from answer_to(context, query, checked(query))
    rows, _ = yield from read_rows(context, answer, 1, None)
    return bool(rows)


def keys(context: Context, query: Query) -> Flow[list[Any]]:
    """Return the keys of all rows of a query in order, without documents where views cover the filters.

    Errors as for `query_page.page`.
    """
    if context.router is not None:
        return list((yield from context.router.query(keys, context, query)))
    if _misplaced(context, query):
        return [query.entity.key_in(row) for row in (yield from list_rows(context, query))]
    entity = query.entity
    lists = known_lists(context, query, named_list(query)) if context.unit is None else None
    if lists is not None and len(lists[0]) == 1 and not lists[1] and context.strategy.by_script:
        return (yield from _merged_keys(context, query, lists[0]))
    conditions = checked(query)
    covers = covers_of(context, query, conditions, ordered=True)
    if covers is None:
        answer = yield from answer_to(context, query, conditions)
        if answer.plain and answer.streams and context.unit is None and _mergeable(context, answer.streams):
            return (yield from _merged_keys(context, query, answer.streams))
        rows = yield from rows_of(context, answer)
        return list(dict.fromkeys(map(entity.key_in, rows)))
    if context.unit is None and all(len(cover) < 2 for cover in covers):
        streams = tuple(dict.fromkeys([stream for cover in covers for group in cover for stream in group]))
        if _mergeable(context, streams):
            return (yield from _merged_keys(context, query, streams))
    members = yield from members_covered(context, query, covers)
    ordered = sorted(members, key=lambda member: (members[member], member), reverse=query.descending)
    return _keys_of(entity, ordered)


def _mergeable(context: Context, streams: Sequence[Stream]) -> bool:
    """Return whether one script can merge streams."""
    most = most_lists(context)
    return context.strategy.by_script and (most is None or len(streams) <= most)


def _merged_keys(context: Context, query: Query, streams: Sequence[Stream]) -> Flow[list[Any]]:
    """Return the keys of all rows of streams, in the order in which the server merges them.

    Raises:
        ViewNotBuiltError: a view is not built.
    """
    entity, newest = query.entity, query.descending
    if context.unbuilt:
        for stream in streams:
            yield from require_built(context, entity, stream.view.name)
    found: list[bytes] = []
    start: Position | None = None
    while streams:
        reply = yield from merge_call(context, entity, streams, MAX_LIMIT, start, newest, "members")
        found += reply[3:]
        start = next_position(entity, streams, newest, reply)
        if start is None:
            break
    if streams and streams[0].view.by_text:
        found = [streams[0].view.key_in(member.decode()).encode() for member in found]
    return _keys_of(entity, dict.fromkeys(found))


def _keys_of(entity: Entity[Any], members: Iterable[bytes]) -> list[Any]:
    """Return the keys with these ids; what is the id of no key is left out, as rows that do not exist are elsewhere."""
    if entity.key_kind == "str":
        return [member.decode() for member in members]
    found = []
    for member in members:
        with suppress(ValueError):
            found.append(entity.key_value(member.decode()))
    return found


def total(context: Context, query: Query, field: str) -> Flow[Any]:
    """Return the sum of a field over all rows of a query. Reads their documents; null counts as nothing.

    Raises:
        ValidationError: the field is not numeric; and as for `query_page.page`.
        UnboundedQueryError, ViewNotBuiltError: as for `query_page.page`.
    """
    if context.router is not None:
        return (yield from context.router.query(total, context, query, field))
    entity = query.entity
    kind = entity.filters.get(field, "")
    if kind not in _ZEROS:
        rule = "only a field of numbers or durations has a sum"
        raise ValidationError(f"{entity.name}.{field}: {rule}", entity=entity.name, field=field, rule=rule)
    answer = yield from answer_to(context, query, checked(query))
    result, start = _ZEROS[kind], None
    while True:
        rows, start = yield from read_rows(context, answer, MAX_LIMIT, start)
        values = [value for row in rows if (value := getattr(row, field)) is not None]
        result = reduce(EXACT.add, values, result) if kind == "Decimal" else sum(values, result)
        if start is None:
            return result


def lowest(context: Context, query: Query) -> Flow[Any]:
    """Return the lowest value of the order of a query, or None without rows; errors as for `query_page.page`."""
    if context.router is not None:
        return (yield from context.router.query(lowest, context, query))
    return (yield from _end(context, query, descending=False))


def highest(context: Context, query: Query) -> Flow[Any]:
    """Return the highest value of the order of a query, or None without rows; errors as for `query_page.page`."""
    if context.router is not None:
        return (yield from context.router.query(highest, context, query))
    return (yield from _end(context, query, descending=True))


def _end(context: Context, query: Query, *, descending: bool) -> Flow[Any]:
    query = query if query.descending == descending else query.reversed()
    row = yield from first(context, query)
    return value_of(query.entity, row, condition_name(query.order)) if row is not None else None
