"""Deletes in one trip: of a row whose entries are all in keys that the caller can name, and of a row that was read before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from compozy_store import Role
from compozy_store.entities import USER
from keyweave.effects import Flow, Send
from keyweave.exchange.apply import begin
from keyweave.model.record import memory_of
from keyweave.store.context import Context
from keyweave.write.delete import discard

SCRIPT: Final = Path(__file__).with_name("delete_declared.lua").read_text("utf-8")


def delete_declared(context: Context, key: str, sha: str) -> Flow[bool]:
    """Delete a user of whom this process knows nothing; return whether one trip was enough.

    If it was not, the delete reads the user and the keys again. A finished one would have them in the reply.
    """
    partition = context.partition(USER)
    begun = begin(context, partition)
    keys = (
        partition.clock,
        partition.expiry,
        partition.ledger(begun.ticket.session),
        partition.schema,
        partition.document("User", key),
        partition.view("APIKey", "by_user", (key,)),
        partition.claims("User", "email"),
        partition.view("User", "all", ()),
        *[partition.view("User", "by_role", (role,)) for role in Role],
    )
    ticket = begun.ticket
    words = (ticket.slot, ticket.sequence, begun.until, context.package.writer, key, "email")
    (reply,) = yield Send((("EVALSHA", sha, len(keys), *keys, *words),), None, 1)
    context.state.ledger.answered(ticket)
    if reply[0] == b"OK":
        return True
    if reply[0] != b"READ":
        raise RuntimeError(f"the prototype was answered {reply!r}")
    return not (yield from discard(context, USER, key))


def remember_read(context: Context, name: str, key: str, record: Any) -> None:
    """Remember a row that was read, as if this process had written it. It is decoded when it is first needed."""
    stored = memory_of(record)
    if stored is not None:
        context.state.recent.put(name, key, stored)
