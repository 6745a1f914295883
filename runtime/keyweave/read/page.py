"""Pages of views, the newest or oldest first, one round trip each, with a transaction's own writes laid over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.changes.unit import score_number
from keyweave.effects import Flow, Reply, Word
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import heal_members
from keyweave.model.entity import Entity
from keyweave.model.page import Page, Position, check_limit, read_cursor, write_cursor
from keyweave.model.record import Record, memory_of
from keyweave.read.get import buffered_record, is_live
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

SCAN_FACTOR: Final = 8
"""How many members one call may look at, as a multiple of the page's limit."""


def page(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    *,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> Flow[Page[R]]:
    """One page of a view.

    Args:
        view: name of the view.
        values: key texts of all of its fields.
        limit: most records, 1 to 1000.
        cursor: where to go on, from an earlier page with the same order.
        newest: highest score first.

    Raises:
        ValidationError: the limit.
        InvalidCursorError: the cursor.
    """
    check_limit(limit, entity.name)
    if context.state.unbuilt:
        yield from require_built(context, entity, view)
    order = entity.views[view].order
    place = read_cursor(cursor, entity.name, order, newest)
    hidden: set[str] = set()
    if context.unit is not None:
        hidden = {key for name, key in context.unit.changes if name == entity.name}
    records: list[R] = []
    at, more = place, True
    while more and len(records) < limit:
        stretch, at = yield from context.strategy.page(
            context, entity, view, values, limit - len(records), at, newest
        )
        if hidden:
            stretch = [record for record in stretch if getattr(record, entity.key) not in hidden]
        records += stretch
        more = at is not None
    if hidden:
        return _overlay(context, entity, view, values, limit, place, newest, records, at)
    return Page(records, write_cursor(at) if at is not None else None)


def page_by_script(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    limit: int,
    place: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Up to `limit` live rows of a view after a place, and where the view goes on, in one trip."""
    reply: Reply = yield from ask_script(
        context, "page", *page_call(context, entity, view, values, limit, place, newest)
    )
    return (yield from read_reply(context, entity, view, values, newest, reply))


def page_call(
    context: Context,
    entity: Entity[Any],
    view: str,
    values: tuple[str, ...],
    limit: int,
    place: Position | None,
    newest: bool,
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Keys and arguments of the script `page`."""
    partition = context.partition(entity)
    return (partition.view(entity.name, view, values),), (
        partition.document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        place.score if place is not None else "",
        place.member if place is not None else "",
        limit * SCAN_FACTOR,
    )


def read_reply(
    context: Context, entity: Entity[R], view: str, values: tuple[str, ...], newest: bool, reply: Any
) -> Flow[tuple[list[R], Position | None]]:
    """The records of a reply of the script `page`, and where the view goes on. Heals what dangles."""
    yield from _heal(context, entity, view, values, reply)
    documents = reply[3:]
    records = context.codecs[entity.name].load_all(documents) if documents else []
    return records, _next_position(entity, view, newest, reply)


def read_replies(
    context: Context,
    entity: Entity[R],
    view: str,
    lists: Sequence[tuple[str, ...]],
    newest: bool,
    replies: Sequence[Any],
) -> Flow[list[tuple[list[R], Position | None]]]:
    """What `read_reply` returns, for the reply of each of several `lists` (the values of the view's fields)."""
    documents: list[bytes] = []
    for values, reply in zip(lists, replies, strict=True):
        yield from _heal(context, entity, view, values, reply)
        documents += reply[3:]
    records = context.codecs[entity.name].load_all(documents)
    found, start = [], 0
    for reply in replies:
        end = start + len(reply) - 3
        found.append((records[start:end], _next_position(entity, view, newest, reply)))
        start = end
    return found


def _heal(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...], reply: Any
) -> Flow[None]:
    dangling = reply[2]
    if dangling and context.unit is None:
        yield from heal_members(context, entity, view, values, [name.decode() for name in dangling])


def _next_position(entity: Entity[Any], view: str, newest: bool, reply: Any) -> Position | None:
    score, member = reply[0], reply[1]
    if not score:
        return None
    return Position(entity.name, entity.views[view].order, newest, score.decode(), member.decode())


def page_by_keys(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    limit: int,
    place: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """What `page_by_script` returns, by a range of the view and MGET."""
    order = entity.views[view].order
    key = context.partition(entity).view(entity.name, view, values)
    low, high = ("-inf", "+inf")
    if place is not None:
        low, high = ("-inf", place.score) if newest else (place.score, "+inf")
    bounds = (high, low) if newest else (low, high)
    taken: list[tuple[str, str]] = []
    offset = 0
    want = limit + 1
    while len(taken) < want:
        (flat,) = yield from ask(
            context,
            (
                (
                    "ZREVRANGEBYSCORE" if newest else "ZRANGEBYSCORE",
                    key,
                    *bounds,
                    "WITHSCORES",
                    "LIMIT",
                    offset,
                    want,
                ),
            ),
        )
        found = [(flat[index].decode(), flat[index + 1].decode()) for index in range(0, len(flat), 2)]
        taken += [pair for pair in found if not _at_or_before(pair, place, newest)]
        offset += len(found)
        if len(found) < want:
            break
    stretch = taken[:limit]
    if not stretch:
        return [], None
    prefix = context.partition(entity).document_prefix(entity.name)
    (documents,) = yield from ask(context, (("MGET", *[prefix + member for member, _ in stretch]),))
    codec = context.codec(entity)
    records: list[R] = []
    for document in documents:
        if document is not None:
            record = codec.load(document)
            if (yield from is_live(context, record)):
                records.append(record)
    if len(taken) <= limit:
        return records, None
    member, score = stretch[-1]
    return records, Position(entity.name, order, newest, score, member)


def _at_or_before(pair: tuple[str, str], place: Position | None, newest: bool) -> bool:
    """Whether a member comes at or before the cursor."""
    if place is None or float(pair[1]) != float(place.score):
        return False
    left, right = pair[0].encode(), place.member.encode()
    return left >= right if newest else left <= right


def _overlay(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    limit: int,
    place: Position | None,
    newest: bool,
    records: list[R],
    at: Position | None,
) -> Page[R]:
    """Lay the transaction's own rows over what the server holds, in the view's order."""
    assert context.unit is not None
    order = entity.views[view].order
    rows: list[tuple[tuple[float, bytes], R]] = []
    for record in records:
        stored = memory_of(record)
        score = getattr(record, order) if order not in ("created", "revision") else order
        number = score_number(_entry_score(entity, record, view, values, score), stored)
        rows.append(((number, getattr(record, entity.key).encode()), record))
    edge = (float(at.score), at.member.encode()) if at is not None else None
    start = (float(place.score), place.member.encode()) if place is not None else None
    for entry_score, change in context.unit.members(entity, view, values):
        spot = (change.provisional_score(entry_score), change.key.encode())
        after_start = start is None or (spot < start if newest else spot > start)
        within = edge is None or (spot >= edge if newest else spot <= edge)
        if after_start and within:
            rows.append((spot, buffered_record(context, change)))
    rows.sort(key=lambda row: row[0], reverse=newest)
    if len(rows) > limit:
        (number, member), _ = rows[limit - 1]
        at = Position(entity.name, order, newest, f"{number:.17g}", member.decode())
        rows = rows[:limit]
    return Page([record for _, record in rows], write_cursor(at) if at is not None else None)


def position_of(entity: Entity[R], view: str, values: tuple[str, ...], record: R, newest: bool) -> Position:
    """Where a record that is written stands in a view."""
    order = entity.views[view].order
    score = _entry_score(entity, record, view, values, order)
    number = score_number(score, memory_of(record))
    return Position(entity.name, order, newest, f"{number:.17g}", getattr(record, entity.key))


def _entry_score(
    entity: Entity[Any], record: Record, view: str, values: tuple[str, ...], fallback: Any
) -> Any:
    for entry in entity.entries(record):
        if getattr(entry, "view", None) == view and getattr(entry, "values", None) == values:
            return getattr(entry, "score", fallback)
    return fallback


def all_pages(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    *,
    newest: bool,
    cursor: str | None = None,
) -> Flow[list[R]]:
    """Every row of a view that is known to be small, such as the tasks of one execution; those after `cursor`."""
    records: list[R] = []
    while True:
        stretch: Page[R] = yield from page(
            context, entity, view, values, limit=1000, cursor=cursor, newest=newest
        )
        records += stretch.records
        cursor = stretch.cursor
        if cursor is None:
            return records
