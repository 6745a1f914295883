"""Putting one row: the common write, whose plan is packed without being built."""

from __future__ import annotations

from typing import Any

from keyweave.changes.answer import Refusal
from keyweave.changes.change import replacement
from keyweave.commit.commit import remember_write
from keyweave.document.codec import Codec, Prepared
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.exchange.apply import Begun, begin
from keyweave.expiry.tend import sweep_after_write
from keyweave.homes.home import is_located
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.write.settle import settle


def put(
    context: Context,
    codec: Codec,
    record: Any,
    stored: Stored | None,
    prepared: Prepared,
    *,
    with_document: bool = False,
) -> Flow[Refusal | None]:
    """Write one row, as `settle` writes the change that replaces `stored` by a record.

    Args:
        stored: what the store holds, with its snapshot, or None for a new row.
        with_document: whether an EXISTS or CHANGED refusal includes the stored document.
    """
    begun = yield from first_try(context, prepared, stored, with_document=with_document)
    if begun is not None and remembered(context, begun, prepared, record):
        yield from sweep_after_write(context, codec.entity)
        return None
    change = replacement(codec, record, stored, prepared)
    return (yield from settle(context, [change], with_document=with_document, begun=begun))


def first_try(
    context: Context, prepared: Prepared, stored: Stored | None, *, with_document: bool
) -> Flow[Begun | None]:
    """Send the plan that writes one row, packed, and return what came of it; None if it is not sent so.

    The plan is built only if the server does not answer OK: to name the guard, to try again, or to settle it.
    """
    packer = context.packer(prepared.entity)
    if packer is None or (context.homing and not _stays(context, prepared, stored)):
        return None
    begun = begin(context, packer.partition)
    command = packer.put(
        prepared, stored, begun.op, begun.ticket, begun.until, renew=begun.renew, shown=with_document
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


def _stays(context: Context, prepared: Prepared, stored: Stored | None) -> bool:
    """Return whether no key or unique value needs a home, or gives one up, and the row does not change its partition.

    A durable store also confirms the home that a row has already.
    """
    entity = prepared.entity
    if stored is None or context.durability is not None:
        return is_located(entity) and not entity.uniques
    name = entity.partition_by
    return not entity.uniques and getattr(stored.snapshot, name) == getattr(prepared.snapshot, name)


def remembered(context: Context, begun: Begun, prepared: Prepared, record: Any) -> bool:
    """Return whether a first try was applied; its record and the cache of recent rows remember it then."""
    reply = begun.reply
    if type(reply) is not list or reply[0] != b"OK":
        return False
    ledger = context.state.ledger
    ledger.answered(begun.ticket)
    if begun.renew:
        ledger.renewed(context.partition(prepared.entity).tag)
    head = (int(reply[1]), int(reply[2]), int(reply[3]))
    remember_write(context, prepared, record, head, begun.op)
    return True
