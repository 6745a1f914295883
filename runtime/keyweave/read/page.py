"""Pages of views, newest or oldest first, in one round trip each, merged with a transaction's own writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.changes.change import score_number
from keyweave.document.codec import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow, Reply, Word
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import HEALED_AT_ONCE, dangling_members, heal_on_the_way
from keyweave.model.cursor import Position, read_cursor, write_cursor
from keyweave.model.entity import Entity
from keyweave.model.page import Page, check_limit
from keyweave.model.record import Record, memory_of
from keyweave.read.get import buffered_record, which_live
from keyweave.read.readable import load_each, load_readable
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_MIN_SCAN: Final = 4000
_SCAN_FACTOR: Final = 8
_LONGEST_STRIDE: Final = 500


def most_members(limit: int) -> int:
    """Return how many members one call may read for a page of `limit` rows. Behind many ended rows it needs all of them."""
    return max(_MIN_SCAN, limit * _SCAN_FACTOR)


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
    """Return one page of a view.

    Args:
        view: name of the view.
        values: key texts of all of its fields.
        limit: maximum number of records, 1 to 1000.
        cursor: where the page begins, from an earlier page with the same order; None for the first page.
        newest: highest score first.

    Raises:
        ValidationError: the limit is out of range.
        InvalidCursorError: the cursor is damaged or belongs to another order.
        ViewNotBuiltError: the view is not built.
    """
    check_limit(limit, entity.name)
    if context.unbuilt:
        yield from require_built(context, entity, view)
    order = entity.views[view].order
    start = read_cursor(context.state.cursors, cursor, entity.name, order, newest)
    unit = context.unit
    changed = unit is not None and unit.has_changes(entity)
    records: list[R] = []
    end, more = start, True
    while more and len(records) < limit:
        found, end = yield from context.strategy.page(
            context, entity, view, values, limit - len(records), end, newest
        )
        if unit is not None and changed:
            found = [record for record in found if unit.change_of(entity, entity.key_of(record)) is None]
        records += found
        more = end is not None
    if changed:
        return _overlay(context, entity, view, values, limit, start, newest, records, end)
    return Page(records, write_cursor(context.state.cursors, end) if end is not None else None)


def page_by_script(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    limit: int,
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Return up to `limit` live rows of a view after a position, and the next position, in one round trip.

    The next position is None at the end of the view.
    """
    reply: Reply = yield from ask_script(
        context, "page", *page_call(context, entity, view, values, limit, start, newest)
    )
    return (yield from read_reply(context, entity, view, values, newest, reply))


def page_call(
    context: Context,
    entity: Entity[Any],
    view: str,
    values: tuple[str, ...],
    limit: int,
    start: Position | None,
    newest: bool,
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the keys and arguments of the script `page`."""
    partition = context.partition(entity)
    return (partition.view(entity.name, view, values),), (
        partition.document_prefix(entity.name),
        limit,
        "newest" if newest else "oldest",
        start.score if start is not None else "",
        start.member if start is not None else "",
        most_members(limit),
    )


def read_reply(
    context: Context, entity: Entity[R], view: str, values: tuple[str, ...], newest: bool, reply: Any
) -> Flow[tuple[list[R], Position | None]]:
    """Return the records in a reply of the script `page`, and the next position. Entries without a document are healed."""
    yield from _heal(context, entity, view, values, reply)
    documents = reply[3:]
    records = load_readable(context, entity, documents) if documents else []
    return records, _next_position(entity, view, newest, reply)


def read_replies(
    context: Context,
    entity: Entity[R],
    view: str,
    lists: Sequence[tuple[str, ...]],
    newest: bool,
    replies: Sequence[Any],
) -> Flow[list[tuple[list[R], Position | None]]]:
    """Return what `read_reply` returns, for the replies of several `lists` (key texts of the view's fields)."""
    documents: list[bytes] = []
    for values, reply in zip(lists, replies, strict=True):
        yield from _heal(context, entity, view, values, reply)
        documents += reply[3:]
    records = load_each(context, entity, documents)
    found, start = [], 0
    for reply in replies:
        end = start + len(reply) - 3
        rows = [record for record in records[start:end] if record is not None]
        found.append((rows, _next_position(entity, view, newest, reply)))
        start = end
    return found


def _heal(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...], reply: Any
) -> Flow[None]:
    dangling = reply[2]
    if dangling and context.unit is None:
        yield from heal_on_the_way(context, dangling_members(entity, view, values, dangling[:HEALED_AT_ONCE]))


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
    start: Position | None,
    newest: bool,
) -> Flow[tuple[list[R], Position | None]]:
    """Return what `page_by_script` returns, by ranges of the view and MGET."""
    key = context.partition(entity).view(entity.name, view, values)
    low, high = ("-inf", "+inf")
    if start is not None:
        low, high = ("-inf", start.score) if newest else (start.score, "+inf")
    bounds = (high, low) if newest else (low, high)
    verb = "ZREVRANGEBYSCORE" if newest else "ZRANGEBYSCORE"
    records: list[R] = []
    offset, stride = 0, limit
    last: tuple[str, str] | None = None
    while len(records) < limit and offset < most_members(limit):
        asked: Command = (verb, key, *bounds, "WITHSCORES", "LIMIT", offset, stride + 1)
        (flat,) = yield from ask(context, (asked,))
        found = [(flat[index].decode(), flat[index + 1].decode()) for index in range(0, len(flat), 2)]
        known = sum(_at_or_before(pair, start, newest) for pair in found[:stride])
        wanted = limit - len(records)
        passed, live = yield from _live_rows(
            context, entity, [member for member, _ in found[known:stride]], wanted
        )
        records += live
        offset += known + passed
        if passed:
            last = found[known + passed - 1]
        if known + passed == len(found):
            return records, None
        stride = max(limit - len(records), min(2 * stride, _LONGEST_STRIDE))
    if last is None:
        return records, start
    member, score = last
    return records, Position(entity.name, entity.views[view].order, newest, score, member)


