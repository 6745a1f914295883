"""Forgetting: removing the entries of rows whose document the native TTL freed before a sweep, with their families.

Without a document the entries are unknown. They are searched for in all indexes of the entity and removed together
with the row's deadline. Until then the deadline stays, so that counts know which members are dead. The rows that refer
to a freed row end with it, as they end with a row that a sweep removes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, TypeAlias

from keyweave.changes.unit import Change
from keyweave.commit.remove import remove_rows
from keyweave.effects import Command, Flow
from keyweave.errors import ReferenceViolationError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import current_time
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity, View
from keyweave.model.entry import REVISION, ClaimEntry, Entry, ViewEntry
from keyweave.model.record import Stored
from keyweave.store.context import Context

_SEARCH_LIMIT: Final = 10_000
"""Maximum number of due rows that one search includes."""

_BATCH: Final = 500

Row: TypeAlias = tuple[str, str]
"""Entity name and key of a row."""


def forget(context: Context, partition: Partition, rows: list[Row]) -> Flow[tuple[int, list[Row]]]:
    """Remove the families, entries and deadlines of freed rows: of `rows`, and of other freed rows that are due.

    Returns:
        The number of removed rows, and those of `rows` that stay because a document exists under their key, or because a
        live row refers to them with restrict.
    """
    freed, stuck = yield from _freed(context, partition, rows)
    if freed:
        due = yield from _due(context, partition)
        freed |= (yield from _freed(context, partition, due))[0]
    forgotten: set[Row] = set()
    for name in sorted({name for name, _ in freed}):
        entity, keys = context.package.entities[name], {key for each, key in freed if each == name}
        entries = yield from find_entries(context, partition, entity, keys)
        changes = [_removal(entity, key, freed[name, key], entries.get(key, [])) for key in sorted(keys)]
        for start in range(0, len(changes), _BATCH):
            forgotten |= yield from _forget(context, changes[start : start + _BATCH])
    return len(forgotten), stuck + [row for row in rows if row in freed and row not in forgotten]


def count_swept(context: Context, change: Change) -> None:
    """Count the removal of a row that is past its deadline."""
    if change.old is not None:
        context.state.stats.sweep(change.entity.name, context.state.clock.now() - change.old.expires)


def _removal(entity: Entity[Any], key: str, deadline: int, entries: list[Entry]) -> Change:
    """Return the removal of a freed row. What the store held is not known, except for the deadline."""
    gone = Stored(0, 0, deadline)
    return Change(entity, key, old=gone, old_entries=entries, prepared=None, guard="missing")


def _freed(context: Context, partition: Partition, rows: list[Row]) -> Flow[tuple[dict[Row, int], list[Row]]]:
    """Return the deadlines of those of `rows` that have one and no document, and the rows that have both."""
    found: dict[Row, int] = {}
    both: list[Row] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        commands: list[Command] = []
        for row in part:
            commands.append(("EXISTS", partition.document(*row)))
            commands.append(("ZSCORE", partition.expiry, partition.expiring(*row)))
        answers = yield from ask(context, tuple(commands))
        for row, present, deadline in zip(part, answers[0::2], answers[1::2], strict=True):
            if deadline is None:
                continue
            if present:
                both.append(row)
            else:
                found[row] = int(float(deadline))
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


def find_entries(
    context: Context, partition: Partition, entity: Entity[Any], keys: set[str]
) -> Flow[dict[str, list[Entry]]]:
    """Return every entry in the entity's indexes that belongs to one of `keys`, by key."""
    entries: dict[str, list[Entry]] = defaultdict(list)
    cursor: bytes | int = 0
    pattern = context.keyspace.pattern()
    while True:
        ((cursor, names),) = yield from ask(context, (("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH),))
        for name in names:
            parsed = partition.index_of(name.decode(errors="replace"))
            index = context.package.indexes.get(parsed[0]) if parsed is not None else None
            if parsed is None or index is None or index.entity is not entity:
                continue
            if isinstance(index.of, View):
                members = yield from _members(context, name, keys)
                for member in members:
                    entries[member].append(ViewEntry(index.of.name, parsed[1], member, REVISION))
            else:
                for value, owner in (yield from _claims(context, name, keys)):
                    entries[owner].append(ClaimEntry(index.of.name, value, owner))
        if int(cursor) == 0:
            return entries


def _members(context: Context, name: bytes, keys: set[str]) -> Flow[list[str]]:
    """Return those of `keys` that are members of a view, by searching the smaller of the two."""
    (size,) = yield from ask(context, (("ZCARD", name),))
    if size > len(keys):
        wanted = list(keys)
        parts = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
        answers = yield from ask(context, tuple(("ZMSCORE", name, *part) for part in parts))
        return [
            key
            for part, scores in zip(parts, answers, strict=True)
            for key, score in zip(part, scores, strict=True)
            if score is not None
        ]
    found: list[str] = []
    for start in range(0, size, _BATCH):
        (members,) = yield from ask(context, (("ZRANGE", name, start, start + _BATCH - 1),))
        found += [member.decode() for member in members if member.decode() in keys]
    return found


def _claims(context: Context, name: bytes, keys: set[str]) -> Flow[list[tuple[str, str]]]:
    """Return the values of a unique constraint that one of `keys` owns, each with its owner."""
    found: list[tuple[str, str]] = []
    cursor: bytes | int = 0
    while True:
        ((cursor, flat),) = yield from ask(context, (("HSCAN", name, cursor, "COUNT", _BATCH),))
        pairs = zip(flat[0::2], flat[1::2], strict=True)
        found += [(value.decode(), owner.decode()) for value, owner in pairs if owner.decode() in keys]
        if int(cursor) == 0:
            return found


def _forget(context: Context, changes: list[Change]) -> Flow[set[Row]]:
    """Remove freed rows in one plan; row by row when one of them has a document again, or must stay."""
    try:
        done = yield from remove_rows(context, changes)
    except ReferenceViolationError:
        done = False
    if done:
        for change in changes:
            count_swept(context, change)
        return {(change.entity.name, change.key) for change in changes}
    forgotten: set[Row] = set()
    for change in changes if len(changes) > 1 else ():
        forgotten |= yield from _forget(context, [change])
    return forgotten
