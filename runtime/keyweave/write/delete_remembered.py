"""Deleting a row as this process remembers it, with the rows that refer to it: one plan without a read."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.changes.packed import RowPacker
from keyweave.changes.removal import Removal, pack_removals
from keyweave.commit.commit import commit
from keyweave.commit.family import removal
from keyweave.commit.guess import learn_family, remembered_family
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.apply import Begun, begin
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context


def discard_remembered(
    context: Context, entity: Entity[Any], key: str, guess: Stored
) -> Flow[tuple[bool, Change | None]]:
    """Try to remove a row with the rows that refer to it, all as this process last wrote them.

    Returns:
        Whether it was removed. If not, also the removal of the document in the refusal, where it is known that no row can refer
        to it. Without that, the caller has to read the row: it may be deleted, past its deadline, or have other referrers.
    """
    family = remembered_family(context, entity, key, guess)
    if family is None:
        return False, None
    shown = not context.package.referrers[entity.name]
    begun = yield from _first_try(context, family, shown=shown)
    document: bytes | None = None
    right = begun is not None and _applied(context, context.partition(entity), begun)
    if not right:
        changes = [row.change() for row in family]
        try:
            refusal = yield from commit(context, changes, with_document=shown, begun=begun)
            right = refusal is None
            document = refusal.document if refusal is not None else None
        except CorruptDocumentError:
            pass  # reading the rows shows which one it is
    learn_family(context, family, right=right)
    return right, removal(context, entity, key, document, "revision") if document is not None else None


def _first_try(context: Context, family: list[Removal], *, shown: bool) -> Flow[Begun | None]:
    """Send the plan that removes rows, packed, and return what came of it; None if it is not sent so."""
    rows: list[tuple[Removal, RowPacker]] = []
    for row in family:
        packer = context.packer(row.entity) if not context.homing else None
        if packer is None:
            return None
        rows.append((row, packer))
    begun = begin(context, rows[0][1].partition)
    command = pack_removals(
        rows,
        begun.op,
        begun.ticket,
        begun.until,
        sha=context.scripts["free"].sha,
        renew=begun.renew,
        shown=shown,
    )
    if command is None:
        context.state.ledger.answered(begun.ticket)
        return None
    try:
        (begun.reply,) = yield Send((command,), None, 1)
    except ConnectionFailure as failure:
        begun.reply = failure
    except BaseException:
        context.state.ledger.leave_open(begun.ticket)  # the caller gave up while the plan may be on its way
        raise
    return begun


def _applied(context: Context, partition: Partition, begun: Begun) -> bool:
    """Return whether a first try was applied."""
    reply = begun.reply
    if type(reply) is not list or reply[0] != b"OK":
        return False
    context.state.ledger.answered(begun.ticket)
    if begun.renew:
        context.state.ledger.renewed(partition.tag)
    return True
