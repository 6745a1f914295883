"""Whether the calls of an attempt that trusted would have passed their checks: asked in one exchange, when no plan answers it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from keyweave.changes.required import Required
from keyweave.changes.unit import UnitOfWork
from keyweave.document.head import read_head
from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadlines_passed
from keyweave.homes.home import read_home
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.write.buffer import facts_needed, head_of
from keyweave.write.elsewhere import needing_homes


def in_order(context: Context, unit: UnitOfWork) -> Flow[bool]:
    """Return whether nothing speaks against what an attempt has left to its plan, so that each call would have passed its checks.

    These are the writes that no exchange has checked, and the rows that were required and not read.
    """
    if unit.doubtful:
        return False
    commands: list[Command] = []
    expected: list[Callable[[Any], bool]] = []
    for change in unit.unchecked.values():
        entity, prepared = change.entity, change.prepared
        assert prepared is not None
        commands.append(head_of(context, entity, change.key))
        expected.append(partial(_is_as, change.old))
        claims, references = facts_needed(context, unit, entity, prepared, change.old)
        for claim in claims:
            commands.append(
                ("HGET", context.partition(entity).claims(entity.name, claim.unique), claim.value)
            )
            expected.append(partial(_is_free, change.key))
        for each in needing_homes(entity, prepared, claims, change.old is None) if context.homing else ():
            commands.append(("HGET", each.at(context).homes(entity.name, each.unique), each.value))
            expected.append(partial(_is_here, context, context.partition(entity)))
        for target, value in references.values():
            commands.append(head_of(context, target, value))
            expected.append(_stays)
    rows = [(unit.required[row].entity, row[1]) for row in unit.assumed]
    for entry in [unit.required[row] for row in unit.assumed if unit.required[row].entry is not None]:
        commands.append(_place_of(context, entry))
        expected.append(_has_place)
    commands += [head_of(context, entity, key) for entity, key in rows]
    replies = yield from ask(context, tuple(commands))
    if not all(fits(reply) for fits, reply in zip(expected, replies, strict=False)):
        return False
    return (yield from _are_live(context, rows, replies[len(expected) :]))


def _are_live(context: Context, rows: list[tuple[Entity[Any], str]], starts: list[Any]) -> Flow[bool]:
    """Return whether the first bytes of the documents of rows of one partition show that all of them are live."""
    heads = [read_head(start) for start in starts]
    deadlines = [head.expires for head in heads if head is not None]
    if len(deadlines) < len(rows):
        return False
    if not any(deadlines):
        return True
    return not any((yield from deadlines_passed(context, context.partition(rows[0][0]), deadlines)))


def _place_of(context: Context, required: Required) -> Command:
    """Return the command that asks for the score of the entry that a row must have."""
    entity, entry = required.entity, required.entry
    assert entry is not None
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
