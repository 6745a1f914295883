"""Programs on rows that add up: counters with the tokens of those that counted, and accounts with a constant total."""

from __future__ import annotations

import importlib
from typing import Any

from keyweave.effects import Sleep
from keyweave.read.get import get
from keyweave.read.lock import find_for_update, get_for_update
from keyweave.store.context import Context
from keyweave.write.merge import merge
from keyweave.write.save import change, save, upsert
from tools.simulate.clients.actor import Aborted, Actor, Program
from tools.simulate.clients.arena import kind
from tools.simulate.history import ABSENT, Listed


def _append(actor: Actor, record: Any) -> None:
    actor.act.lists.append(Listed(record.id, tuple(record.tokens), appended=True))
    record.tokens.append(actor.token)
    record.number += 1


def counter_change(actor: Actor, key: str) -> Program:
    """Count once."""

    def function(record: Any) -> None:
        actor.act.begin_try()
        _append(actor, record)

    yield from actor.call(change(actor.context, kind("Counter"), key, function))


def counter_raise(actor: Actor, key: str) -> Program:
    """Count once, and raise: nothing of it may be written, also if others count at the same time."""

    def function(record: Any) -> None:
        actor.act.begin_try()
        _append(actor, record)
        raise Aborted

    yield from actor.call(change(actor.context, kind("Counter"), key, function))


def counter_rest(actor: Actor, key: str, less: float) -> Program:
    """Count once, so shortly before the server drops this client's ledger that a retry may come behind it."""
    seconds = max(0.0, actor.ledger_ends() - less)
    actor.act.paused += int(seconds * 1_000_000)
    yield Sleep(seconds)
    yield from counter_change(actor, key)


def counter_get(actor: Actor, key: str) -> Program:
    """Read a counter."""
    record = yield from actor.call(get(actor.context, kind("Counter"), key))
    actor.act.lists.append(Listed(key, tuple(record.tokens), appended=False))
    if record.number != len(record.tokens):
        actor.act.finding = f"counter {key} is {record.number} and has {len(record.tokens)} tokens"


def counter_merge(actor: Actor, key: str) -> Program:
    """Merge one mark under this operation's token."""
    models = importlib.import_module("arena_store.models")
    rule = importlib.import_module("arena_store.entities.counter").COUNTER_MARKS
    yield from actor.call(
        merge(actor.context, kind("Counter"), key, rule, [models.Mark(name=actor.token, number=1)])
    )


def counter_pair(actor: Actor, first: str, second: str, _number: int) -> Program:
    """Count in two counters, in one transaction that locks both."""

    def closure(context: Context) -> Program:
        for key in (first, second):
            record = yield from get_for_update(context, kind("Counter"), key)
            _append(actor, record)
            yield from save(context, kind("Counter"), record)

    yield from actor.transact(closure)


def counter_audit(actor: Actor, first: str, second: str, _number: int) -> Program:
    """Lock one counter, and count in another: what is only locked must not have changed either."""

    def closure(context: Context) -> Program:
        seen = yield from get_for_update(context, kind("Counter"), first)
        actor.act.lists.append(Listed(first, tuple(seen.tokens), appended=False))
        record = yield from get(context, kind("Counter"), second)
        _append(actor, record)
        yield from save(context, kind("Counter"), record)

    yield from actor.transact(closure)


def counter_abort(actor: Actor, first: str, second: str, _number: int) -> Program:
    """Count in two counters, and discard it."""

    def closure(context: Context) -> Program:
        for key in (first, second):
            record = yield from get_for_update(context, kind("Counter"), key)
            _append(actor, record)
            yield from save(context, kind("Counter"), record)
        raise Aborted

    yield from actor.transact(closure)


def account_transfer(actor: Actor, source: str, target: str, amount: int) -> Program:
    """Move money, guarded by revisions alone."""

    def closure(context: Context) -> Program:
        giver = yield from get(context, kind("Account"), source)
        taker = yield from get(context, kind("Account"), target)
        yield from _move(actor, context, giver, taker, amount)

    yield from actor.transact(closure)


def account_locked_transfer(actor: Actor, source: str, target: str, amount: int) -> Program:
    """Move money under locks, which are taken in the order of keys."""

    def closure(context: Context) -> Program:
        found: dict[str, Any] = {}
        for key in sorted((source, target)):
            found[key] = yield from get_for_update(context, kind("Account"), key)
        yield from _move(actor, context, found[source], found[target], amount)

    yield from actor.transact(closure)


def _move(actor: Actor, context: Context, giver: Any, taker: Any, amount: int) -> Program:
    giver.balance -= amount
    taker.balance += amount
    for record in (giver, taker):
        record.tokens.append(actor.token)
        yield from save(context, kind("Account"), record)


def account_buy(actor: Actor, key: str, item: str, code: str | None, state: str) -> Program:
    """Sign an account and write an item, in one transaction."""

    def closure(context: Context) -> Program:
        account = yield from get_for_update(context, kind("Account"), key)
        account.tokens.append(actor.token)
        yield from save(context, kind("Account"), account)
        seen = yield from find_for_update(context, kind("Item"), item)
        actor.act.touch(f"Item:{item}", seen.token if seen is not None else ABSENT, actor.token)
        record = kind("Item").record(id=item, token=actor.token, code=code, state=state)
        yield from upsert(context, kind("Item"), record)

    yield from actor.transact(closure)
