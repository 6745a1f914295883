"""Putting one row: the common write, whose plan is packed without being built."""

from __future__ import annotations

from typing import Any, Final

from keyweave.changes.answer import Guard, Refusal, Status
from keyweave.changes.change import replacement
from keyweave.commit.remember import remember_write
from keyweave.document.codec import Codec, Prepared
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.exchange.apply import Begun, begin
from keyweave.expiry.tend import sweep_after_write
from keyweave.homes.home import is_located
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.write.settle import settle

_ROW_REFUSALS: Final = {each.encode(): each for each in (Status.EXISTS, Status.CHANGED, Status.MISSING)}
"""Refusals by the guard of the row itself, which is the first one of a packed plan."""


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
    if begun is not None:
        if remembered(context, begun, prepared, record):
            yield from sweep_after_write(context, codec.entity)
            return None
        refusal = _row_refusal(context, begun, prepared, stored)
        if refusal is not None:
            return refusal
    change = replacement(codec, record, stored, prepared)
    return (yield from settle(context, [change], with_document=with_document, begun=begun))


def first_try(
    context: Context, prepared: Prepared, stored: Stored | None, *, with_document: bool
) -> Flow[Begun | None]:
    """Send the plan that writes one row, packed, and return what came of it; None if it is not sent so.

    The plan is built only if the server answers neither OK nor that the row is another one: to name the guard, to try again, or to
    settle it.
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


def _row_refusal(context: Context, begun: Begun, prepared: Prepared, stored: Stored | None) -> Refusal | None:
    """Return the refusal of a first try because the row is not as it was known; None for everything else.

    It is what the plan would make of the reply, and costs much less than building one.
    """
    reply = begun.reply
    if type(reply) is not list or reply[0] not in _ROW_REFUSALS or int(reply[1]) != 1:
        return None
    context.state.ledger.answered(begun.ticket)
    guard = Guard("absent" if stored is None else "revision", prepared.entity, prepared.key)
    return Refusal(_ROW_REFUSALS[reply[0]], guard, "", reply[3] if len(reply) > 3 else None)
