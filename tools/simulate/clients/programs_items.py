"""Programs on registers: rows that are written, read and deleted under few keys, with few unique codes."""

from __future__ import annotations

from typing import Any

from keyweave.errors import AlreadyExistsError, ConflictError, NotFoundError
from keyweave.model.entry import ClaimEntry
from keyweave.read.get import find, find_by, get
from keyweave.read.lock import find_for_update
from keyweave.read.page import page
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.require import require
from keyweave.write.save import change, create, save, upsert
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.clients.arena import kind
from tools.simulate.history import ABSENT, ANY, PRESENT


def _item(actor: Actor, key: str, code: str | None, state: str) -> Any:
    return kind("Item").record(id=key, token=actor.token, code=code, state=state)


def item_create(actor: Actor, key: str, code: str | None, state: str) -> Program:
    """Insert an item."""
    actor.act.touch(f"Item:{key}", ABSENT, actor.token)
    try:
        yield from actor.call(create(actor.context, kind("Item"), _item(actor, key, code, state)))
    except AlreadyExistsError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", PRESENT)


def item_upsert(actor: Actor, key: str, code: str | None, state: str) -> Program:
    """Insert or replace an item."""
    actor.act.touch(f"Item:{key}", ANY, actor.token)
    yield from actor.call(upsert(actor.context, kind("Item"), _item(actor, key, code, state)))


def item_change(actor: Actor, key: str, code: str | None, state: str) -> Program:
    """Read an item and write it by a function that may run again."""

    def function(record: Any) -> None:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", record.token, actor.token)
        record.token, record.code, record.state = actor.token, code, state

    try:
        yield from actor.call(change(actor.context, kind("Item"), key, function))
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", ABSENT)


def item_save(actor: Actor, key: str, code: str | None, state: str) -> Program:
    """Read an item, then save it if it is as it was."""
    name = f"Item:{key}"
    try:
        record = yield from actor.call(get(actor.context, kind("Item"), key))
    except NotFoundError:
        actor.act.touch(name, ABSENT)
        return
    seen = record.token
    actor.act.touch(name, seen)
    actor.act.touch(name, seen, actor.token)
    record.token, record.code, record.state = actor.token, code, state
    try:
        yield from actor.call(save(actor.context, kind("Item"), record))
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(name, seen)
        actor.act.touch(name, ABSENT)
    except ConflictError:
        actor.act.begin_try()
        actor.act.touch(name, seen)
        actor.act.touch(name, f"!{seen}")


def item_delete(actor: Actor, key: str) -> Program:
    """Delete an item."""
    actor.act.touch(f"Item:{key}", ANY, ABSENT)
    deleted = yield from actor.call(discard(actor.context, kind("Item"), key))
    actor.act.begin_try()
    if deleted:
        actor.act.touch(f"Item:{key}", PRESENT, ABSENT)
    else:
        actor.act.touch(f"Item:{key}", ABSENT)


def item_get(actor: Actor, key: str) -> Program:
    """Read an item."""
    record = yield from actor.call(find(actor.context, kind("Item"), key))
    actor.act.touch(f"Item:{key}", record.token if record is not None else ABSENT)


def item_find_by_code(actor: Actor, code: str) -> Program:
    """Find an item by its unique code."""
    record = yield from actor.call(find_by(actor.context, kind("Item"), ClaimEntry("code", code, "")))
    if record is not None and record.code != code:
        actor.act.finding = f"find_by code {code} returned an item with code {record.code}"


def item_list(actor: Actor, state: str) -> Program:
    """List items of one state: entries and documents are read in one step, so they agree."""
    found = yield from actor.call(
        page(actor.context, kind("Item"), "by_state", (state,), limit=10, cursor=None, newest=True)
    )
    wrong = [record.id for record in found.rows if record.state != state]
    keys = [record.id for record in found.rows]
    if wrong or len(set(keys)) < len(keys):
        actor.act.finding = f"a page of {state} items returned {keys}, of which {wrong} have another state"


def item_follow(actor: Actor, other: str, key: str, code: str | None, state: str) -> Program:
    """Insert or replace an item if another one is there."""

    def closure(context: Context) -> Program:
        actor.act.touch(f"Item:{other}", PRESENT)
        actor.act.touch(f"Item:{key}", ANY, actor.token)
        yield from require(context, kind("Item"), other)
        yield from upsert(context, kind("Item"), _item(actor, key, code, state))

    try:
        yield from actor.transact(closure)
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{other}", ABSENT)


def item_replace(actor: Actor, key: str, code: str | None, state: str) -> Program:
    """Delete an item and insert another under its key, in one transaction."""

    def closure(context: Context) -> Program:
        record = yield from find_for_update(context, kind("Item"), key)
        actor.act.touch(f"Item:{key}", record.token if record is not None else ABSENT, actor.token)
        if record is not None:
            yield from discard(context, kind("Item"), key)
        yield from create(context, kind("Item"), _item(actor, key, code, state))

    yield from actor.transact(closure)
