"""Unblocking a plan: rows that stand in its way and that no other writer put there are removed together.

Such a row is past its deadline and not swept, or freed by the server and not forgotten, or has no document that implies its
claim. However many there are, a few exchanges find all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from keyweave.changes.change import Change, Dangling
from keyweave.commit.compose import Watched, claims_of
from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow, Reply
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.heal import heal_entries
from keyweave.expiry.forget import forget_rows
from keyweave.expiry.search import Row
from keyweave.expiry.sweep import BATCH, sweep_row, sweep_rows
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import memory_of
from keyweave.read.get import find
from keyweave.store.context import Context

_BATCH: Final = 500


@dataclass(slots=True)
class _Obstacles:
    """What stands in the way of a plan.

    Attributes:
        ended: rows past their deadline.
        freed: rows that the server has freed.
        dangling: claims of rows that do not imply them.
    """

    ended: dict[Row, None] = field(default_factory=dict)
    freed: list[Row] = field(default_factory=list)
    dangling: list[Dangling] = field(default_factory=list)


def unblock(context: Context, changes: list[Change], watched: list[Watched]) -> Flow[int | None]:
    """Remove every ended, freed or dangling row that stands in the way of changes.

    Returns:
        How many were removed; None when a live row stands in the way, so nothing was removed.

    Raises:
        ReferenceViolationError: a live row refers with restrict to a row that stands in the way.
    """
    found = _Obstacles()
    live = yield from _find_rows(context, changes, watched, found)
    live = live or (yield from _find_owners(context, changes, found))
    if live:
        return None
    partition = context.partition(changes[0].entity)
    removed = yield from heal_entries(context, found.dangling)
    if found.freed:
        removed += yield from forget_rows(context, partition, found.freed)
    ended = list(found.ended)
    for start in range(0, len(ended), BATCH):
        swept, kept = yield from sweep_rows(context, partition, ended[start : start + BATCH])
        removed += swept
        for name, key in kept[:1]:
            yield from sweep_row(context, context.package.entities[name], key)  # raises what is in the way
    return removed


def _find_rows(
    context: Context, changes: list[Change], watched: list[Watched], found: _Obstacles
) -> Flow[bool]:
    """Find what exists under the keys of rows that must be absent. Returns True if one of them is a live row."""
    absent = [(change.entity, change.key) for change in changes if change.old is None]
    absent += [(entity, key) for entity, key, stored in watched if stored is None]
    for start in range(0, len(absent), _BATCH):
        part = absent[start : start + _BATCH]
        heads = yield from _heads(context, part)
        partition = context.partition(part[0][0])
        members = [partition.expiring(entity.name, key) for entity, key in part]
        (deadlines,) = yield from ask(context, (("ZMSCORE", partition.expiry, *members),))
        ended = yield from _ended(context, partition, heads)
        for (entity, key), head, passed, deadline in zip(part, heads, ended, deadlines, strict=True):
            if passed:
                found.ended[entity.name, key] = None
            elif head:
                return True
            elif deadline is not None:
                found.freed.append((entity.name, key))
    return False


def _find_owners(context: Context, changes: list[Change], found: _Obstacles) -> Flow[bool]:
    """Find the owners of unique values that the changes claim. Returns True if one of them is another live row."""
    written = {(change.entity.name, change.key) for change in changes}
    claims = [
        (change.entity, claim)
        for change in changes
        for claim in claims_of(change.new_entries)
        if claim not in change.old_entries
    ]
    for start in range(0, len(claims), _BATCH):
        part = claims[start : start + _BATCH]
        commands: list[Command] = [
            ("HGET", context.partition(entity).claims(entity.name, claim.unique), claim.value)
            for entity, claim in part
        ]
        owners = yield from ask(context, tuple(commands))
        others = [
            (entity, ClaimEntry(claim.unique, claim.value, owner.decode()))
            for (entity, claim), owner in zip(part, owners, strict=True)
            if owner is not None and (entity.name, owner.decode()) not in written
        ]
        heads = yield from _heads(context, [(entity, claim.owner) for entity, claim in others])
        ended = yield from _ended(context, context.partition(changes[0].entity), heads)
        for (entity, claim), head, passed in zip(others, heads, ended, strict=True):
            if not head:
                found.dangling.append((entity, claim.owner, None, [claim]))
            elif passed:
                found.ended[entity.name, claim.owner] = None
            else:
                # The server freed the owner, and another row was created under its key. That row may own the value, or not.
                owner = yield from find(context, entity, claim.owner)
                if owner is not None and claim in entity.entries(owner):
                    return True
                stored = memory_of(owner) if owner is not None else None
                revision = stored.revision if stored is not None else None
                found.dangling.append((entity, claim.owner, revision, [claim]))
    return False


def _heads(context: Context, rows: list[tuple[Entity[Any], str]]) -> Flow[list[Reply]]:
    """Return the first bytes of the documents of rows; empty bytes for none."""
    if not rows:
        return []
    commands: list[Command] = [
        ("GETRANGE", context.partition(entity).document(entity.name, key), 0, HEAD_LENGTH - 1)
        for entity, key in rows
    ]
    return (yield from ask(context, tuple(commands)))


def _ended(context: Context, partition: Partition, starts: list[Reply]) -> Flow[list[bool]]:
    """Return for each document whether it is past its deadline. One without a head counts as live."""
    heads = [read_head(start) for start in starts]
    return (
        yield from deadlines_passed(
            context, partition, [head.expires if head is not None else 0 for head in heads]
        )
    )
