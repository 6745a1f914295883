"""Semi-joins: rows that have a referring row with certain field values, such as executions that ran a task.

The rows that refer to a parent are in one view, and the rows with a field value are in another. The server intersects
the two, so most parents without a match need no document. The documents of the rest are read, because an entry may
belong to a row that is past its deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from msgspec import UNSET

from keyweave.effects import Command, Flow
from keyweave.errors import ValidationError
from keyweave.exchange.ask import ask
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, Referrer, View
from keyweave.model.keytext import check_filters
from keyweave.model.record import Record
from keyweave.read.choose import matches, view_key
from keyweave.read.get import get_many
from keyweave.read.page import all_pages
from keyweave.store.access_path import widest
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_PIPELINE: Final = 100


@dataclass(frozen=True, slots=True)
class Having:
    """A condition of a semi-join: a row of `entity` that refers to the row by `field` equals every filter.

    Attributes:
        entity: name of the referring entity.
        field: its reference to the row.
        filters: values by field name of the referring row, combined with AND; None for null.
    """

    entity: str
    field: str
    filters: Mapping[str, Any]


def having(*conditions: tuple[str, str, Any]) -> tuple[Having, ...]:
    """Return the conditions of (entity, field, filters) whose filters were given.

    Raises:
        ValidationError: the filters of a condition are no mapping.
    """
    given = [condition for condition in conditions if condition[2] is not UNSET]
    for entity, _, filters in given:
        if not isinstance(filters, Mapping):
            rule = f"a condition on its rows is a mapping of filters, got {type(filters).__name__}"
            raise ValidationError(f"{entity}: {rule}", entity=entity, rule=rule)
    return tuple(Having(entity, field, dict(filters)) for entity, field, filters in given)


def keep_having(
    context: Context, entity: Entity[R], records: list[R], conditions: Sequence[Having]
) -> Flow[list[R]]:
    """Return those of `records` for which every condition holds, in the same order.

    Raises:
        ValidationError: a filter names no field of the referring entity, or its value has another type.
    """
    for condition in conditions:
        referrer = referrer_of(context, entity, condition)
        if context.unit is not None:
            records = yield from _by_pages(context, entity, records, referrer, condition.filters)
        else:
            records = yield from _by_intersection(context, entity, records, referrer, condition.filters)
    return records


def referrer_of(context: Context, entity: Entity[Any], condition: Having) -> Referrer:
    """Return the incoming reference of a condition.

    Raises:
        ValidationError: a filter names no field of the referring entity, or its value has another type.
    """
    referrer = context.package.referrer(entity.name, condition.entity, condition.field)
    rows = referrer.entity
    check_filters(rows.name, rows.filters, rows.nullable, condition.filters)
    return referrer


def narrowing_views(context: Context, referrer: Referrer, filters: Mapping[str, Any]) -> list[View]:
    """Return the views that contain every referring row that equals `filters`."""
    child = referrer.entity
    usable = [
        view
        for view in child.views.values()
        if view.whole and view.fields and view.name != referrer.reference.via
        if all(filters.get(name) is not None for name in view.fields)
        if f"{child.name}.{view.name}" not in context.unbuilt
    ]
    return widest(usable)


def _by_pages(
    context: Context, entity: Entity[R], records: list[R], referrer: Referrer, filters: Mapping[str, Any]
) -> Flow[list[R]]:
    """Inside a transaction: read the rows that refer to each row, including the transaction's own writes."""
    kept = []
    for record in records:
        rows = yield from all_pages(
            context,
            referrer.entity,
            referrer.reference.via,
            (entity.key_of(record),),
            newest=True,
        )
        if any(matches(row, filters) for row in rows):
            kept.append(record)
    return kept


def _by_intersection(
    context: Context, entity: Entity[R], records: list[R], referrer: Referrer, filters: Mapping[str, Any]
) -> Flow[list[R]]:
    child, via = referrer.entity, referrer.reference.via
    if context.unbuilt:
        yield from require_built(context, child, via)
    partition = context.partition(child)
    narrowing = [
        view_key(context, child, view, filters) for view in narrowing_views(context, referrer, filters)
    ]
    kept: list[R] = []
    for start in range(0, len(records), _PIPELINE):
        part = records[start : start + _PIPELINE]
        views = [partition.view(child.name, via, (entity.key_of(record),)) for record in part]
        commands: tuple[Command, ...] = tuple(
            ("ZINTER", 1 + len(narrowing), view, *narrowing) for view in views
        )
        lists = yield from ask(context, commands)
        keys = list(dict.fromkeys(member.decode() for members in lists for member in members))
        if not keys:
            continue
        rows = yield from get_many(context, child, keys, readable=True)
        parents = {
            referrer.reference.key_in(row) for row in rows if row is not None and matches(row, filters)
        }
        kept += [record for record in part if entity.key_of(record) in parents]
    return kept
