"""Programs on rows that end, and sweeps that remove them."""

from __future__ import annotations

from typing import Any

from keyweave.effects import Sleep
from keyweave.errors import AlreadyExistsError, NotFoundError
from keyweave.expiry.sweep import sweep
from keyweave.read.get import find
from keyweave.write.delete import discard
from keyweave.write.save import change, create, upsert
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.clients.arena import kind


def _ticket(actor: Actor, key: str, code: str, state: str) -> Any:
    return kind("Ticket").record(id=key, token=actor.token, code=code, state=state)


def ticket_create(actor: Actor, key: str, code: str, state: str) -> Program:
    """Insert a ticket; a closed one ends."""
    try:
        yield from actor.call(create(actor.context, kind("Ticket"), _ticket(actor, key, code, state)))
    except AlreadyExistsError:
        return


def ticket_upsert(actor: Actor, key: str, code: str, state: str) -> Program:
    """Insert or replace a ticket."""
    yield from actor.call(upsert(actor.context, kind("Ticket"), _ticket(actor, key, code, state)))


def ticket_change(actor: Actor, key: str, code: str, state: str) -> Program:
    """Close a ticket, or open it again."""

    def function(record: Any) -> None:
        record.token, record.code, record.state = actor.token, code, state

    try:
        yield from actor.call(change(actor.context, kind("Ticket"), key, function))
    except NotFoundError:
        return


def ticket_delete(actor: Actor, key: str) -> Program:
    """Delete a ticket."""
    yield from actor.call(discard(actor.context, kind("Ticket"), key))


def ticket_get(actor: Actor, key: str) -> Program:
    """Read a ticket."""
    yield from actor.call(find(actor.context, kind("Ticket"), key))


def ticket_wait(actor: Actor, seconds: float) -> Program:
    """Let time pass, so that rows end."""
    actor.act.paused += int(seconds * 1_000_000)
    yield Sleep(seconds)


def ticket_meet(actor: Actor, key: str, code: str, state: str) -> Program:
    """Insert a ticket at the next full second, when others do so too, and rows of the last time have ended."""
    seconds = 1 - actor.context.monotonic() % 1
    actor.act.paused += int(seconds * 1_000_000)
    yield Sleep(seconds)
    yield from ticket_create(actor, key, code, state)


def sweep_(actor: Actor, limit: int) -> Program:
    """Remove rows past their deadline."""
    yield from sweep(actor.context, limit=limit)
