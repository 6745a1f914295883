"""Whole lists in few round trips: several lists of one view, or one list with the row that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask_script, ask_scripts, script_call, script_ran
from keyweave.exchange.handshake import require_built
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity, Referrer
from keyweave.model.keytext import checked_text
from keyweave.model.page import Page
from keyweave.model.record import Record
from keyweave.read.answers import rows_of
from keyweave.read.execute import Answer, answer_to, read_rows
from keyweave.read.get import find, is_live, selects
from keyweave.read.lock import find_for_update_with
from keyweave.read.match import matches
from keyweave.read.page import all_pages, most_members, page_call, read_replies, read_reply
from keyweave.read.plan import checked
from keyweave.read.query import Query, view_query
from keyweave.read.query_page import page
from keyweave.read.stream import Stream
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

PIPELINE: Final = 64
"""Maximum number of lists in one pipeline."""

CHUNK: Final = 200
"""Maximum number of records of one list in one reply, to limit the server's output buffer."""


def gather(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], *, newest: bool
) -> Flow[list[list[R]]]:
    """Return every row of each of several lists of a view, in the order of `values`.

    Args:
        values: key texts of the view's fields, one tuple for each list.
        newest: highest score first.
    """
    if context.unbuilt:
        yield from require_built(context, entity, view)
    streams = [Stream(entity.views[view], each) for each in values]
    found: list[list[R]] = yield from context.strategy.lists(context, entity, streams, newest)
    return found


def lists_by_script(
    context: Context, entity: Entity[R], streams: Sequence[Stream], newest: bool
) -> Flow[list[list[R]]]:
    """Return every row of each list, with many lists in one pipeline."""
    lists: dict[int, list[R]] = {number: [] for number in range(len(streams))}
    waiting: list[tuple[int, Position | None]] = [(number, None) for number in lists]
    while waiting:
        batch, waiting = waiting[:PIPELINE], waiting[PIPELINE:]
        calls = tuple(
            page_call(context, entity, streams[number], CHUNK, position, newest) for number, position in batch
        )
        replies: list[Any] = yield from ask_scripts(context, "page", calls)
        asked = [streams[number] for number, _ in batch]
        read = yield from read_replies(context, entity, asked, newest, replies)
        for (number, _), (found, position) in zip(batch, read, strict=True):
            lists[number] += found
            if position is not None:
                waiting.append((number, position))
    return list(lists.values())


def lists_by_keys(
    context: Context, entity: Entity[R], streams: Sequence[Stream], newest: bool
) -> Flow[list[list[R]]]:
    """Return every row of each list, read one list after the other."""
    lists: list[list[R]] = []
    for stream in streams:
        lists.append((yield from all_pages(context, entity, stream, newest=newest)))
    return lists


