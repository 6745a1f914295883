"""Filters over several fields: views that cover some of them are read, one or all at once, and the rest is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from keyweave.effects import Flow
from keyweave.model.entity import Entity, View
from keyweave.model.keytext import check_filters
from keyweave.model.page import MAX_LIMIT, Page, check_limit, read_cursor, write_cursor
from keyweave.model.record import Record
from keyweave.read.choose import choose, find_access_path, matches, matching, values_of
from keyweave.read.get import find
from keyweave.read.join import Having, keep_having
from keyweave.read.page import page, position_of
from keyweave.read.select import selectable
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_MIN_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a filter is carried out.

    Attributes:
        entity: name of the entity.
        access: `key` for a single row, otherwise `view`.
        view: the view that is read, or None for a single row.
        order: what the result is ordered by.
        candidates: every view that could be read, with its number of members.
        narrowing: views in which a member must be as well before its document is read.
        compared: fields that no view answers for, so that they are compared on each document that is read.
    """

    entity: str
    access: str
    view: str | None
    order: str
    candidates: dict[str, int]
    narrowing: tuple[str, ...]
    compared: tuple[str, ...]


def explain(
    context: Context, entity: Entity[Any], filters: Mapping[str, Any], order: str
) -> Flow[Explanation]:
    """What `search` would do with these filters, without reading a document."""
    check_filters(entity.name, entity.filters, filters)
    if filters.get(entity.key) is not None:
        compared = tuple(sorted(filters.keys() - {entity.key}))
        return Explanation(entity.name, "key", None, order, {}, (), compared)
    access = yield from find_access_path(context, entity, filters, order)
    view, sizes = yield from choose(context, entity, access, filters)
    answered, others = frozenset(view.fields), []
    if selectable(context, access):
        answered = access.covered
        others = [each.name for each in access.views if each is not view]
    compared = tuple(sorted(filters.keys() - answered))
    return Explanation(entity.name, "view", view.name, order, sizes, tuple(others), compared)


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
    access = yield from find_access_path(context, entity, filters, order)
    probed: Page[R] | None = yield from context.strategy.probe(
        context, entity, access, filters, having, order=order, limit=limit, cursor=cursor, newest=newest
    )
    if probed is not None:
        return probed
    one: View | None = None
    records: list[R] = []
    at = cursor
    batch = min(MAX_LIMIT, max(_MIN_BATCH, limit))
    while True:
        if one is None and not selectable(context, access):
            one, _ = yield from choose(context, entity, access, filters)
        answered = access.covered if one is None else frozenset(one.fields)
        exact = not having and answered.issuperset(filters)
        wanted = limit - len(records) if exact else batch
        if one is not None:
            view = one
            stretch: Page[R] = yield from page(
                context, entity, view.name, values_of(view, filters), limit=wanted, cursor=at, newest=newest
            )
        else:
            assert context.strategy.select is not None  # `selectable` says so
            view, stretch = yield from context.strategy.select(
                context, entity, access, filters, order=order, limit=wanted, cursor=at, newest=newest
            )
        found = yield from keep_having(context, entity, matching(stretch.records, filters), having)
        surplus = len(records) + len(found) - limit
        if surplus > 0:
            found = found[:-surplus]
            if context.unit is None:
                place = position_of(entity, view.name, values_of(view, filters), found[-1], newest)
                return Page([*records, *found], write_cursor(place))
            # Places of rows that are not written yet depend on the page: read just as far as is wanted.
            batch = 1 + next(index for index, row in enumerate(stretch.records) if row is found[-1])
            continue
        records += found
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
