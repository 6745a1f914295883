"""Whether the calls of an attempt that trusted would have passed their checks: asked in one exchange, when no plan answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from keyweave.changes.unit import UnitOfWork
from keyweave.document.head import read_head
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.doubling import observed
from keyweave.homes.home import read_home
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.write.buffer import facts_needed, head_of
from keyweave.write.elsewhere import needing_homes

_Check: TypeAlias = tuple[Command, Callable[[Any], bool]]
"""A command, and what says whether its reply speaks against nothing."""


def in_order(context: Context, unit: UnitOfWork) -> Flow[bool]:
    """Return whether nothing speaks against what an attempt has left to its plan, so that each call would have passed its checks.

    These are the writes that no exchange has checked, and the rows that were required and not read.

    Raises:
        PartitionsMovedError: partitions have other rows than the attempt believed.
    """
    # Rows that began to move during the attempt were read where they had been.
    if unit.doubtful or (context.keyspace.doublings and context.doubling is None):
        return False
    return (yield from observed(context, _all_hold(context, unit)))


def _all_hold(context: Context, unit: UnitOfWork) -> Flow[bool]:
    checks = [*_of_writes(context, unit)]
    rows = [(row[1], each) for row, each in unit.required.items() if row in unit.assumed]
    checks += [(_place_of(context, each.entity, each.entry), _has_place) for _, each in rows if each.entry]
    heads = [head_of(context, each.entity, key) for key, each in rows]
    replies = yield from ask(context, (*[command for command, _ in checks], *heads))
    if not all(fits(reply) for (_, fits), reply in zip(checks, replies, strict=False)):
        return False
    found = [read_head(start) for start in replies[len(checks) :]]
    deadlines = [head.expires for head in found if head is not None]
    if len(deadlines) < len(rows):
        return False
    if not any(deadlines):
        return True
    return not any((yield from deadlines_passed(context, context.partition(rows[0][1].entity), deadlines)))


def _of_writes(context: Context, unit: UnitOfWork) -> Iterator[_Check]:
    """Yield what shows whether the unchecked writes of a unit would have passed their checks."""
    for change in unit.unchecked.values():
        entity, prepared = change.entity, change.prepared
        assert prepared is not None
        partition = context.partition(entity)
        yield head_of(context, entity, change.key), partial(_is_as, change.old)
        claims, references = facts_needed(context, unit, entity, prepared, change.old)
        for claim in claims:
            command = ("HGET", partition.claims(entity.name, claim.unique), claim.value)
            yield command, partial(_is_free, change.key)
        for each in needing_homes(entity, prepared, claims, change.old is None) if context.homing else ():
            command = ("HGET", each.at(context).homes(entity.name, each.unique), each.value)
            yield command, partial(_is_here, context, partition)
        for target, value in references.values():
            yield head_of(context, target, value), _stays


def _place_of(context: Context, entity: Entity[Any], entry: ViewEntry) -> Command:
    """Return the command that asks for the score of an entry."""
    return ("ZMSCORE", context.partition(entity).view(entity.name, entry.view, entry.values), entry.member)


def _has_place(reply: list[Any]) -> bool:
    return reply[0] is not None


def _is_as(stored: Stored | None, reply: bytes) -> bool:
    if stored is None:
        return not reply
    head = read_head(reply)
    return head is not None and head.revision == stored.revision and not head.expires


def _is_free(key: str, reply: bytes | None) -> bool:
    return reply is None or reply.decode() == key


def _is_here(context: Context, partition: Partition, reply: bytes | None) -> bool:
    return (
        reply is None
        or context.keyspace.holder(partition.group, read_home(reply).place).index == partition.index
    )


def _stays(reply: bytes) -> bool:
    head = read_head(reply)
    return head is not None and not head.expires
