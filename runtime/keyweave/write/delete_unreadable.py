"""Deleting a row whose document cannot be read. Its entries are unknown, so they are searched for in all indexes."""

from __future__ import annotations

from typing import Any

from keyweave.changes.unit import Change
from keyweave.commit.remove import remove_rows
from keyweave.document.codec import read_head
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.expiry.forget import find_entries
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
    entries = (yield from find_entries(context, partition, entity, {key})).get(key, [])
    head = read_head(document)
    if head is None:
        # No guard can compare a document without a head.
        yield from ask(context, (("DEL", place),))
        stored, guard = Stored(0, 0, 0), "missing"
    else:
        stored, guard = Stored(head.revision, head.created, head.expires, op=head.op), "unchanged"
    change = Change(entity, key, old=stored, old_entries=entries, prepared=None, guard=guard)
    context.state.recent.drop(entity.name, key)
    removed: bool = yield from remove_rows(context, [change])
    return removed


def _readable(context: Context, entity: Entity[Any], document: bytes) -> bool:
    try:
        context.codec(entity).load(document)
    except CorruptDocumentError:
        return False
    return True
