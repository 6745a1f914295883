"""Settling a write whose outcome was unknown, once the server can be reached again."""

from __future__ import annotations

from typing import Final

from keyweave.changes.answer import Applied
from keyweave.changes.unsettled import Settled, Unsettled
from keyweave.commit.homed import homes_before
from keyweave.commit.remember import remember_writes
from keyweave.effects import Flow, Receipt
from keyweave.errors import ConfigurationError, OutcomeUnknownError
from keyweave.exchange.confirm import confirmed, unconfirmed
from keyweave.exchange.deadline import server_time
from keyweave.exchange.recall import recall
from keyweave.exchange.together import together
from keyweave.homes.claim import claim
from keyweave.store.context import Context
from keyweave.store.durability import parse_durability

_KEPT: Final = 12 * 3600 * 1_000_000
"""Microseconds after a plan's latest time for which the ledger certainly has its answer: the server keeps it for a day after
the last renewal, and a renewal is due every six hours."""


def outcome(context: Context, error: OutcomeUnknownError) -> Flow[Settled]:
    """Return whether the write behind an error happened. If it did not, it never will: a late try is refused.

    That is possible for 12 hours by the server's clock, and for the latest 10,000 unknown outcomes of a store. The outcome is
    confirmed on the level on which the write was to be.

    Raises:
        ConfigurationError: the error does not come from a write of this kind of store, or comes from one in another namespace.
        DurabilityError: the outcome was not confirmed in time. Its `result` is what this returns.
        OutcomeUnknownError: `error` itself, when it can no longer be settled.
        StoreUnavailableError: or a subclass: the server cannot be reached yet.
    """
    if not isinstance(error, OutcomeUnknownError):
        raise ConfigurationError("outcome: takes the OutcomeUnknownError of a write")
    unsettled = error.unsettled
    if isinstance(unsettled, Settled):
        return unsettled
    if not isinstance(unsettled, Unsettled):
        raise error
    written = unsettled.plan.partition
    if all(written.tag != each.tag for each in context.keyspace.partitions()):
        raise ConfigurationError("outcome: the write was in another namespace; ask the store of its tenant")
    level = parse_durability(unsettled.durable)
    if level is None or level == context.durability:
        return (yield from _settle(context, error, unsettled))
    context = context.on_level(level)
    return (yield from confirmed(context, _settle(context, error, unsettled)))


def _settle(context: Context, error: OutcomeUnknownError, unsettled: Unsettled) -> Flow[Settled]:
    fate = unsettled.fate
    applied = fate.applied
    if applied is None:
        try:
            applied = yield from _look_up(context, error, unsettled)
        except OutcomeUnknownError:
            applied = fate.applied  # another caller of the plan may have learned it meanwhile
            if applied is None:
                raise
        fate.applied = applied
        if applied and unsettled.unconfirmed is not None and context.durability is not None:
            fate.unconfirmed = yield from _confirm_homes(context, unsettled)
    settled = Settled(applied, unsettled.result if applied else None)
    error.unsettled = settled
    if applied and fate.unconfirmed is not None:
        raise unconfirmed(context, fate.unconfirmed, settled)
    return settled


def _confirm_homes(context: Context, unsettled: Unsettled) -> Flow[str | None]:
    """Have the homes of an applied write confirmed that were not before it was sent. Returns in words what is missing, or None."""
    receipt = Receipt()
    things = homes_before(unsettled.changes)
    yield from together(context, [claim(context, thing, place, 0, receipt) for thing, _, place in things])
    return receipt.unconfirmed


def _look_up(context: Context, error: OutcomeUnknownError, unsettled: Unsettled) -> Flow[bool]:
    """Ask the ledger whether a plan was applied. If it was not, it never will be."""
    if (yield from server_time(context, unsettled.plan.partition)) > unsettled.until + _KEPT:
        raise error
    plan, ticket = unsettled.plan, unsettled.ticket
    reply = yield from recall(context, plan.partition, ticket)
    if reply[0] == b"REPLAYED":
        applied = plan.outcome(reply[1].split())
        assert isinstance(applied, Applied)
        remember_writes(context, unsettled.changes, applied, plan.op)
    elif reply[0] != b"NEVER":
        raise error
    context.state.ledger.settled(ticket)
    return bool(reply[0] == b"REPLAYED")
