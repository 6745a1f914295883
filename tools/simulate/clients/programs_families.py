"""Programs on families: boxes with parts that go with them, and seals that forbid it."""

from __future__ import annotations

from keyweave.errors import AlreadyExistsError, NotFoundError
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.save import change, create, upsert
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.clients.arena import kind
from tools.simulate.history import ABSENT, ANY, PRESENT


def box_upsert(actor: Actor, key: str) -> Program:
    """Insert or replace a box."""
    actor.act.touch(f"Box:{key}", ANY, actor.token)
    yield from actor.call(upsert(actor.context, kind("Box"), kind("Box").record(id=key, token=actor.token)))


def box_furnish(actor: Actor, key: str, *parts: str) -> Program:
    """Insert or replace a box with parts, so that this process knows the family of a new one."""

    def closure(context: Context) -> Program:
        actor.act.touch(f"Box:{key}", ANY, actor.token)
        yield from upsert(context, kind("Box"), kind("Box").record(id=key, token=actor.token))
        for part in parts:
            record = kind("Part").record(id=part, token=actor.token, box_id=key, parent_id=None)
            yield from upsert(context, kind("Part"), record)

    yield from actor.transact(closure)


def box_delete(actor: Actor, key: str) -> Program:
    """Delete a box with its parts."""
    actor.act.touch(f"Box:{key}", ANY, ABSENT)
    deleted = yield from actor.call(discard(actor.context, kind("Box"), key))
    _deleted(actor, key, deleted)


def box_delete_in_transaction(actor: Actor, key: str) -> Program:
    """Delete a box with its parts, in a transaction."""

    def closure(context: Context) -> Program:
        actor.act.touch(f"Box:{key}", ANY, ABSENT)
        return (yield from discard(context, kind("Box"), key))

    deleted = yield from actor.transact(closure)
    actor.act.begin_try()
    # A transaction that writes nothing guards nothing, so the absence that it saw is one of some moment.
    actor.act.touch(f"Box:{key}", *((PRESENT, ABSENT) if deleted else (ABSENT, ANY)))


def _deleted(actor: Actor, key: str, deleted: bool) -> None:
    actor.act.begin_try()
    actor.act.touch(f"Box:{key}", *((PRESENT, ABSENT) if deleted else (ABSENT, ANY)))


def part_create(actor: Actor, key: str, box: str, parent: str | None) -> Program:
    """Insert a part."""
    record = kind("Part").record(id=key, token=actor.token, box_id=box, parent_id=parent)
    try:
        yield from actor.call(create(actor.context, kind("Part"), record))
    except AlreadyExistsError:
        return


def part_move(actor: Actor, key: str, box: str, parent: str | None) -> Program:
    """Move a part to another box, or below another part."""

    def function(record: object) -> None:
        vars_of = {"token": actor.token, "box_id": box, "parent_id": None if parent == key else parent}
        for name, value in vars_of.items():
            setattr(record, name, value)

    try:
        yield from actor.call(change(actor.context, kind("Part"), key, function))
    except NotFoundError:
        return


def part_delete(actor: Actor, key: str) -> Program:
    """Delete a part with those below it."""
    yield from actor.call(discard(actor.context, kind("Part"), key))


def seal_create(actor: Actor, key: str, box: str) -> Program:
    """Seal a box."""
    record = kind("Seal").record(id=key, token=actor.token, box_id=box)
    try:
        yield from actor.call(create(actor.context, kind("Seal"), record))
    except AlreadyExistsError:
        return


def seal_delete(actor: Actor, key: str) -> Program:
    """Take a seal off."""
    yield from actor.call(discard(actor.context, kind("Seal"), key))
