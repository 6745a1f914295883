"""Programs: whole calls of repositories on rows in several partitions, and what each says of the registers that it met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from keyweave.effects import Sleep
from keyweave.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    KeyweaveError,
    NotFoundError,
    TransactionConflictError,
    ValidationError,
)
from keyweave.expiry.sweep import sweep
from keyweave.model.entry import ClaimEntry
from keyweave.read.get import find, find_by, get, get_many
from keyweave.read.lock import find_for_update
from keyweave.read.query import view_query
from keyweave.read.query_page import page
from keyweave.repartition.grow import repartition
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.delete_many import delete_many
from keyweave.write.many import create_many, upsert_many
from keyweave.write.save import change, create, save, upsert
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.clients.programs_many import end_row, results_of, settle_each
from tools.simulate.history import ABSENT, ANY, PRESENT, Act
from tools.simulate.partitions.arena import GROUP, kind
from tools.simulate.partitions.menu import MENU


def _item(context: Context, token: str, key: str, owner: str, code: str | None, state: str) -> Any:
    return kind(context, "Item").record(id=key, owner=owner, token=token, code=code, state=state)


def _box(context: Context, token: str, key: str, code: str | None) -> Any:
    return kind(context, "Box").record(id=key, token=token, code=code)


def _part(context: Context, token: str, key: str, box: str) -> Any:
    return kind(context, "Part").record(id=key, token=token, box_id=box)


def _create(actor: Actor, name: str, key: str, record: Any) -> Program:
    actor.act.touch(f"{name}:{key}", ABSENT, actor.token)
    try:
        yield from actor.call(create(actor.context, kind(actor.context, name), record))
    except AlreadyExistsError:
        actor.act.begin_try()
        actor.act.touch(f"{name}:{key}", PRESENT)


def _upsert(actor: Actor, name: str, key: str, record: Any) -> Program:
    actor.act.touch(f"{name}:{key}", ANY, actor.token)
    try:
        yield from actor.call(upsert(actor.context, kind(actor.context, name), record))
    except (AlreadyExistsError, ValidationError):
        # There is a row with another value of the field that decides its partition.
        actor.act.begin_try()
        actor.act.touch(f"{name}:{key}", PRESENT)


def _delete(actor: Actor, name: str, key: str) -> Program:
    actor.act.touch(f"{name}:{key}", ANY, ABSENT)
    deleted = yield from actor.call(discard(actor.context, kind(actor.context, name), key))
    actor.act.begin_try()
    actor.act.touch(f"{name}:{key}", *((PRESENT, ABSENT) if deleted else (ABSENT, ANY)))


def _get(actor: Actor, name: str, key: str) -> Program:
    record = yield from actor.call(find(actor.context, kind(actor.context, name), key))
    actor.act.touch(f"{name}:{key}", record.token if record is not None else ABSENT)


def item_create(actor: Actor, key: str, owner: str, code: str | None, state: str) -> Program:
    """Insert an item."""
    yield from _create(actor, "Item", key, _item(actor.context, actor.token, key, owner, code, state))


def item_upsert(actor: Actor, key: str, owner: str, code: str | None, state: str) -> Program:
    """Insert or replace an item; one of another owner is refused."""
    yield from _upsert(actor, "Item", key, _item(actor.context, actor.token, key, owner, code, state))


def item_change(actor: Actor, key: str, _: str, code: str | None, state: str) -> Program:
    """Read an item and write it by a function that may run again."""

    def function(record: Any) -> None:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", record.token, actor.token)
        record.token, record.code, record.state = actor.token, code, state

    try:
        yield from actor.call(change(actor.context, kind(actor.context, "Item"), key, function))
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", ABSENT)


def item_move(actor: Actor, key: str, owner: str, code: str | None, state: str) -> Program:
    """Read an item and give it an owner; another one than it has is refused."""
    met: list[tuple[str, str]] = []

    def function(record: Any) -> None:
        actor.act.begin_try()
        met.append((record.token, record.owner))
        actor.act.touch(f"Item:{key}", record.token, actor.token)
        record.owner, record.token, record.code, record.state = owner, actor.token, code, state

    try:
        yield from actor.call(change(actor.context, kind(actor.context, "Item"), key, function))
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", ABSENT)
    except ValidationError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", met[-1][0])
        if met[-1][1] == owner:
            actor.act.finding = f"item {key} may not keep its owner {owner}"


def item_save(actor: Actor, key: str, _: str, code: str | None, state: str) -> Program:
    """Read an item, then save it if it is as it was."""
    name = f"Item:{key}"
    try:
        record = yield from actor.call(get(actor.context, kind(actor.context, "Item"), key))
    except NotFoundError:
        actor.act.touch(name, ABSENT)
        return
    seen = record.token
    actor.act.touch(name, seen)
    actor.act.touch(name, seen, actor.token)
    record.token, record.code, record.state = actor.token, code, state
    try:
        yield from actor.call(save(actor.context, kind(actor.context, "Item"), record))
    except NotFoundError:
        actor.act.begin_try()
        actor.act.touch(name, seen)
        actor.act.touch(name, ABSENT)
    except TransactionConflictError:
        raise  # it says nothing of the row: the homes of its values changed in every attempt
    except ConflictError:
        actor.act.begin_try()
        actor.act.touch(name, seen)
        actor.act.touch(name, f"!{seen}")


def item_delete(actor: Actor, key: str) -> Program:
    """Delete an item."""
    yield from _delete(actor, "Item", key)


def item_get(actor: Actor, key: str) -> Program:
    """Read an item."""
    yield from _get(actor, "Item", key)


def item_get_many(actor: Actor, *keys: str) -> Program:
    """Read items, each in the partition that its home names."""
    found = yield from actor.call(get_many(actor.context, kind(actor.context, "Item"), keys))
    for key, record in zip(keys, found, strict=True):
        actor.act.touch(f"Item:{key}", record.token if record is not None else ABSENT)


def item_find_by_code(actor: Actor, code: str) -> Program:
    """Find an item by its unique code."""
    claim = ClaimEntry("code", code, "")
    record = yield from actor.call(find_by(actor.context, kind(actor.context, "Item"), claim))
    if record is not None:
        actor.act.touch(f"Item:{record.id}", record.token)
        if record.code != code:
            actor.act.finding = f"find_by code {code} returned an item with code {record.code}"


def item_list(actor: Actor, state: str, limit: int) -> Program:
    """Page through the items of one state in all partitions."""
    query = view_query(kind(actor.context, "Item"), "by_state", (state,))
    found = yield from actor.call(page(actor.context, query, limit, None))
    wrong = [record.id for record in found.rows if record.state != state]
    keys = [record.id for record in found.rows]
    if wrong or len(set(keys)) < len(keys) or len(keys) > limit:
        actor.act.finding = f"a page of {state} items returned {keys}, of which {wrong} have another state"


def _many(
    actor: Actor, name: str, rows: Sequence[tuple[str, Any]], flow: Callable[..., Program], read: str | None
) -> Program:
    """Write rows in one call; each is an operation of its own."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    records = []
    for part, (key, made) in zip(parts, rows, strict=True):
        part.touch(f"{name}:{key}", read, part.token)
        records.append(made(part.token))
    entity = kind(actor.context, name)
    results = yield from results_of(actor, parts, flow(actor.context, entity, records))
    for part, (key, _), result in zip(parts, rows, results, strict=True):
        _end_row(actor, part, f"{name}:{key}", result)
    yield from settle_each(actor, parts)