def get_with(
    context: Context,
    entity: Entity[R],
    key: str,
    child: str,
    field: str,
    *,
    for_update: bool = False,
    partition_value: Any = None,
) -> Flow[tuple[R, list[Any]]]:
    """Return the row `key`, and every row of the entity `child` whose `field` refers to it.

    Args:
        partition_value: as for `read.get.get`.
        for_update: lock the row as `lock.get_for_update` does; the referring rows are read under its lock.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
        TransactionRequiredError: `for_update` outside a transaction.
        LockTimeoutError: the lock was not free within its timeout.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        pair: tuple[R, list[Any]] = yield from context.router.row(
            get_with,
            context,
            entity,
            key,
            child,
            field,
            for_update=for_update,
            partition_value=partition_value,
        )
        return pair
    referrer = context.package.referrer(entity.name, child, field)
    newest = newest_first(referrer)
    read = _get_with_for_update if for_update else _find_with
    found: tuple[R, list[Any]] | None = yield from read(context, entity, key, referrer, newest)
    if found is None or (partition_value is not None and not selects(entity, found[0], partition_value)):
        raise entity.missing(key)
    return found


def _find_with(
    context: Context, entity: Entity[R], key: str, referrer: Referrer, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    rows, via = referrer.entity, referrer.reference.via
    stream = Stream(rows.views[via], (checked_text(key),))
    if context.unbuilt:
        yield from require_built(context, rows, via)
    found: tuple[R, list[Any]] | None
    found = yield from context.strategy.row_and_list(context, entity, key, rows, stream, newest)
    return found


def row_and_list_by_script(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], stream: Stream, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """Return a live row and every row of a view for its key, or None when there is no such row.

    A short list takes one round trip.
    """
    partition, theirs = context.partition(entity), context.partition(rows)
    view = theirs.view(rows.name, stream.view.name, stream.values)
    keys = (partition.document(entity.name, key), view)
    direction = "newest" if newest else "oldest"
    arguments = (theirs.document_prefix(rows.name), CHUNK, direction, most_members(CHUNK))
    reply: Any = yield from ask_script(context, "row_and_page", keys, arguments)
    record: R | None = context.codecs[entity.name].load(reply[0], key) if reply is not None else None
    if record is None or not (yield from is_live(context, entity, record)):
        return None
    return record, (yield from _complete_list(context, rows, stream, newest, reply[1:]))


def row_and_list_by_keys(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], stream: Stream, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """Return what `row_and_list_by_script` returns, by reading the row and then the list."""
    record = yield from find(context, entity, key)
    if record is None:
        return None
    return record, (yield from all_pages(context, rows, stream, newest=newest))


def _get_with_for_update(
    context: Context, entity: Entity[R], key: str, referrer: Referrer, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    rows, via = referrer.entity, referrer.reference.via
    stream = Stream(rows.views[via], (checked_text(key),))
    if context.unbuilt:
        yield from require_built(context, rows, via)
    extra: Command | None = None
    if context.strategy.list_with_lock and context.unit is not None and not context.unit.has_changes(rows):
        keys, arguments = page_call(context, rows, stream, CHUNK, None, newest)
        extra = script_call(context, "page", keys, arguments)
    record, reply = yield from find_for_update_with(context, entity, key, extra)
    if record is None:
        return None
    if reply is not None and script_ran(context, reply):
        return record, (yield from _complete_list(context, rows, stream, newest, reply))
    return record, (yield from all_pages(context, rows, stream, newest=newest))


def page_with(
    context: Context, query: Query, child: str, field: str, limit: int, cursor: str | None
) -> Flow[Page[Any]]:
    """Return one page of a query, each row with every row of the entity `child` whose `field` refers to it.

    Raises:
        ValidationError, InvalidCursorError, UnboundedQueryError, ViewNotBuiltError: as for `execute.page`.
    """
    if context.router is not None:
        whole: Page[Any] = yield from context.router.query(
            page_with, context, query, child, field, limit, cursor
        )
        return whole
    found = yield from page(context, query, limit, cursor)
    return Page((yield from with_lists(context, query, found.rows, child, field)), found.cursor)


def list_with(context: Context, query: Query, child: str, field: str) -> Flow[list[Any]]:
    """Return all rows of a query, each with the rows that refer to it; errors as for `execute.page`."""
    if context.router is not None:
        return list((yield from context.router.query(list_with, context, query, child, field)))
    answer = yield from answer_to(context, query, checked(query))
    if _has_key(answer):
        pair = yield from _by_key(context, answer, context.package.referrer(query.entity.name, child, field))
        return [pair] if pair is not None else []
    rows = yield from rows_of(context, answer)
    return (yield from with_lists(context, query, rows, child, field))


def _has_key(answer: Answer) -> bool:
    """Return whether the key of the only row is known."""
    return len(answer.plans) == 1 and len(answer.plans[0].keys) == 1 and not answer.plans[0].having


def _by_key(context: Context, answer: Answer, referrer: Referrer) -> Flow[tuple[Any, list[Any]] | None]:
    """Return the row whose key is known with the rows that refer to it; None if the query does not match it."""
    entity, plan = answer.query.entity, answer.plans[0]
    found = yield from _find_with(context, entity, plan.keys[0], referrer, newest_first(referrer))
    if found is None or not matches(entity, plan.conditions, found[0]):
        return None
    return found


def with_lists(
    context: Context, query: Query, rows: list[Any], child: str, field: str
) -> Flow[list[tuple[Any, list[Any]]]]:
    """Return rows, each with every row of the entity `child` whose `field` refers to it."""
    entity = query.entity
    referrer = context.package.referrer(entity.name, child, field)
    if not rows:
        return []
    via = referrer.reference.via
    keys = [(entity.key_of(row),) for row in rows]
    lists = yield from gather(context, referrer.entity, via, keys, newest=newest_first(referrer))
    return list(zip(rows, lists, strict=True))


def newest_first(referrer: Referrer) -> bool:
    """Return whether the rows that refer to a row are read from the highest score on: the order's own direction."""
    return view_query(referrer.entity, referrer.reference.via, ()).descending


