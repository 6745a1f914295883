"""Semi-joins in one round trip: rows of one view, each with the document of a referring row as proof.

This works for a condition whose fields are covered by views. `join` handles the other conditions, transactions, and
servers that require declared keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.model.cursor import Position, read_cursor, write_cursor
from keyweave.model.entity import Entity
from keyweave.model.page import Page
from keyweave.model.record import Record
from keyweave.read.choose import matches, values_of, view_key
from keyweave.read.join import Having, keep_having, narrowing_views, referrer_of
from keyweave.read.readable import load_each, load_readable
from keyweave.store.access_path import AccessPath
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

SCAN_LIMIT: Final = 500
"""Maximum number of rows that one call checks for referring rows."""


def probe(
    context: Context,
    entity: Entity[R],
    access: AccessPath,
    filters: Mapping[str, Any],
    having: Sequence[Having],
    *,
    order: str,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[Page[R] | None]:
    """Return a page of the rows that equal `filters` and satisfy `having`, or None when this needs another strategy.

    Raises:
        ValidationError: a condition names no field of the referring entity, or its value has another type.
        InvalidCursorError: the cursor is damaged or belongs to another order.
    """
    if len(having) != 1:
        return None
    view = access.single_view(filters)
    if view is None:
        return None
    (condition,) = having
    referrer = referrer_of(context, entity, condition)
    child, via = referrer.entity, referrer.reference.via
    narrowing = narrowing_views(context, referrer, condition.filters)
    if not {name for each in narrowing for name in each.fields}.issuperset(condition.filters):
        return None
    if context.unbuilt:
        yield from require_built(context, child, via)
    values = values_of(view, filters)
    partition, rows = context.partition(entity), context.partition(child)
    keys = (
        partition.view(entity.name, view.name, values),
        *[view_key(context, child, each, condition.filters) for each in narrowing],
    )
    position = read_cursor(context.state.cursors, cursor, entity.name, order, newest)
    found: list[R] = []
    while True:
        arguments: tuple[Word, ...] = (
            partition.document_prefix(entity.name),
            limit - len(found),
            "newest" if newest else "oldest",
            position.score if position is not None else "",
            position.member if position is not None else "",
            SCAN_LIMIT,
            rows.view_prefix(child.name, via),
            rows.document_prefix(child.name),
        )
        reply: Any = yield from ask_script(context, "having", keys, arguments)
        score, member, dangling = reply[0], reply[1], reply[2]
        if dangling:
            some = dangling[:HEALED_AT_ONCE]
            yield from heal_on_the_way(context, dangling_members(entity, view.name, values, some))
        records = load_each(context, entity, [document for document, _ in reply[3:]])
        for record, (_, proof) in zip(records, reply[3:], strict=True):
            if record is None or not matches(record, filters):
                continue
            rows_found = load_readable(context, child, [proof]) if proof else []
            if rows_found and matches(rows_found[0], condition.filters):
                found.append(record)
            else:
                found += yield from keep_having(context, entity, [record], having)
        if not score:
            return Page(found, None)
        position = Position(entity.name, order, newest, score.decode(), member.decode())
        if len(found) >= limit:
            return Page(found, write_cursor(context.state.cursors, position))


def probe_by_pages(*_: Any, **__: Any) -> Flow[None]:
    """Return None: without the script, a search reads pages and applies `keep_having` to their rows."""
    yield from ()
