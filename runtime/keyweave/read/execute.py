"""Execution: the rows of a query by its plans, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from keyweave.changes.change import score_number
from keyweave.effects import Flow
from keyweave.homes.misplaced import has_misplaced, is_misplaced
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.member import text_member
from keyweave.model.page import MAX_LIMIT
from keyweave.model.record import Record, memory_of
from keyweave.read.conditions import Conditions
from keyweave.read.ends import score_of_value
from keyweave.read.get import find, find_by, get_many
from keyweave.read.join import Condition, joined, keep_having
from keyweave.read.match import matches
from keyweave.read.page import read_streams
from keyweave.read.plan import Plan, plan_of
from keyweave.read.query import MOMENTS, Query, in_text
from keyweave.read.rank import between, position_at, rank_of
from keyweave.read.stream import Stream
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_MIN_BATCH: Final = 50


class Answer(msgspec.Struct, frozen=True):
    """A query that is checked and planned.

    Attributes:
        query: the query.
        plans: one for each part.
        having: for each part its checked conditions on referring rows.
        streams: the lists of all parts that are read in the order of the query.
        newest: whether the highest value comes first.
    """

    query: Query
    plans: tuple[Plan, ...]
    having: tuple[tuple[Condition, ...], ...]
    streams: tuple[Stream, ...]
    newest: bool

    @property
    def exact(self) -> bool:
        """Whether every row that is read is a row of the query."""
        return all(plan.exact for plan in self.plans)

    @property
    def plain(self) -> bool:
        """Whether the rows are those of the streams, without a comparison."""
        return self.exact and not any(plan.fixed or plan.access is not None for plan in self.plans)


def answer_to(context: Context, query: Query, conditions: Sequence[Conditions]) -> Flow[Answer]:
    """Return a checked query with its plans.

    Raises:
        ValidationError: a condition on referring rows is not valid.
        UnboundedQueryError: no view bounds the query, and it does not allow to scan.
        ViewNotBuiltError: a view that the query needs is not built.
    """
    having = tuple([joined(context, query.entity, part.having) for part in query.parts])
    plans = yield from plan_of(context, query, conditions)
    streams = (
        plans[0].streams
        if len(plans) == 1
        else tuple(dict.fromkeys([stream for plan in plans for stream in plan.streams]))
    )
    return Answer(query, tuple(plans), having, streams, query.descending)


def read_rows(
    context: Context, answer: Answer, limit: int, start: Position | None
) -> Flow[tuple[list[Any], Position | None]]:
    """Return up to `limit` rows of a query after a position, and the next position; None at the end."""
    entity = answer.query.entity
    if context.doubling is None or not has_misplaced(context, context.partition(entity)):
        return (yield from _read_rows(context, answer, limit, start))
    partition = context.partition(entity)
    while True:
        found, start = yield from _read_rows(context, answer, limit, start)
        rows = [row for row in found if not is_misplaced(context, partition, entity, row)]
        if rows or start is None:
            return rows, start


def _read_rows(
    context: Context, answer: Answer, limit: int, start: Position | None
) -> Flow[tuple[list[Any], Position | None]]:
    fixed = yield from _fixed_rows(context, answer)
    if any(plan.access is not None for plan in answer.plans) or answer.streams:
        # A list that has the rows of all filters, and no others, is read as a view's own rows are.
        if answer.plain and (len(answer.streams) == 1 or all(part.view for part in answer.query.parts)):
            return (
                yield from read_streams(
                    context, answer.query.entity, answer.streams, limit, start, answer.newest
                )
            )
        rows, end = yield from _read_compared(context, answer, limit, start)
        return _merged(context, answer, rows, fixed, limit, start, end) if fixed else (rows, end)
    return _merged(context, answer, [], fixed, limit, start, None)


def batch_for(answer: Answer, limit: int) -> int:
    """Return how many documents are read at once for a page of `limit` rows."""
    return limit if answer.exact else min(MAX_LIMIT, max(_MIN_BATCH, limit))


def _read_compared(
    context: Context, answer: Answer, limit: int, start: Position | None
) -> Flow[tuple[list[Any], Position | None]]:
    """Return rows of the streams that the query matches, reading as many as that takes."""
    records: list[Any] = []
    batch = batch_for(answer, limit)
    exact = answer.exact
    probed = yield from _probe(context, answer, limit, start)
    if probed is not None:
        return probed
    while True:
        wanted = limit - len(records) if exact else batch
        streams, part, end = yield from _read_part(context, answer, wanted, start)
        found = yield from _keep(context, answer, part)
        surplus = len(records) + len(found) - limit
        if surplus > 0:
            found = found[:-surplus]
            if context.unit is None:
                rank = rank_of(context, answer.query.entity, streams, found[-1])
                position = position_at(answer.query.entity, answer.query.order, answer.newest, rank)
                return [*records, *found], position
            # A buffered row has no position of its own, so the same part is read again up to the last wanted row.
            batch = 1 + next(index for index, row in enumerate(part) if row is found[-1])
            continue
        records += found
        start = end
        if end is None or len(records) == limit:
            return records, end


def _read_part(
    context: Context, answer: Answer, limit: int, start: Position | None
) -> Flow[tuple[tuple[Stream, ...], list[Any], Position | None]]:
    entity, plan = answer.query.entity, answer.plans[0]
    if plan.access is None:
        rows, end = yield from read_streams(context, entity, answer.streams, limit, start, answer.newest)
        return answer.streams, rows, end
    assert context.strategy.select is not None  # the plan says so
    stream, rows, end = yield from context.strategy.select(
        context,
        entity,
        plan.readable(entity, answer.query.order),
        plan.narrowing,
        limit,
        start,
        answer.newest,
    )
    return (stream,), rows, end


def _probe(
    context: Context, answer: Answer, limit: int, start: Position | None
) -> Flow[tuple[list[Any], Position | None] | None]:
    """Return the rows of one stream that a referring row proves, in one round trip; None if that is not possible."""
    plan = answer.plans[0]
    if len(answer.plans) > 1 or len(answer.streams) != 1 or plan.compared or not answer.having[0]:
        return None
    found: tuple[list[Any], Position | None] | None = yield from context.strategy.probe(
        context,
        answer.query.entity,
        answer.streams[0],
        plan.conditions,
        answer.having[0],
        limit,
        start,
        answer.newest,
    )
    return found


def _keep(context: Context, answer: Answer, records: list[Any]) -> Flow[list[Any]]:
    """Return those records that one part of the query matches, in the same order."""
    entity = answer.query.entity
    if len(answer.plans) == 1:
        return (yield from _keep_part(context, entity, answer.plans[0], answer.having[0], records))
    kept: set[str] = set()
    for plan, having in zip(answer.plans, answer.having, strict=True):
        left = [record for record in records if entity.key_of(record) not in kept]
        found = yield from _keep_part(context, entity, plan, having, left)
        kept.update([entity.key_of(record) for record in found])
    return [record for record in records if entity.key_of(record) in kept]


def _keep_part(
    context: Context, entity: Entity[R], plan: Plan, having: Sequence[Condition], records: list[R]
) -> Flow[list[R]]:
    conditions = plan.conditions
    if conditions.tests or conditions.view is not None:
        records = [record for record in records if matches(entity, conditions, record)]
    return (yield from keep_having(context, entity, records, having)) if having else records


def _fixed_rows(context: Context, answer: Answer) -> Flow[list[tuple[Any, Any]]]:
    """Return the rows of those plans that are read whole, each with its sort key, in the order of the query."""
    entity = answer.query.entity
    rows: dict[str, Any] = {}
    for plan, having in zip(answer.plans, answer.having, strict=True):
        if not plan.fixed:
            continue
        found: list[Any] = []
        if plan.claim is not None:
            owner = yield from find_by(context, entity, plan.claim)
            found = [owner] if owner is not None else []
        elif len(plan.keys) == 1:
            one = yield from find(context, entity, plan.keys[0])
            found = [one] if one is not None else []
        elif plan.keys:
            several = yield from get_many(context, entity, plan.keys, readable=True)
            found = [row for row in several if row is not None]
        else:
            start: Position | None = None
            while True:
                part, start = yield from read_streams(
                    context, entity, plan.sorted_from, MAX_LIMIT, start, True
                )
                found += part
                if start is None:
                    break
        for row in (yield from _keep_part(context, entity, plan, having, found)):
            rows[entity.key_of(row)] = row
    ordered = [(sort_key(context, answer.query, row), row) for row in rows.values()]
    ordered = [each for each in ordered if each[0] is not None]
    ordered.sort(key=lambda each: each[0], reverse=answer.newest)
    return ordered


def sort_key(context: Context, query: Query, record: Record) -> Any:
    """Return the rank of a record in the order of a query; None if it has no value in that order."""
    entity, order = query.entity, query.order
    key = entity.key_of(record).encode()
    score: Any = order
    if order not in MOMENTS:
        value = getattr(record, order)
        if value is None:
            return None
        if in_text(entity, order):
            return 0.0, text_member(value, entity.key_of(record)).encode()
        score = score_of_value(value)
    change = context.unit.change_of(entity, entity.key_of(record)) if context.unit is not None else None
    if change is not None:
        return (change.provisional_score(score), key)
    return (score_number(score, memory_of(record)), key)


def _merged(
    context: Context,
    answer: Answer,
    rows: list[Any],
    fixed: list[tuple[Any, Any]],
    limit: int,
    start: Position | None,
    end: Position | None,
) -> tuple[list[Any], Position | None]:
    """Merge rows that were read whole into rows of streams, between two positions, each once."""
    entity, order, newest = answer.query.entity, answer.query.order, answer.newest
    known = {entity.key_of(row) for row in rows}
    merged = [(rank_of(context, entity, answer.streams, row), row) for row in rows]
    merged += [
        each
        for each in fixed
        if between(entity, each[0], start, end, newest) and entity.key_of(each[1]) not in known
    ]
    merged.sort(key=lambda each: each[0], reverse=newest)
    if len(merged) > limit:
        end = position_at(entity, order, newest, merged[limit - 1][0])
        merged = merged[:limit]
    return [row for _, row in merged], end
