"""Filters over several fields: the smallest view that covers some of them is read, the rest is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity, View
from keyweave.errors import ValidationError
from keyweave.flows.asking import ask
from keyweave.flows.paging import page
from keyweave.flows.reading import find
from keyweave.keytext import key_text
from keyweave.page import MAX_LIMIT, Page, check_limit, read_cursor
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
    if filters.get(entity.key) is not None:
        compared = tuple(sorted(filters.keys() - {entity.key}))
        return Explanation(entity.name, "key", None, order, {}, compared)
    view, sizes = yield from _choose(context, entity, filters, order)
    compared = tuple(sorted(filters.keys() - set(view.fields)))
    return Explanation(entity.name, "view", view.name, order, sizes, compared)


def search(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    *,
    order: str,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[Page[R]]:
    """Rows whose fields equal every filter, one page of them.

    Args:
        filters: field names and values, combined with AND.
        order: `created`, `revision` or a field that some view is ordered by.
        limit: most records, 1 to 1000.
        cursor: where to go on.
        newest: highest score first.

    Raises:
        ValidationError: no view has this order, a value cannot be looked up, or the limit.
        InvalidCursorError: the cursor.
    """
    check_limit(limit, entity.name)
    if filters.get(entity.key) is not None:
        read_cursor(cursor, entity.name, order, newest)
        record = yield from find(context, entity, filters[entity.key])
        return Page([record] if record is not None and _matches(record, filters) else [], None)
    view, _ = yield from _choose(context, entity, filters, order)
    values = tuple(key_text(filters[name]) for name in view.fields)
    rest = {name: value for name, value in filters.items() if name not in view.fields}
    records: list[R] = []
    at = cursor
    batch = limit if not rest else min(MAX_LIMIT, max(_LEAST_BATCH, limit))
    while True:
        wanted = limit - len(records) if not rest else batch
        stretch: Page[R] = yield from page(
            context, entity, view.name, values, limit=wanted, cursor=at, newest=newest
        )
        matching = [record for record in stretch.records if _matches(record, rest)]
        if len(records) + len(matching) > limit:
            # The page would overshoot: read just far enough that the cursor stands behind its last record.
            batch = _position(stretch.records, rest, limit - len(records))
            continue
        records += matching
        at = stretch.cursor
        if at is None or len(records) == limit:
            return Page(records, at)


def _position(records: list[R], rest: Mapping[str, Any], wanted: int) -> int:
    """How many records must be read until `wanted` of them match."""
    for index, record in enumerate(records):
        if _matches(record, rest):
            wanted -= 1
            if wanted == 0:
                return index + 1
    return len(records)


def _choose(
    context: Context, entity: Entity[Any], filters: Mapping[str, Any], order: str
) -> Flow[tuple[View, dict[str, int]]]:
    candidates = [
        view
        for view in entity.views.values()
        if view.order == order and all(filters.get(name) is not None for name in view.fields)
    ]
    if not candidates:
        raise ValidationError(
            f"{entity.name}: no view in the order {order!r} covers the fields {', '.join(sorted(filters)) or 'none'}",
            entity=entity.name,
            rule="view",
        )
    partition = context.partition(entity)
    keys = [
        partition.view(entity.name, view.name, tuple(key_text(filters[name]) for name in view.fields))
        for view in candidates
    ]
    if len(candidates) == 1 and context.unit is None:
        return candidates[0], {}
    sizes = yield from ask(context, tuple(("ZCARD", key) for key in keys))
    by_name = {view.name: int(size) for view, size in zip(candidates, sizes, strict=True)}
    # With equal sizes the view with more fields compares less; the name only makes the choice repeatable.
    best = min(candidates, key=lambda view: (by_name[view.name], -len(view.fields), view.name))
    return best, by_name


def _matches(record: Record, filters: Mapping[str, Any]) -> bool:
    return all(getattr(record, name) == value for name, value in filters.items())


def given(**values: Any) -> dict[str, Any]:
    """The filters that were given: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}
