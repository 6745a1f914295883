"""Semi-joins in one round trip: rows of one view, each with the document of a referring row as proof.

This works for a condition whose fields are covered by views. `join` handles the other conditions, transactions, and
servers that require declared keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Flow, Word
from keyweave.exchange.ask import ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.read.conditions import Conditions
from keyweave.read.join import Condition, keep_having, narrowing_lists
from keyweave.read.match import matches
from keyweave.read.readable import load_each, load_readable
from keyweave.read.stream import Stream
from keyweave.read.usable import conditions_held, list_key
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

SCAN_LIMIT: Final = 500
"""Maximum number of rows that one call checks for referring rows."""


def probe(
    context: Context,
    entity: Entity[R],
    stream: Stream,
    filters: Conditions,
    conditions: Sequence[Condition],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None] | None]:
    """Return rows of a stream that match `filters` and satisfy the conditions, and the next position.

    None means that this needs another strategy.
    """
    if len(conditions) != 1 or stream.words:
        return None
    (condition,) = conditions
    plain = condition.plain
    narrowing = narrowing_lists(context, condition)
    views = [each.view for each in narrowing]
    covered = [name for view in views for name in view.selecting]
    if plain is None or plain.left(covered, (), conditions_held(views)):
        return None
    if plain.view is not None and plain.view not in views:
        return None
    child, via = condition.referrer.entity, condition.referrer.reference.via
    if context.unbuilt:
        yield from require_built(context, child, via)
    partition, rows = context.partition(entity), context.partition(child)
    keys = (
        partition.view(entity.name, stream.view.name, stream.values),
        *[list_key(context, child, each) for each in narrowing],
    )
    position = start
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
            yield from heal_on_the_way(context, dangling_members(entity, stream.view, stream.values, some))
        records = load_each(context, entity, [document for document, _ in reply[3:]])
        for record, (_, proof) in zip(records, reply[3:], strict=True):
            if record is None or not matches(entity, filters, record):
                continue
            rows_found = load_readable(context, child, [proof]) if proof else []
            if rows_found and matches(child, plain, rows_found[0]):
                found.append(record)
            else:
                found += yield from keep_having(context, entity, [record], conditions)
        if not score:
            return found, None
        position = Position(entity.name, stream.view.order, newest, score.decode(), member.decode())
        if len(found) >= limit:
            return found, position


def probe_by_pages(*_: Any, **__: Any) -> Flow[None]:
    """Return None: without the script, a search reads pages and applies `keep_having` to their rows."""
    yield from ()