def _end_row(actor: Actor, part: Act, register: str, result: Any) -> None:
    met = isinstance(result, AlreadyExistsError) or (
        isinstance(result, ValidationError) and part.kind.endswith("upsert_many")
    )
    if met:
        part.begin_try()
        part.touch(register, PRESENT)
    end_row(actor, part, None if met else result)


def item_create_many(actor: Actor, *rows: tuple[str, str, str | None, str]) -> Program:
    """Insert items into several partitions."""
    made = [(row[0], _maker(actor, _item, row)) for row in rows]
    yield from _many(actor, "Item", made, create_many, ABSENT)


def item_upsert_many(actor: Actor, *rows: tuple[str, str, str | None, str]) -> Program:
    """Insert or replace items in several partitions."""
    made = [(row[0], _maker(actor, _item, row)) for row in rows]
    yield from _many(actor, "Item", made, upsert_many, ANY)


def _maker(actor: Actor, make: Callable[..., Any], row: Sequence[Any]) -> Callable[[str], Any]:
    return lambda token: make(actor.context, token, *row)


def item_delete_many(actor: Actor, *keys: str) -> Program:
    """Delete items in several partitions."""
    yield from _delete_many(actor, "Item", keys)


def _delete_many(actor: Actor, name: str, keys: Sequence[str]) -> Program:
    parts = [actor.begin_part(number) for number, _ in enumerate(keys)]
    for part, key in zip(parts, keys, strict=True):
        part.touch(f"{name}:{key}", ANY, ABSENT)
    results = yield from results_of(actor, parts, delete_many(actor.context, kind(actor.context, name), keys))
    for part, key, result in zip(parts, keys, results, strict=True):
        if not isinstance(result, KeyweaveError):
            part.begin_try()
            part.touch(f"{name}:{key}", *((PRESENT, ABSENT) if result else (ABSENT, ANY)))
        end_row(actor, part, result)
    yield from settle_each(actor, parts)


