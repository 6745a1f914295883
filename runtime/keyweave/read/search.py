"""Filters over several fields: views cover some of them, and the documents are compared with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from msgspec import UNSET

from keyweave.effects import Flow
from keyweave.model.cursor import read_cursor, write_cursor
from keyweave.model.entity import Entity, View
from keyweave.model.keytext import check_filters
from keyweave.model.page import MAX_LIMIT, Page, check_limit
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
    """How a search is executed.

    Attributes:
        entity: name of the entity.
        access: `key` for a single row, otherwise `view`.
        view: the view that is read, or None for a single row.
        order: the order of the result.
        candidates: every view that could be read, with its number of members.
        narrowing: other views that a member must be in before its document is read.
        compared: fields that no view covers, so that they are compared in each document that is read.
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
    """Return how `search` would execute these filters, without reading a document.

    Raises:
        ValidationError: as for `search`.
    """
    check_filters(entity.name, entity.filters, entity.nullable, filters)
    if filters.get(entity.key) is not None:
        compared = tuple(sorted(filters.keys() - {entity.key}))
        return Explanation(entity.name, "key", None, order, {}, (), compared)
    access = yield from find_access_path(context, entity, filters, order)
    view, sizes = yield from choose(context, entity, access, filters)
    covered, others = frozenset(view.fields), []
    if selectable(context, access):
        covered = access.covered
        others = [each.name for each in access.views if each is not view]
    compared = tuple(sorted(filters.keys() - covered))
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
    """Return one page of the rows whose fields equal every filter.

    Args:
        filters: values by field name, combined with AND; None for null.
        having: conditions on rows that refer to the row.
        order: `created`, `revision` or a field that a view is ordered by.
        limit: maximum number of records, 1 to 1000.
        cursor: where the page begins, from an earlier page; None for the first page.
        newest: highest score first.

    Raises:
        ValidationError: no view has this order, a filter is invalid, or the limit is out of range.
        InvalidCursorError: the cursor is damaged or belongs to another order.
        ViewNotBuiltError: a view that the search needs is not built.
    """
    check_limit(limit, entity.name)
    check_filters(entity.name, entity.filters, entity.nullable, filters)
    if filters.get(entity.key) is not None:
        read_cursor(context.state.cursors, cursor, entity.name, order, newest)
        record = yield from find(context, entity, entity.stored_key(filters[entity.key]))
        found = [record] if record is not None and matches(record, filters) else []
        return Page((yield from keep_having(context, entity, found, having)), None)
    access = yield from find_access_path(context, entity, filters, order)
    probed: Page[R] | None = yield from context.strategy.probe(
        context, entity, access, filters, having, order=order, limit=limit, cursor=cursor, newest=newest
    )
    if probed is not None:
        return probed
    single: View | None = None
    records: list[R] = []
    batch = min(MAX_LIMIT, max(_MIN_BATCH, limit))
    while True:
        if single is None and not selectable(context, access):
            single, _ = yield from choose(context, entity, access, filters)
        covered = access.covered if single is None else frozenset(single.fields)
        exact = not having and covered.issuperset(filters)
        wanted = limit - len(records) if exact else batch
        if single is not None:
            view = single
            part: Page[R] = yield from page(
                context,
                entity,
                view.name,
                values_of(view, filters),
                limit=wanted,
                cursor=cursor,
                newest=newest,
            )
        else:
            assert context.strategy.select is not None  # implied by `selectable`
            view, part = yield from context.strategy.select(
                context, entity, access, filters, order=order, limit=wanted, cursor=cursor, newest=newest
            )
        found = yield from keep_having(context, entity, matching(part.records, filters), having)
        surplus = len(records) + len(found) - limit
        if surplus > 0:
            found = found[:-surplus]
            if context.unit is None:
                position = position_of(entity, view.name, values_of(view, filters), found[-1], newest)
                return Page([*records, *found], write_cursor(context.state.cursors, position))
            # A buffered row has no position of its own, so the same part is read again up to the last wanted row.
            batch = 1 + next(index for index, row in enumerate(part.records) if row is found[-1])
            continue
        records += found
        cursor = part.cursor
        if cursor is None or len(records) == limit:
            return Page(records, cursor)


def first(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    having: Sequence[Having] = (),
    *,
    order: str,
) -> Flow[R]:
    """Return the first row, highest score first, that `search` finds.

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
    """Return the values that were given, by name. None is a value: it asks for null."""
    return {name: value for name, value in values.items() if value is not UNSET}
