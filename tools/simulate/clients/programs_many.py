"""Programs that write many rows in one call. Each row is an operation of its own in the history, with its own token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyweave.changes.unsettled import Unsettled
from keyweave.effects import Sleep
from keyweave.errors import AlreadyExistsError, KeyweaveError, OutcomeUnknownError
from keyweave.write.delete_many import delete_many
from keyweave.write.many import create_many, upsert_many
from keyweave.write.outcome import outcome
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.clients.arena import kind
from tools.simulate.clients.settle import IN_PIECES
from tools.simulate.history import ABSENT, ANY, PRESENT, Act, Settlement

_SETTLES = 0.7
"""How many rows of unknown outcome are settled."""


def item_create_many(actor: Actor, *rows: tuple[str, str | None, str]) -> Program:
    """Insert items."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    for part, (key, _, _) in zip(parts, rows, strict=True):
        part.touch(f"Item:{key}", ABSENT, part.token)
    records = [
        kind("Item").record(id=key, token=part.token, code=code, state=state)
        for part, (key, code, state) in zip(parts, rows, strict=True)
    ]
    results = yield from results_of(actor, parts, create_many(actor.context, kind("Item"), records))
    for part, (key, _, _), result in zip(parts, rows, results, strict=True):
        if isinstance(result, AlreadyExistsError):
            part.begin_try()
            part.touch(f"Item:{key}", PRESENT)
        end_row(actor, part, None if isinstance(result, AlreadyExistsError) else result)
    yield from settle_each(actor, parts)


def item_upsert_many(actor: Actor, *rows: tuple[str, str | None, str]) -> Program:
    """Insert or replace items."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    for part, (key, _, _) in zip(parts, rows, strict=True):
        part.touch(f"Item:{key}", ANY, part.token)
    records = [
        kind("Item").record(id=key, token=part.token, code=code, state=state)
        for part, (key, code, state) in zip(parts, rows, strict=True)
    ]
    results = yield from results_of(actor, parts, upsert_many(actor.context, kind("Item"), records))
    for part, result in zip(parts, results, strict=True):
        end_row(actor, part, result)
    yield from settle_each(actor, parts)


def item_delete_many(actor: Actor, *keys: str) -> Program:
    """Delete items."""
    yield from _delete(actor, "Item", keys)


def box_delete_many(actor: Actor, *keys: str) -> Program:
    """Delete boxes, which parts and seals refer to."""
    yield from _delete(actor, "Box", keys)


def part_create_many(actor: Actor, *rows: tuple[str, str, str | None]) -> Program:
    """Insert parts; a row may refer to one before it."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    records = [
        kind("Part").record(id=key, token=part.token, box_id=box, parent_id=parent)
        for part, (key, box, parent) in zip(parts, rows, strict=True)
    ]
    results = yield from results_of(actor, parts, create_many(actor.context, kind("Part"), records))
    for part, result in zip(parts, results, strict=True):
        end_row(actor, part, result)
    yield from settle_each(actor, parts)


def ticket_create_many(actor: Actor, *rows: tuple[str, str, str]) -> Program:
    """Insert tickets, perhaps in place of some that the server freed."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    records = [
        kind("Ticket").record(id=key, token=part.token, code=code, state=state)
        for part, (key, code, state) in zip(parts, rows, strict=True)
    ]
    results = yield from results_of(actor, parts, create_many(actor.context, kind("Ticket"), records))
    for part, result in zip(parts, results, strict=True):
        end_row(actor, part, None if isinstance(result, AlreadyExistsError) else result)
    yield from settle_each(actor, parts)


def _delete(actor: Actor, name: str, keys: Sequence[str]) -> Program:
    parts = [actor.begin_part(number) for number, _ in enumerate(keys)]
    for part, key in zip(parts, keys, strict=True):
        part.touch(f"{name}:{key}", ANY, ABSENT)
    results = yield from results_of(actor, parts, delete_many(actor.context, kind(name), keys))
    for part, key, result in zip(parts, keys, results, strict=True):
        if not isinstance(result, KeyweaveError):
            part.begin_try()
            part.touch(f"{name}:{key}", *((PRESENT, ABSENT) if result else (ABSENT, ANY)))
        end_row(actor, part, result)
    yield from settle_each(actor, parts)


def results_of(actor: Actor, parts: list[Act], flow: Program) -> Program:
    """Run the call. If it is interrupted, each row may or may not have been written."""
    try:
        results = yield from actor.call(flow)
    except GeneratorExit:
        for part in parts:
            part.outcome = "crashed"
        raise
    except BaseException as error:
        for part in parts:
            part.doubts = actor.act.doubts
            actor.end_part(part, "cancelled", error)
        raise
    actor.act.answered_at = actor.now()
    for part in parts:
        part.doubts = actor.act.doubts
    if len(results) != len(parts):
        actor.act.finding = f"{len(parts)} rows have {len(results)} results"
    return results


def end_row(actor: Actor, part: Act, result: Any) -> None:
    """Record what became of a row."""
    if isinstance(result, KeyweaveError):
        word = "unknown" if isinstance(result, OutcomeUnknownError) else "refused"
        actor.end_part(part, word, result)
        return
    token = getattr(result, "token", part.token)
    if token != part.token:
        actor.act.finding = f"the result of row {part.token} has token {token}"
    actor.end_part(part, "ok", None)


def settle_each(actor: Actor, parts: Sequence[Act]) -> Program:
    """Settle some of the unknown outcomes."""
    for part in parts:
        if isinstance(part.error, OutcomeUnknownError) and actor.context.random.random() < _SETTLES:
            yield from _settle(actor, part, part.error)


def _settle(actor: Actor, part: Act, error: OutcomeUnknownError) -> Program:
    unsettled = error.unsettled
    if not isinstance(unsettled, Unsettled):
        actor.act.finding = f"the error of row {part.token} cannot be settled: {unsettled}"
        return
    ledger = unsettled.plan.partition.ledger(unsettled.ticket.session).encode()
    answer = (ledger, b"%d" % unsettled.ticket.slot, b"%d" % unsettled.ticket.sequence)
    for _ in range(3):
        yield Sleep(actor.context.random.expovariate(1 / 0.1))
        try:
            settled = yield from outcome(actor.context, error)
        except KeyweaveError:
            continue
        part.settled = Settlement(answer, settled.applied)
        if part.kind in IN_PIECES:
            return
        token = getattr(settled.result, "token", part.token)
        if settled.applied and token != part.token:
            actor.act.finding = f"the outcome of row {part.token} has a result with token {token}"
        actor.end_part(part, "ok" if settled.applied else "refused", error)
        return
