"""Forgetting: removing the entries of rows whose document the native TTL freed before a sweep, with their families.

Without a document the entries are unknown. They are searched for in all indexes of the partition and removed together
with the row's deadline. Until then the deadline stays, so that counts know which members are dead. A search that an
operation has no time to complete is kept, and continued by the next one. The rows that refer to a freed row end with it,
as they end with a row that a sweep removes.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from keyweave.changes.change import Change
from keyweave.commit.allowance import Allowance
from keyweave.commit.remove import remove_rows
from keyweave.effects import Command, Flow
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    ReferenceViolationError,
    TransactionTooLargeError,
)
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import current_time
from keyweave.expiry.search import Row, Search
from keyweave.keyspace.keys import Partition
from keyweave.model.entry import Entry
from keyweave.model.record import Stored
from keyweave.store.context import Context

_SEARCH_LIMIT: Final = 10_000
"""Maximum number of due rows that one search includes."""

_BATCH: Final = 500


def forget_rows(context: Context, partition: Partition, rows: list[Row]) -> Flow[int]:
    """Remove the families, entries and deadlines of those of `rows` that are freed, and of no others.

    Returns:
        The number of removed rows, without those of their families.

    Raises:
        AuthenticationError: the user may not search for the entries.
        CorruptDocumentError: a row that refers to one of them cannot be read.
        ReferenceViolationError: a live row refers to one of them with restrict.
    """
    # A search belongs to one operation at a time: another one that came here meanwhile would continue it as well.
    searches = context.state.searches
    search = searches.pop(partition.tag, None)
    if search is not None and not search.rows.keys() >= set(rows):
        searches[partition.tag] = search
        search = None
    try:
        if search is None:
            search = Search((yield from _freed(context, partition, rows))[0])
        yield from search.advance(context, partition, None)
        known = {row: search.rows[row] for row in rows if row in search.rows}
        forgotten, stuck = yield from _forget(context, partition, search, list(known), None)
        for row in stuck[:1]:
            again = _removal(context, row, known[row], search.entries.get(row, []))
            yield from remove_rows(context, [again])  # raises what is in the way
    except AuthenticationError as error:
        # Without SCAN the entries of the freed row cannot be found, and a new row would appear under them.
        raise AuthenticationError(
            f"{rows[0][0]}: the server freed the ended row with this key before a sweep, and this user lacks "
            f"a permission to remove its entries ({error}); run `keyweave sweep` with the admin tool's user"
        ) from None
    finally:
        if search is not None and search.rows:
            searches[partition.tag] = search  # an operation without time for all of it is tried again
    return forgotten


def forget(
    context: Context, partition: Partition, rows: list[Row], allowance: Allowance | None = None
) -> Flow[tuple[int, list[Row]]]:
    """Remove the families, entries and deadlines of freed rows: of `rows`, and of other freed rows that are due.

    Args:
        allowance: what it may cost. When it is used up, another call continues, and rows of an earlier call come first.

    Returns:
        The number of removed rows, without those of their families, and the rows that stay: a document exists under their
        key, a live row refers to them with restrict, or their families cannot be read or keep changing.
    """
    search = context.state.searches.pop(partition.tag, None)
    stuck: list[Row] = []
    if search is None or (allowance is None and not search.rows.keys() >= set(rows)):
        freed, stuck = yield from _freed(context, partition, rows)
        if not freed:
            return 0, stuck
        due = yield from _due(context, partition)
        search = Search(freed | (yield from _freed(context, partition, due))[0])
    forgotten = 0
    try:
        yield from search.advance(context, partition, allowance)
        while search.complete and search.rows and not (allowance is not None and allowance.spent):
            most = _BATCH if allowance is None else min(_BATCH, allowance.rows)
            done, kept = yield from _forget(
                context, partition, search, list(islice(search.rows, most)), allowance
            )
            forgotten += done
            stuck += kept
    finally:
        if search.rows:
            context.state.searches[partition.tag] = search
    return forgotten, stuck


def count_swept(context: Context, change: Change) -> None:
    """Count the removal of a row that is past its deadline."""
    if change.old is not None:
        now = context.clock(context.partition(change.entity)).now()
        context.state.stats.sweep(change.entity.name, now - change.old.expires)


def _freed(
    context: Context, partition: Partition, rows: list[Row]
) -> Flow[tuple[dict[Row, bytes], list[Row]]]:
    """Return those of `rows` that have a deadline and no document, with it, and those that have both."""
    found: dict[Row, bytes] = {}
    both: list[Row] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        documents = [partition.document(*row) for row in part]
        members = [partition.expiring(*row) for row in part]
        commands: tuple[Command, ...] = (
            ("EXISTS", *documents),
            ("ZMSCORE", partition.expiry, *members),
        )
        number, deadlines = yield from ask(context, commands)
        present = [0] * len(part)
        if number:
            present = yield from ask(context, tuple(("EXISTS", document) for document in documents))
        for row, exists, deadline in zip(part, present, deadlines, strict=True):
            if deadline is None:
                continue
            if exists:
                both.append(row)
            else:
                found[row] = deadline
    return found, both


def _due(context: Context, partition: Partition) -> Flow[list[Row]]:
    """Return the first rows that are past their deadline."""
    known = context.package.entities
    now = yield from current_time(context, partition)
    (due,) = yield from ask(
        context, (("ZRANGEBYSCORE", partition.expiry, "-inf", now, "LIMIT", 0, _SEARCH_LIMIT),)
    )
    pairs = [member.decode(errors="replace").partition(":") for member in due]
    return [(name, key) for name, _, key in pairs if name in known and known[name].group == partition.group]


def _removal(context: Context, row: Row, deadline: bytes, entries: list[Entry]) -> Change:
    """Return the removal of a freed row with the entries that a search has found.

    What the store held is not known, except for the deadline. It guards the removal: a row that came back and was freed
    again during the search may have entries that the search has missed.
    """
    name, key = row
    return Change(
        context.package.entities[name],
        key,
        old=Stored(0, 0, int(float(deadline))),
        old_entries=entries,
        prepared=None,
        guard="gone",
        deadline=deadline,
    )


def _forget(
    context: Context, partition: Partition, search: Search, rows: list[Row], allowance: Allowance | None
) -> Flow[tuple[int, list[Row]]]:
    """Remove freed rows in one plan, or in smaller ones when one of them has come back or must stay.

    Rows that are removed, have come back or must stay leave the search. The others wait for the next allowance.

    Returns:
        The number of removed rows, and the rows that must stay.
    """
    forgotten = 0
    stuck: list[Row] = []
    waiting = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    while waiting and not (allowance is not None and allowance.spent):
        part = waiting.pop()
        changes = [_removal(context, row, search.rows[row], search.entries.get(row, [])) for row in part]
        try:
            done = yield from remove_rows(context, changes, allowance=allowance)
        except (CorruptDocumentError, ReferenceViolationError, TransactionTooLargeError):
            done = False
        if done:
            for change in changes:
                count_swept(context, change)
            forgotten += len(part)
        elif allowance is not None and allowance.spent:
            break  # what is left of the families is removed by the next call
        elif len(part) > 1:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
            continue
        elif (yield from _freed(context, partition, part))[0].get(part[0]) == search.rows[part[0]]:
            stuck += part
        for row in part:
            del search.rows[row]
    return forgotten, stuck
