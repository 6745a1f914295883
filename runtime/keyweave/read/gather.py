"""Whole lists in few round trips: several lists of one view, or one list with the row that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask_script, ask_scripts, script_call, script_ran
from keyweave.exchange.handshake import require_built
from keyweave.model.cursor import Position, write_cursor
from keyweave.model.entity import Entity, Referrer
from keyweave.model.keytext import check_filters, checked_text
from keyweave.model.record import Record
from keyweave.read.choose import find_access_path, matches, values_of
from keyweave.read.get import find, is_live
from keyweave.read.join import Having
from keyweave.read.lock import find_for_update_with
from keyweave.read.page import all_pages, most_members, page_call, read_replies, read_reply
from keyweave.read.search import first
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
    found: list[list[R]] = yield from context.strategy.lists(context, entity, view, values, newest)
    return found


def lists_by_script(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], newest: bool
) -> Flow[list[list[R]]]:
    """Return every row of each list, with many lists in one pipeline."""
    lists: dict[int, list[R]] = {number: [] for number in range(len(values))}
    waiting: list[tuple[int, Position | None]] = [(number, None) for number in lists]
    while waiting:
        batch, waiting = waiting[:PIPELINE], waiting[PIPELINE:]
        calls = tuple(
            page_call(context, entity, view, values[number], CHUNK, position, newest)
            for number, position in batch
        )
        replies: list[Any] = yield from ask_scripts(context, "page", calls)
        asked = [values[number] for number, _ in batch]
        read = yield from read_replies(context, entity, view, asked, newest, replies)
        for (number, _), (found, position) in zip(batch, read, strict=True):
            lists[number] += found
            if position is not None:
                waiting.append((number, position))
    return list(lists.values())


def lists_by_keys(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], newest: bool
) -> Flow[list[list[R]]]:
    """Return every row of each list, read one list after the other."""
    lists: list[list[R]] = []
    for each in values:
        lists.append((yield from all_pages(context, entity, view, each, newest=newest)))
    return lists


def get_with(
    context: Context,
    entity: Entity[R],
    key: str,
    child: str,
    field: str,
    *,
    newest: bool,
    for_update: bool = False,
) -> Flow[tuple[R, list[Any]]]:
    """Return the row `key`, and every row of the entity `child` whose `field` refers to it.

    Args:
        newest: highest score of the reference's view first.
        for_update: lock the row as `lock.get_for_update` does; the referring rows are read under its lock.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
        TransactionRequiredError: `for_update` outside a transaction.
        LockTimeoutError: the lock was not free within its timeout.
    """
    referrer = context.package.referrer(entity.name, child, field)
    if for_update:
        return (yield from _get_with_for_update(context, entity, key, referrer, newest))
    found = yield from _find_with(context, entity, key, referrer, newest)
    if found is None:
        raise entity.missing(key)
    return found


def _find_with(
    context: Context, entity: Entity[R], key: str, referrer: Referrer, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    rows, via = referrer.entity, referrer.reference.via
    checked_text(key)
    if context.unbuilt:
        yield from require_built(context, rows, via)
    found: tuple[R, list[Any]] | None
    found = yield from context.strategy.row_and_list(context, entity, key, rows, via, newest)
    return found


def row_and_list_by_script(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], via: str, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """Return a live row and every row of a view for its key, or None when there is no such row.

    A short list takes one round trip.
    """
    partition, theirs = context.partition(entity), context.partition(rows)
    keys = (partition.document(entity.name, key), theirs.view(rows.name, via, (key,)))
    direction = "newest" if newest else "oldest"
    arguments = (theirs.document_prefix(rows.name), CHUNK, direction, most_members(CHUNK))
    reply: Any = yield from ask_script(context, "row_and_page", keys, arguments)
    record: R | None = context.codecs[entity.name].load(reply[0], key) if reply is not None else None
    if record is None or not (yield from is_live(context, record)):
        return None
    return record, (yield from _complete_list(context, rows, via, (key,), newest, reply[1:]))


def row_and_list_by_keys(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], via: str, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """Return what `row_and_list_by_script` returns, by reading the row and then the list."""
    record = yield from find(context, entity, key)
    if record is None:
        return None
    return record, (yield from all_pages(context, rows, via, (key,), newest=newest))


def _get_with_for_update(
    context: Context, entity: Entity[R], key: str, referrer: Referrer, newest: bool
) -> Flow[tuple[R, list[Any]]]:
    rows, via, values = referrer.entity, referrer.reference.via, (checked_text(key),)
    if context.unbuilt:
        yield from require_built(context, rows, via)
    extra: Command | None = None
    if context.strategy.list_with_lock and context.unit is not None and not context.unit.has_changes(rows):
        keys, arguments = page_call(context, rows, via, values, CHUNK, None, newest)
        extra = script_call(context, "page", keys, arguments)
    record, reply = yield from find_for_update_with(context, entity, key, extra)
    if record is None:
        raise entity.missing(key)
    if reply is not None and script_ran(context, reply):
        return record, (yield from _complete_list(context, rows, via, values, newest, reply))
    return record, (yield from all_pages(context, rows, via, values, newest=newest))


def first_with(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    having: Sequence[Having],
    child: str,
    field: str,
    *,
    order: str,
    newest: bool,
) -> Flow[tuple[R, list[Any]]]:
    """Return the row that `search.first` finds, and every row of the entity `child` whose `field` refers to it.

    Args:
        newest: highest score of the reference's view first.

    Raises:
        NotFoundError: the entity's own error, when there is no such row.
        ValidationError: as for `search.search`.
    """
    referrer = context.package.referrer(entity.name, child, field)
    check_filters(entity.name, entity.filters, entity.nullable, filters)
    if filters.get(entity.key) is not None and not having:
        found = yield from _find_with(
            context, entity, entity.stored_key(filters[entity.key]), referrer, newest
        )
        if found is None or not matches(found[0], filters):
            raise entity.missing("")
        return found
    if not having:
        leading: tuple[R, list[Any]] | None
        leading = yield from context.strategy.first_and_list(
            context, entity, filters, referrer, order, newest
        )
        if leading is not None:
            return leading
    record = yield from first(context, entity, filters, having, order=order)
    values = (checked_text(entity.key_of(record)),)
    (rows,) = yield from gather(context, referrer.entity, referrer.reference.via, [values], newest=newest)
    return record, rows


def first_and_list_by_script(
    context: Context,
    entity: Entity[R],
    filters: Mapping[str, Any],
    referrer: Referrer,
    order: str,
    newest: bool,
) -> Flow[tuple[R, list[Any]] | None]:
    """Return what `first_with` returns, in one round trip, or None when one view does not suffice for that.

    Raises:
        NotFoundError: the entity's own error, when the view has no row.
    """
    access = yield from find_access_path(context, entity, filters, order)
    view = access.single_view(filters)
    if view is None:
        return None
    rows, via = referrer.entity, referrer.reference.via
    if context.unbuilt:
        yield from require_built(context, rows, via)
    partition, theirs = context.partition(entity), context.partition(rows)
    values = values_of(view, filters)
    arguments = (
        partition.document_prefix(entity.name),
        most_members(1),
        theirs.view_prefix(rows.name, via),
        theirs.document_prefix(rows.name),
        CHUNK,
        "newest" if newest else "oldest",
        most_members(CHUNK),
    )
    keys = (partition.view(entity.name, view.name, values),)
    reply: Any = yield from ask_script(context, "first_and_page", keys, arguments)
    records, end = yield from read_reply(context, entity, view.name, values, True, reply[0])
    if not records and end is None:
        raise entity.missing("")
    if not records or not matches(records[0], filters):
        # The first members are past their deadline or damaged. A search finds the first row behind them.
        return None
    record = records[0]
    key = (checked_text(entity.key_of(record)),)
    return record, (yield from _complete_list(context, rows, via, key, newest, reply[1]))


def first_and_list_by_keys(*_: Any) -> Flow[None]:
    """Return None: without the script, `first_with` searches for the first row and then reads its list."""
    yield from ()


def _complete_list(
    context: Context, rows: Entity[R], via: str, values: tuple[str, ...], newest: bool, reply: Any
) -> Flow[list[R]]:
    """Return every row of a list whose first rows are in a reply of the script `page`."""
    found, position = yield from read_reply(context, rows, via, values, newest, reply)
    if position is not None:
        cursor = write_cursor(context.state.cursors, position)
        found += yield from all_pages(context, rows, via, values, newest=newest, cursor=cursor)
    return found