def item_replace(actor: Actor, key: str, owner: str, code: str | None, state: str) -> Program:
    """Delete an item and insert another under its key, in one transaction; one of another partition is refused."""

    def closure(context: Context) -> Program:
        record = yield from find_for_update(context, kind(context, "Item"), key)
        actor.act.touch(f"Item:{key}", record.token if record is not None else ABSENT, actor.token)
        if record is not None:
            yield from discard(context, kind(context, "Item"), key)
        yield from create(
            context, kind(context, "Item"), _item(context, actor.token, key, owner, code, state)
        )

    try:
        yield from actor.transact(closure)
    except AlreadyExistsError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{key}", PRESENT)


def item_pair(actor: Actor, first: str, second: str, code: str | None) -> Program:
    """Sign an item under its lock, and put another one beside it in its partition, in one transaction."""

    def closure(context: Context) -> Program:
        record = yield from find_for_update(context, kind(context, "Item"), first)
        if record is None:
            return
        actor.act.touch(f"Item:{first}", record.token, actor.token)
        record.token = actor.token
        yield from save(context, kind(context, "Item"), record)
        other = yield from find(context, kind(context, "Item"), second)
        actor.act.touch(f"Item:{second}", other.token if other is not None else ABSENT, actor.token)
        if other is not None:
            other.token = actor.token
            yield from save(context, kind(context, "Item"), other)
        else:
            made = _item(context, actor.token, second, record.owner, code, "open")
            yield from create(context, kind(context, "Item"), made)

    try:
        yield from actor.transact(closure)
    except AlreadyExistsError:
        actor.act.begin_try()
        actor.act.touch(f"Item:{second}", PRESENT)


def box_create(actor: Actor, key: str, code: str | None) -> Program:
    """Insert a box."""
    yield from _create(actor, "Box", key, _box(actor.context, actor.token, key, code))


def box_upsert(actor: Actor, key: str, code: str | None) -> Program:
    """Insert or replace a box."""
    yield from _upsert(actor, "Box", key, _box(actor.context, actor.token, key, code))


def box_delete(actor: Actor, key: str) -> Program:
    """Delete a box with its parts."""
    yield from _delete(actor, "Box", key)


def box_get(actor: Actor, key: str) -> Program:
    """Read a box."""
    yield from _get(actor, "Box", key)


def box_create_many(actor: Actor, *rows: tuple[str, str | None]) -> Program:
    """Insert boxes into several partitions."""
    made = [(row[0], _maker(actor, _box, row)) for row in rows]
    yield from _many(actor, "Box", made, create_many, ABSENT)


def box_delete_many(actor: Actor, *keys: str) -> Program:
    """Delete boxes with their parts in several partitions."""
    yield from _delete_many(actor, "Box", keys)


