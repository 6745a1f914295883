"""Semi-joins in one round trip: rows of one view, each with the document of a row that refers to it as the proof.

This serves conditions that views answer for; `joining` serves the others, transactions, and servers that want keys
declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import heal_members
from keyweave.model.entity import Entity
from keyweave.model.page import Page, Position, read_cursor, write_cursor
from keyweave.model.record import Record
from keyweave.read.choose import matches, values_of, view_key
from keyweave.read.join import Having, keep_having, narrowing_views, referrer_of
from keyweave.store.access_path import AccessPath
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

SCAN_LIMIT: Final = 500
"""Most rows whose referring rows one call counts."""


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
    """A page of the rows that equal `filters` and to which such a row refers; None where that takes another way.

    Raises:
        ValidationError: a condition names no field of the referring entity, or a value cannot be looked up.
        InvalidCursorError: the cursor.
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
    if context.state.unbuilt:
        yield from require_built(context, child, via)
    values = values_of(view, filters)
    partition, rows = context.partition(entity), context.partition(child)
    keys = (
        partition.view(entity.name, view.name, values),
        *[view_key(context, child, each, condition.filters) for each in narrowing],
    )
    place = read_cursor(cursor, entity.name, order, newest)
    found: list[R] = []
    while True:
        arguments: tuple[Word, ...] = (
            partition.document_prefix(entity.name),
            limit - len(found),
            "newest" if newest else "oldest",
            place.score if place is not None else "",
            place.member if place is not None else "",
            SCAN_LIMIT,
            rows.view_prefix(child.name, via),
            rows.document_prefix(child.name),
        )
        reply: Any = yield from ask_script(context, "having", keys, arguments)
        score, member, dangling = reply[0], reply[1], reply[2]
        if dangling:
            yield from heal_members(context, entity, view.name, values, [name.decode() for name in dangling])
        records = context.codecs[entity.name].load_all([document for document, _ in reply[3:]])
        for record, (_, proof) in zip(records, reply[3:], strict=True):
            if not matches(record, filters):
                continue
            if proof and matches(context.codecs[child.name].load(proof), condition.filters):
                found.append(record)
            else:
                found += yield from keep_having(context, entity, [record], having)
        if not score:
            return Page(found, None)
        place = Position(entity.name, order, newest, score.decode(), member.decode())
        if len(found) >= limit:
            return Page(found, write_cursor(place))


def probe_by_pages(*_: Any, **__: Any) -> Flow[None]:
    """None: without the script a search reads pages, and `keep_having` looks at who refers to their rows."""
    yield from ()
