"""What the ledger keeps of a plan whose answer was lost."""

from __future__ import annotations

from typing import Final

from keyweave.changes.answer import Ticket
from keyweave.effects import Command, Flow, Receipt, Reply
from keyweave.exchange.ask import ask, ask_script
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_LEDGER_LIFE: Final = 86_400_000
"""Milliseconds for which the scripts keep a ledger after a renewal."""


def recall(
    context: Context,
    partition: Partition,
    ticket: Ticket,
    *,
    confirm: bool = True,
    receipt: Receipt | None = None,
    unconfirmed: str | None = None,
) -> Flow[Reply]:
    """Return the reply of the script `outcome` for a plan. If the plan was not applied, it never will be.

    Args:
        confirm: whether a store with the option `durable` has the reply confirmed.
        receipt: as in `Send`, like `unconfirmed`.

    Raises:
        StoreUnavailableError: or a subclass.
        CorruptDocumentError: the ledger's key has the wrong type.
    """
    key, arguments = partition.ledger(ticket.session), (ticket.slot, ticket.sequence)
    if context.durability is None or not confirm:
        return (yield from ask_script(context, "outcome", (key,), arguments))
    call: Command = ("EVAL", context.scripts["outcome"].text, 1, key, *arguments)
    commands = (call, renewal(partition, ticket))
    reply, _ = yield from ask(context, commands, confirm=2, receipt=receipt, unconfirmed=unconfirmed)
    return reply


def renewal(partition: Partition, ticket: Ticket) -> Command:
    """Return a write that changes nothing of value, behind which an earlier write can be confirmed.

    WAIT and WAITAOF confirm what their own connection wrote last. A connection that only read the ledger has written nothing
    that they could wait for.
    """
    return ("PEXPIRE", partition.ledger(ticket.session), _LEDGER_LIFE)