def first_with(context: Context, query: Query, child: str, field: str) -> Flow[tuple[Any, list[Any]] | None]:
    """Return the first row of a query with every row of the entity `child` whose `field` refers to it, or None.

    Raises:
        ValidationError, UnboundedQueryError, ViewNotBuiltError: as for `execute.page`.
    """
    if context.router is not None:
        found: tuple[Any, list[Any]] | None = yield from context.router.query(
            first_with, context, query, child, field
        )
        return found
    entity = query.entity
    referrer = context.package.referrer(entity.name, child, field)
    newest = newest_first(referrer)
    answer = yield from answer_to(context, query, checked(query))
    if _has_key(answer):
        return (yield from _by_key(context, answer, referrer))
    whole = len(answer.plans) == len(answer.streams) == 1 and answer.plain and not answer.streams[0].words
    if whole and answer.newest:
        leading: tuple[bool, tuple[Any, list[Any]] | None]
        leading = yield from context.strategy.first_and_list(context, answer, referrer, newest)
        if leading[0]:
            return leading[1]
    rows, _ = yield from read_rows(context, answer, 1, None)
    pairs = yield from with_lists(context, query, rows, child, field)
    return pairs[0] if pairs else None


def first_and_list_by_script(
    context: Context, answer: Answer, referrer: Referrer, newest: bool
) -> Flow[tuple[bool, tuple[Any, list[Any]] | None]]:
    """Return what `first_with` returns for the rows of one stream, in one round trip, and whether that was possible."""
    entity, (stream,) = answer.query.entity, answer.streams
    rows, via = referrer.entity, referrer.reference.via
    if context.unbuilt:
        yield from require_built(context, entity, stream.view.name)
        yield from require_built(context, rows, via)
    partition, theirs = context.partition(entity), context.partition(rows)
    arguments = (
        partition.document_prefix(entity.name),
        most_members(1),
        theirs.view_prefix(rows.name, via),
        theirs.document_prefix(rows.name),
        CHUNK,
        "newest" if newest else "oldest",
        most_members(CHUNK),
    )
    keys = (partition.view(entity.name, stream.view.name, stream.values),)
    reply: Any = yield from ask_script(context, "first_and_page", keys, arguments)
    records, end = yield from read_reply(context, entity, stream, True, reply[0])
    if not records and end is None:
        return True, None
    if not records or not matches(entity, answer.plans[0].conditions, records[0]):
        # The first members are past their deadline or damaged. A search finds the first row behind them.
        return False, None
    record = records[0]
    theirs_of = Stream(rows.views[via], (checked_text(entity.key_of(record)),))
    return True, (record, (yield from _complete_list(context, rows, theirs_of, newest, reply[1])))


def first_and_list_by_keys(*_: Any) -> Flow[tuple[bool, None]]:
    """Return that it is not possible: without the script, `first_with` reads the first row and then its list."""
    yield from ()
    return False, None


def _complete_list(
    context: Context, rows: Entity[R], stream: Stream, newest: bool, reply: Any
) -> Flow[list[R]]:
    """Return every row of a list whose first rows are in a reply of the script `page`."""
    found, position = yield from read_reply(context, rows, stream, newest, reply)
    if position is not None:
        found += yield from all_pages(context, rows, stream, newest=newest, start=position)
    return found
