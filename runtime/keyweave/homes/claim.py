"""Homes are given, taken over and removed here. Each change of a home follows a fence in the partition that it named.

A fence is one step in that partition: it finds no row (or unique value), and from then on inserts under the home's epoch
are refused. Only then the home changes, if it is still the one that was fenced.

A durable store has each step confirmed before the next one: a server that fails must not forget a fence, or a home, on which
something rests by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import ConnectionFailure, Flow, Receipt, Sleep, Word
from keyweave.errors import CorruptDocumentError, KeyweaveError, TransactionConflictError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.outdated import outdated
from keyweave.exchange.together import together
from keyweave.homes.home import FENCE_LIFE, Home, Homed, not_after, noted, read_home
from keyweave.homes.misplaced import remove_misplaced
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context
from keyweave.store.doubling import SPLIT_REPLY, PartitionsMovedError

_SHARE: Final = 0.5
"""Of the time that is left, how much a step on a home may wait for its confirmation: the row is written after it."""


def find_home(context: Context, thing: Homed) -> Flow[Home | None]:
    """Return the home of a key or unique value, or None. Without a home there is no row; with one there may be none."""
    (stored,) = yield from ask(
        context, (("HGET", thing.at(context).homes(thing.entity.name, thing.unique), thing.value),)
    )
    return read_home(stored) if stored is not None else None


def claim(
    context: Context, thing: Homed, place: int, refused: int = 0, receipt: Receipt | None = None
) -> Flow[Home]:
    """Give a key or unique value a home that names a place, and return its home.

    Args:
        place: of the row, see `place_in`. Two places may be in one partition, and in two when there are more.
        refused: the highest epoch that is known to be refused in the partition of `place`; the home gets a later one.
        receipt: notes whether a durable store has the home confirmed, also one that was there; None: it is not.

    Returns:
        A home with this place; or with another one, whose partition holds the row or value.

    Raises:
        TransactionConflictError: every attempt lost to other writers.
    """
    fenced: Home | None = None
    until = not_after(context, thing.at(context))
    for attempt in range(context.policy.attempts):
        home = yield from _claim(context, thing, place, fenced, until, receipt)
        if home is not None and home.place == place and home.epoch > refused:
            return home
        if home is None:
            # Too late: what was fenced may be forgotten by now, so the home is read again.
            fenced, until = None, not_after(context, thing.at(context))
            continue
        if attempt > 1:
            try:
                yield Sleep(context.backoff(attempt))
            except ConnectionFailure:
                raise _lost(thing, attempt + 1) from None  # the deadline leaves no time for another attempt
        until = not_after(context, thing.at(context))
        if not (yield from fence(context, thing, home, receipt)):
            return home
        fenced = home
    raise _lost(thing, context.policy.attempts)


def keep(context: Context, thing: Homed, place: int, receipt: Receipt) -> Flow[None]:
    """Have a home confirmed that a row with this place needs and has. The receipt notes what is missing."""
    until = not_after(context, thing.at(context))
    home = yield from _claim(context, thing, place, None, until, receipt)
    if home is None or home.place != place:
        receipt.unconfirmed = receipt.unconfirmed or "its home names another partition; run: keyweave check"


def keep_beside(context: Context, thing: Homed, place: int, receipt: Receipt) -> Flow[None]:
    """Do what `keep` does at the same time as a plan is applied. Raises nothing: the outcome of the plan must not be lost."""
    try:
        yield from keep(context, thing, place, receipt)
    except (KeyweaveError, PartitionsMovedError) as error:
        receipt.unconfirmed = receipt.unconfirmed or f"its home could not be confirmed: {error}"


def receipt_of(context: Context) -> Receipt | None:
    """Return what notes whether steps on homes are confirmed; None where a store confirms none. More has to follow them in time."""
    return Receipt(_SHARE) if context.durability is not None else None


def _lost(thing: Homed, attempts: int) -> TransactionConflictError:
    return TransactionConflictError(
        f"{thing.entity.row(thing.value)}: its home changed in all {attempts} attempts",
        attempts=attempts,
        key=thing.value,
    )


def _claim(
    context: Context,
    thing: Homed,
    place: int,
    fenced: Home | None,
    until: int,
    receipt: Receipt | None,
) -> Flow[Home | None]:
    """Claim a home, or replace the one that was fenced, and return the home as it is then; None if it is too late for that."""
    at = thing.at(context)
    homes = at.homes(thing.entity.name, thing.unique)
    keys: tuple[Word, ...] = (at.clock, homes)
    arguments: tuple[Word, ...] = (
        thing.value,
        place,
        fenced.stored if fenced is not None else "",
        until,
        int(receipt is not None),
    )
    share = context.share_of(at)
    if share is not None:
        keys, arguments = (*keys, at.schema, at.changed), (*arguments, *share, noted(homes, thing.value))
    reply = yield from ask_script(context, "claim_home", keys, arguments, receipt)
    return _home_in(context, at, reply)


def fence(context: Context, thing: Homed, home: Home, receipt: Receipt | None = None) -> Flow[bool]:
    """Let the partition of a home refuse inserts under its epoch. Returns False, and does nothing, if the row or value is there.

    Args:
        receipt: as for `claim`.
    """
    entity, unique = thing.entity, thing.unique
    there = context.keyspace.holder(entity.group, home.place)
    key = there.claims(entity.name, unique) if unique else there.document(entity.name, thing.value)
    if context.doubling is not None:
        yield from remove_misplaced(context, there, [thing])
    keys: tuple[Word, ...] = (key, there.fence(entity.name, unique, thing.value))
    arguments: tuple[Word, ...] = (
        "value" if unique else "row",
        thing.value if unique else "",
        home.epoch,
        FENCE_LIFE * 1000,
    )
    share = context.share_of(there)
    if share is not None:
        keys, arguments = (*keys, there.clock, there.schema, there.changed), (*arguments, *share)
    reply = yield from ask_script(context, "fence_home", keys, arguments, receipt)
    if type(reply) is list:
        raise outdated(context)
    return bool(reply)


def vacate(context: Context, thing: Homed) -> Flow[bool]:
    """Remove the home of a key or unique value that is gone. Returns False if it is there, or has a new home.

    In a durable store also if the fence was not confirmed: the home stays then, and means nothing.
    """
    for _ in range(context.policy.attempts):
        until = not_after(context, thing.at(context))
        home = yield from find_home(context, thing)
        if home is None:
            return True
        receipt = receipt_of(context)
        if not (yield from fence(context, thing, home, receipt)):
            return False
        if receipt is not None and receipt.unconfirmed is not None:
            return False
        at = thing.at(context)
        homes, share = at.homes(thing.entity.name, thing.unique), context.share_of(at)
        keys: tuple[Word, ...] = (homes,)
        arguments: tuple[Word, ...] = (thing.value, home.stored, until)
        if share is not None:
            keys = (*keys, at.clock, at.schema, at.changed)
            arguments = (*arguments, *share, noted(homes, thing.value))
        reply = yield from ask_script(context, "release_home", keys, arguments)
        if reply[0] == b"GONE" or (reply[0] == b"HOME" and not reply[1]):
            return True
        if reply[0] == b"HOME":
            return False
        _home_in(context, at, reply)
    return False


def leave(context: Context, things: Sequence[Homed]) -> Flow[None]:
    """Remove homes of what is gone, all at the same time. What cannot be removed now means nothing, and is left to the sweep."""
    try:
        yield from together(context, [vacate(context, thing) for thing in things])
    except (KeyweaveError, PartitionsMovedError):
        return  # the row is written already, so this error must not replace its outcome


def _home_in(context: Context, at: Partition, reply: Sequence[Any]) -> Home | None:
    """Return the home in a reply; None for LATE, which reports the server's time."""
    if reply[0] == b"HOME":
        return read_home(reply[1])
    if reply[0] == SPLIT_REPLY:
        raise outdated(context)
    if reply[0] == b"LATE":
        context.clock(at).set(int(reply[1]))
        return None
    raise CorruptDocumentError(
        "the clock of a partition holds something that Keyweave did not write; run: keyweave check"
    )
