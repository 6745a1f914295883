"""Filters over several fields: the smallest view that covers some of them is read, the rest is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.flows.joining import Having, keep_having
from keyweave.flows.paging import page, place_of
from keyweave.flows.planning import choose, matches, values_of
from keyweave.flows.reading import find
from keyweave.keytext import check_filters
from keyweave.page import MAX_LIMIT, Page, check_limit, read_cursor, write_cursor
from keyweave.record import Record

R = TypeVar("R", bound=Record)

_LEAST_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a filter is carried out.

    Attributes:
        entity: name of the entity.
        access: `key` for a single row, otherwise `view`.
        view: the view that is read, or None for a single row.
        order: what the result is ordered by.
        candidates: every view that could be read, with its number of members.
        compared: fields that are compared on each document that is read.
    """

    entity: str
    access: str
    view: str | None
    order: str
    candidates: dict[str, int]
    compared: tuple[str, ...]


def explain(
    context: Context, entity: Entity[Any], filters: Mapping[str, Any], order: str
) -> Flow[Explanation]:
    """What `search` would do with these filters, without reading a document."""
    check_filters(entity.name, entity.filters, filters)
    if filters.get(entity.key) is not None:
        compared = tuple(sorted(filters.keys() - {entity.key}))
        return Explanation(entity.name, "key", None, order, {}, compared)
    view, sizes = yield from choose(context, entity, filters, order)
    compared = tuple(sorted(filters.keys() - set(view.fields)))
    return Explanation(entity.name, "view", view.name, order, sizes, compared)


def search(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    having: Sequence[Having] = (),
    *,
    order: str,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[Page[R]]:
    """Rows whose fields equal every filter, one page of them.

    Args:
        filters: field names and values, combined with AND.
        having: conditions on rows that refer to the row.
        order: `created`, `revision` or a field that some view is ordered by.
        limit: most records, 1 to 1000.
        cursor: where to go on.
        newest: highest score first.

    Raises:
        ValidationError: no view has this order, a value cannot be looked up, or the limit.
        InvalidCursorError: the cursor.
    """
    check_limit(limit, entity.name)
    check_filters(entity.name, entity.filters, filters)
    if filters.get(entity.key) is not None:
        read_cursor(cursor, entity.name, order, newest)
        record = yield from find(context, entity, filters[entity.key])
        found = [record] if record is not None and matches(record, filters) else []
        return Page((yield from keep_having(context, entity, found, having)), None)
    view, _ = yield from choose(context, entity, filters, order)
    values = values_of(view, filters)
    rest = {name: value for name, value in filters.items() if name not in view.fields}
    exact = not rest and not having
    records: list[R] = []
    at = cursor
    batch = min(MAX_LIMIT, max(_LEAST_BATCH, limit))
    while True:
        wanted = limit - len(records) if exact else batch
        stretch: Page[R] = yield from page(
            context, entity, view.name, values, limit=wanted, cursor=at, newest=newest
        )
        matching = [record for record in stretch.records if matches(record, rest)]
        matching = yield from keep_having(context, entity, matching, having)
        surplus = len(records) + len(matching) - limit
        if surplus > 0:
            matching = matching[:-surplus]
            if context.unit is None:
                place = place_of(entity, view.name, values, matching[-1], newest)
                return Page([*records, *matching], write_cursor(place))
            # Places of rows that are not written yet depend on the page: read just as far as is wanted.
            batch = 1 + next(index for index, row in enumerate(stretch.records) if row is matching[-1])
            continue
        records += matching
        at = stretch.cursor
        if at is None or len(records) == limit:
            return Page(records, at)


def first(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    having: Sequence[Having] = (),
    *,
    order: str,
) -> Flow[R]:
    """The first row, highest score first, that `search` finds.

    Raises:
        NotFoundError: the entity's own error, when there is none.
        ValidationError: as for `search`.
    """
    found = yield from search(
        context, entity, filters, having, order=order, limit=1, cursor=None, newest=True
    )
    if not found.records:
        raise entity.missing("")
    return found.records[0]


def given(**values: Any) -> dict[str, Any]:
    """The filters that were given: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}