def part_create(actor: Actor, key: str, box: str) -> Program:
    """Insert a part."""
    record = _part(actor.context, actor.token, key, box)
    try:
        yield from actor.call(create(actor.context, kind(actor.context, "Part"), record))
    except AlreadyExistsError:
        return


def part_upsert(actor: Actor, key: str, box: str) -> Program:
    """Insert or replace a part; one of another box is refused."""
    record = _part(actor.context, actor.token, key, box)
    try:
        yield from actor.call(upsert(actor.context, kind(actor.context, "Part"), record))
    except (AlreadyExistsError, ValidationError):
        return


def part_create_many(actor: Actor, *rows: tuple[str, str]) -> Program:
    """Insert parts into several boxes."""
    parts = [actor.begin_part(number) for number, _ in enumerate(rows)]
    records = [
        _part(actor.context, part.token, key, box) for part, (key, box) in zip(parts, rows, strict=True)
    ]
    entity = kind(actor.context, "Part")
    results = yield from results_of(actor, parts, create_many(actor.context, entity, records))
    for part, result in zip(parts, results, strict=True):
        end_row(actor, part, None if isinstance(result, AlreadyExistsError) else result)
    yield from settle_each(actor, parts)


def part_delete(actor: Actor, key: str) -> Program:
    """Delete a part."""
    yield from actor.call(discard(actor.context, kind(actor.context, "Part"), key))


def _ticket(actor: Actor, key: str, owner: str, code: str, state: str) -> Any:
    record = kind(actor.context, "Ticket").record
    return record(id=key, owner=owner, token=actor.token, code=code, state=state)


def ticket_create(actor: Actor, key: str, owner: str, code: str, state: str) -> Program:
    """Insert a ticket; a closed one ends."""
    record = _ticket(actor, key, owner, code, state)
    try:
        yield from actor.call(create(actor.context, kind(actor.context, "Ticket"), record))
    except AlreadyExistsError:
        return


def ticket_upsert(actor: Actor, key: str, owner: str, code: str, state: str) -> Program:
    """Insert or replace a ticket."""
    record = _ticket(actor, key, owner, code, state)
    try:
        yield from actor.call(upsert(actor.context, kind(actor.context, "Ticket"), record))
    except (AlreadyExistsError, ValidationError):
        return


def ticket_change(actor: Actor, key: str, _: str, code: str, state: str) -> Program:
    """Close a ticket, or open it again."""

    def function(record: Any) -> None:
        record.token, record.code, record.state = actor.token, code, state

    try:
        yield from actor.call(change(actor.context, kind(actor.context, "Ticket"), key, function))
    except NotFoundError:
        return


def ticket_delete(actor: Actor, key: str) -> Program:
    """Delete a ticket."""
    yield from actor.call(discard(actor.context, kind(actor.context, "Ticket"), key))


def ticket_get(actor: Actor, key: str) -> Program:
    """Read a ticket."""
    yield from actor.call(find(actor.context, kind(actor.context, "Ticket"), key))


def ticket_wait(actor: Actor, seconds: float) -> Program:
    """Let time pass, so that rows end."""
    yield from rest(actor, seconds)


def rest(actor: Actor, seconds: float) -> Program:
    """Do nothing for some time."""
    actor.act.paused += int(seconds * 1_000_000)
    yield Sleep(seconds)


def sweep_(actor: Actor, limit: int) -> Program:
    """Remove rows past their deadline, and homes without a row."""
    yield from actor.maintain(sweep(actor.context, limit=limit))


def repartition_(actor: Actor, to: int) -> Program:
    """Double the partitions until there are so many. There may be more already, or another process may have taken over."""
    try:
        yield from repartition(actor.context, GROUP, to, lambda stage: None)
    except ConfigurationError:
        return


def _named(name: str) -> Callable[..., Program]:
    found: Callable[..., Program] = globals()["sweep_" if name == "sweep" else name.replace(".", "_")]
    return found


PROGRAMS: Final[dict[str, Callable[..., Program]]] = {
    **{dish.name: _named(dish.name) for dish in MENU},
    "repartition": repartition_,
}
"""Every program by its name on the menu, and what doubles the partitions."""
