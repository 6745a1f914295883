"""Forgetting: removing the entries of rows whose document the native TTL freed before a sweep.

Without a document the entries are unknown. They are searched for in all indexes of the partition and removed together
with the row's deadline. Until then the deadline stays, so that counts know which members are dead. A search that an
operation has no time to complete is kept, and continued by the next one.
"""

from __future__ import annotations

from typing import Any, Final

from keyweave.changes.plan import Applied, Plan, new_op
from keyweave.commit.allowance import Allowance
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import apply, ask
from keyweave.exchange.deadline import current_time
from keyweave.expiry.search import Row, Search
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import Entry
from keyweave.store.context import Context

_SEARCH_LIMIT: Final = 10_000
"""Maximum number of due rows that one search includes."""

_BATCH: Final = 500


def forget_rows(context: Context, partition: Partition, rows: list[Row]) -> Flow[int]:
    """Remove the entries and deadlines of those of `rows` that are freed, and of no others. Returns their number."""
    # A search belongs to one operation at a time: another one that came here meanwhile would continue it as well.
    searches = context.state.searches
    search = searches.pop(partition.tag, None)
    if search is not None and not search.rows.keys() >= set(rows):
        searches[partition.tag] = search
        search = None
    if search is None:
        search = Search((yield from _freed(context, partition, rows))[0])
    forgotten = 0
    try:
        yield from search.advance(context, partition, None)
        for name in sorted({name for name, _ in rows}):
            keys = [key for each, key in rows if each == name and (each, key) in search.rows]
            for start in range(0, len(keys), _BATCH):
                part = keys[start : start + _BATCH]
                forgotten += yield from _forget_batch(context, partition, search, name, part)
    finally:
        if search.rows:
            searches[partition.tag] = search  # an operation without time for all of it is tried again
    return forgotten


def forget(
    context: Context, partition: Partition, rows: list[Row], allowance: Allowance | None = None
) -> Flow[tuple[int, list[Row]]]:
    """Remove the entries and deadlines of freed rows: of `rows`, and of other freed rows that are due.

    Args:
        allowance: what it may cost. When it is used up, another call continues, and rows of an earlier call come first.

    Returns:
        The number of removed rows, and those of `rows` that stay because a document exists under their key.
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
            first = next(iter(search.rows))[0]
            keys = [key for name, key in search.rows if name == first][:most]
            done = yield from _forget_batch(context, partition, search, first, keys)
            forgotten += done
            if allowance is not None:
                allowance.charge(done)
    finally:
        if search.rows:
            context.state.searches[partition.tag] = search
    return forgotten, stuck


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
    now = yield from current_time(context)
    (due,) = yield from ask(
        context, (("ZRANGEBYSCORE", partition.expiry, "-inf", now, "LIMIT", 0, _SEARCH_LIMIT),)
    )
    pairs = [member.decode(errors="replace").partition(":") for member in due]
    return [(name, key) for name, _, key in pairs if name in known and known[name].group == partition.group]


def _forget_batch(
    context: Context, partition: Partition, search: Search, name: str, keys: list[str]
) -> Flow[int]:
    """Remove the entries that a search has found of rows of one entity, unless a row got another deadline meanwhile."""
    done = yield from _forget(context, partition, context.package.entities[name], keys, search)
    for key in keys:
        del search.rows[name, key]
    return done


def _forget(
    context: Context, partition: Partition, entity: Entity[Any], keys: list[str], search: Search
) -> Flow[int]:
    """Remove the entries and deadlines of rows in one plan; row by row when one of them has come back.

    The plan is guarded by the deadlines from before the search: a row that came back and was freed again meanwhile may
    have entries that the search has missed.
    """
    if not keys:
        return 0
    plan = Plan(partition, new_op())
    for key in keys:
        row = entity.name, key
        entries: list[Entry] = search.entries.get(row, [])
        plan.guard_gone(entity, key, search.rows[row])
        plan.delete(entity, key, entries)
    outcome = yield from apply(context, plan, repeatable=True)
    if isinstance(outcome, Applied):
        for _ in keys:
            context.state.stats.sweep(entity.name, None)
        return len(keys)
    if len(keys) == 1:
        return 0
    forgotten = 0
    for key in keys:
        forgotten += yield from _forget(context, partition, entity, [key], search)
    return forgotten