def _live_rows(
    context: Context, entity: Entity[R], members: list[str], wanted: int
) -> Flow[tuple[int, list[R]]]:
    """Return up to `wanted` live rows of the first members, and how many members were passed.

    Of more than `wanted` members, only those are read whose head shows no deadline that has passed.
    """
    prefix = context.partition(entity).document_prefix(entity.name)
    chosen, passed = members, len(members)
    if len(members) > wanted:
        heads = yield from ask(
            context, tuple(("GETRANGE", prefix + member, 0, HEAD_LENGTH - 1) for member in members)
        )
        parsed = [read_head(head) for head in heads]
        ended = yield from deadlines_passed(
            context, [head.expires if head is not None else 0 for head in parsed]
        )
        places = [place for place, gone in enumerate(ended) if heads[place] and not gone][:wanted]
        chosen = [members[place] for place in places]
        passed = places[-1] + 1 if len(places) == wanted else len(members)
    if not chosen:
        return passed, []
    (documents,) = yield from ask(context, (("MGET", *[prefix + member for member in chosen]),))
    records = load_readable(context, entity, [document for document in documents if document is not None])
    live = yield from which_live(context, records)
    return passed, [record for record, lives in zip(records, live, strict=True) if lives]


def _at_or_before(pair: tuple[str, str], start: Position | None, newest: bool) -> bool:
    """Return whether a (member, score) of the range from `start` comes at or before `start`."""
    if start is None or float(pair[1]) != float(start.score):
        return False
    left, right = pair[0].encode(), start.member.encode()
    return left >= right if newest else left <= right


def _overlay(
    context: Context,
    entity: Entity[R],
    view: str,
    values: tuple[str, ...],
    limit: int,
    start: Position | None,
    newest: bool,
    records: list[R],
    end: Position | None,
) -> Page[R]:
    """Merge the transaction's buffered rows into the `records` from the server, in the view's order."""
    assert context.unit is not None
    order = entity.views[view].order
    rows: list[tuple[tuple[float, bytes], R]] = []
    for record in records:
        stored = memory_of(record)
        score = getattr(record, order) if order not in ("created", "revision") else order
        number = score_number(_entry_score(entity, record, view, values, score), stored)
        rows.append(((number, entity.key_of(record).encode()), record))
    first = (float(start.score), start.member.encode()) if start is not None else None
    last = (float(end.score), end.member.encode()) if end is not None else None
    for entry_score, change in context.unit.members(entity, view, values):
        rank = (change.provisional_score(entry_score), change.key.encode())
        after_start = first is None or (rank < first if newest else rank > first)
        before_end = last is None or (rank >= last if newest else rank <= last)
        if after_start and before_end:
            rows.append((rank, buffered_record(context, change)))
    rows.sort(key=lambda row: row[0], reverse=newest)
    if len(rows) > limit:
        (number, member), _ = rows[limit - 1]
        end = Position(entity.name, order, newest, f"{number:.17g}", member.decode())
        rows = rows[:limit]
    return Page(
        [record for _, record in rows], write_cursor(context.state.cursors, end) if end is not None else None
    )


def position_of(entity: Entity[R], view: str, values: tuple[str, ...], record: R, newest: bool) -> Position:
    """Return the position in a view of a record that has been written."""
    order = entity.views[view].order
    score = _entry_score(entity, record, view, values, order)
    number = score_number(score, memory_of(record))
    return Position(entity.name, order, newest, f"{number:.17g}", entity.key_of(record))


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
    """Return every row of a view after `cursor`, for views that are known to be small, such as one execution's tasks."""
    records: list[R] = []
    while True:
        found: Page[R] = yield from page(
            context, entity, view, values, limit=1000, cursor=cursor, newest=newest
        )
        records += found.records
        cursor = found.cursor
        if cursor is None:
            return records
