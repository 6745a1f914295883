"""Deleting a row whose document cannot be read. Its entries are unknown, so they are searched for in all indexes."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.commit.remove import remove_rows
from keyweave.document.head import read_head
from keyweave.effects import Command, Flow, Word
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.expiry.search import Search
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context


def discard_unreadable(context: Context, entity: Entity[Any], key: str) -> Flow[bool]:
    """Delete a row whose document cannot be read, with its entries and the rows that refer to it with cascade.

    This needs the permission for SCAN, which the access rule of the admin tool has.

    Returns:
        False when the document can be read, or is not there.

    Raises:
        CorruptDocumentError: a row that refers to it cannot be read either; delete that row first.
        ReferenceViolationError: a live row refers to it with restrict.
    """
    partition = context.partition(entity)
    place = partition.document(entity.name, key)
    (document,) = yield from ask(context, (("GET", place),))
    if document is None or _readable(context, entity, document):
        return False
    search = Search({(entity.name, key): b""})
    yield from search.advance(context, partition, None)
    entries = search.entries.get((entity.name, key), [])
    head = read_head(document)
    deadline: Word | None = None
    if head is None:
        # No guard can compare a document without a head.
        commands: tuple[Command, ...] = (
            ("DEL", place),
            ("ZMSCORE", partition.expiry, partition.expiring(entity.name, key)),
        )
        _, (deadline,) = yield from ask(context, commands, confirm=1)
        stored, guard = Stored(0, 0, 0), "gone"
    else:
        stored, guard = Stored(head.revision, head.created, head.expires, op=head.op), "unchanged"
    change = Change(
        entity, key, old=stored, old_entries=entries, prepared=None, guard=guard, deadline=deadline
    )
    context.state.recent.drop(entity.name, key)
    removed: bool = yield from remove_rows(context, [change])
    return removed


def _readable(context: Context, entity: Entity[Any], document: bytes) -> bool:
    try:
        context.codec(entity).load(document)
    except CorruptDocumentError:
        return False
    return True
