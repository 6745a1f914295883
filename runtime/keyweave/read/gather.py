"""Whole lists in a few round trips: several of one view at once, or one together with the row that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask_script, ask_scripts, script_call, script_ran
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, Referrer
from keyweave.model.keytext import check_filters, checked_text
from keyweave.model.page import Position, write_cursor
from keyweave.model.record import Record
from keyweave.read.choose import find_access_path, matches, values_of
from keyweave.read.get import find, is_live
from keyweave.read.join import Having
from keyweave.read.lock import find_for_update_with
from keyweave.read.page import SCAN_FACTOR, all_pages, page_call, read_replies, read_reply
from keyweave.read.search import first
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

PIPELINE: Final = 64
"""Lists in one pipeline."""

CHUNK: Final = 200
"""Most records of one list in one reply, so that no reply outgrows what a server may buffer for a client."""


def gather(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], *, newest: bool
) -> Flow[list[list[R]]]:
    """Every row of each of several lists of a view, in the order of `values`.

    Args:
        values: key texts of the view's fields, one tuple for each list.
        newest: highest score first.
    """
    if context.state.unbuilt:
        yield from require_built(context, entity, view)
    found: list[list[R]] = yield from context.strategy.lists(context, entity, view, values, newest)
    return found


def lists_by_script(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], newest: bool
) -> Flow[list[list[R]]]:
    """Every row of each list, many lists in one pipeline."""
    lists: dict[int, list[R]] = {number: [] for number in range(len(values))}
    waiting: list[tuple[int, Position | None]] = [(number, None) for number in lists]
    while waiting:
        batch, waiting = waiting[:PIPELINE], waiting[PIPELINE:]
        calls = tuple(
            page_call(context, entity, view, values[number], CHUNK, place, newest) for number, place in batch
        )
        replies: list[Any] = yield from ask_scripts(context, "page", calls)
        asked = [values[number] for number, _ in batch]
        read = yield from read_replies(context, entity, view, asked, newest, replies)
        for (number, _), (found, place) in zip(batch, read, strict=True):
            lists[number] += found
            if place is not None:
                waiting.append((number, place))
    return list(lists.values())


def lists_by_keys(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], newest: bool
) -> Flow[list[list[R]]]:
    """Every row of each list, one list after the other."""
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
    """The row `key`, and every row of the entity `child` whose `field` it is.

    Args:
        newest: highest score of the reference's view first.
        for_update: lock the row as `transacting.get_for_update` does; the others are read under its lock.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
        TransactionRequiredError: `for_update` outside a transaction.
        LockTimeoutError: the lock was not free in time.
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
    if context.state.unbuilt:
        yield from require_built(context, rows, via)
    found: tuple[R, list[Any]] | None
    found = yield from context.strategy.row_and_list(context, entity, key, rows, via, newest)
    return found


def row_and_list_by_script(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], via: str, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """A live row and every row of a view under its key; None when there is no such row. One trip for a short list."""
    partition, theirs = context.partition(entity), context.partition(rows)
    keys = (partition.document(entity.name, key), theirs.view(rows.name, via, (key,)))
    direction = "newest" if newest else "oldest"
    arguments = (theirs.document_prefix(rows.name), CHUNK, direction, CHUNK * SCAN_FACTOR)
    reply: Any = yield from ask_script(context, "row_and_page", keys, arguments)
    record: R | None = context.codecs[entity.name].load(reply[0]) if reply is not None else None
    if record is None or not (yield from is_live(context, record)):
        return None
    return record, (yield from _complete_list(context, rows, via, (key,), newest, reply[1:]))


def row_and_list_by_keys(
    context: Context, entity: Entity[R], key: str, rows: Entity[Any], via: str, newest: bool
) -> Flow[tuple[R, list[Any]] | None]:
    """What `row_and_list_by_script` returns, the row first and then the list."""
    record = yield from find(context, entity, key)
    if record is None:
        return None
    return record, (yield from all_pages(context, rows, via, (key,), newest=newest))


def _get_with_for_update(
    context: Context, entity: Entity[R], key: str, referrer: Referrer, newest: bool
) -> Flow[tuple[R, list[Any]]]:
    rows, via, values = referrer.entity, referrer.reference.via, (checked_text(key),)
    if context.state.unbuilt:
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
    """The row that `searching.first` finds, and every row of the entity `child` whose `field` it is.

    Args:
        newest: highest score of the reference's view first.

    Raises:
        NotFoundError: the entity's own error, when there is no such row.
        ValidationError: as for `searching.search`.
    """
    referrer = context.package.referrer(entity.name, child, field)
    check_filters(entity.name, entity.filters, filters)
    if filters.get(entity.key) is not None and not having:
        found = yield from _find_with(context, entity, filters[entity.key], referrer, newest)
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
    values = (checked_text(getattr(record, entity.key)),)
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
    """What `first_with` is for, in one round trip; None where that takes another way.

    Raises:
        NotFoundError: the entity's own error, when the view has no row.
    """
    access = yield from find_access_path(context, entity, filters, order)
    view = access.single_view(filters)
    if view is None:
        return None
    rows, via = referrer.entity, referrer.reference.via
    if context.state.unbuilt:
        yield from require_built(context, rows, via)
    partition, theirs = context.partition(entity), context.partition(rows)
    values = values_of(view, filters)
    arguments = (
        partition.document_prefix(entity.name),
        SCAN_FACTOR,
        theirs.view_prefix(rows.name, via),
        theirs.document_prefix(rows.name),
        CHUNK,
        "newest" if newest else "oldest",
        CHUNK * SCAN_FACTOR,
    )
    keys = (partition.view(entity.name, view.name, values),)
    reply: Any = yield from ask_script(context, "first_and_page", keys, arguments)
    records, onward = yield from read_reply(context, entity, view.name, values, True, reply[0])
    if not records and onward is None:
        raise entity.missing("")
    if not records or not matches(records[0], filters):
        # What was looked at is past its deadline, or damaged: what comes behind it is for a search.
        return None
    record = records[0]
    family = (checked_text(getattr(record, entity.key)),)
    return record, (yield from _complete_list(context, rows, via, family, newest, reply[1]))


def first_and_list_by_keys(*_: Any) -> Flow[None]:
    """None: without the script the first row is searched for, and its list read afterwards."""
    yield from ()


def _complete_list(
    context: Context, rows: Entity[R], via: str, values: tuple[str, ...], newest: bool, reply: Any
) -> Flow[list[R]]:
    """Every row of a list, the first of which are in a reply of the script `page`."""
    found, place = yield from read_reply(context, rows, via, values, newest, reply)
    if place is not None:
        found += yield from all_pages(context, rows, via, values, newest=newest, cursor=write_cursor(place))
    return found
