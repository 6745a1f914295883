"""Putting one row: the common write, whose plan is packed without being built."""

from __future__ import annotations

from typing import Any

from keyweave.changes.answer import Refusal
from keyweave.changes.change import replacement
from keyweave.commit.commit import remember_write
from keyweave.document.codec import Codec, Prepared
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.exchange.apply import begin
from keyweave.expiry.tend import sweep_after_write
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

    The plan is sent packed. It is built only if the server does not answer OK: to name the guard, to try again, or to settle it.

    Args:
        stored: what the store holds, with its snapshot, or None for a new row.
        with_document: whether an EXISTS or CHANGED refusal includes the stored document.
    """
    packer = context.packer(codec.entity)
    begun = None
    if packer is not None:
        begun = begin(context, packer.partition)
        ledger = context.state.ledger
        command = packer.put(
            prepared, stored, begun.op, begun.ticket, begun.until, renew=begun.renew, shown=with_document
        )
        if command is not None:
            try:
                (reply,) = yield Send((command,), None, 1)
            except ConnectionFailure as failure:
                begun.reply = failure
            except BaseException:
                ledger.leave_open(begun.ticket)  # the caller gave up while the plan may be on its way
                raise
            else:
                if type(reply) is list and reply[0] == b"OK":
                    ledger.answered(begun.ticket)
                    if begun.renew:
                        ledger.renewed(packer.partition.tag)
                    head = (int(reply[1]), int(reply[2]), int(reply[3]))
                    remember_write(context, prepared, record, head, begun.op)
                    yield from sweep_after_write(context, codec.entity)
                    return None
                begun.reply = reply
    change = replacement(codec, record, stored, prepared)
    return (yield from settle(context, [change], with_document=with_document, begun=begun))
