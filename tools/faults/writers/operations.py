"""The operations of writers. Each leaves the act's token in the rows that it writes, and records what it saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tools.faults.writers.desk import ACCOUNTS, BOXES, CODES, COUNTERS, ITEMS, PARTS, Desk
from tools.faults.writers.settle import SETTLE, settle
from tools.faults.writers.steps import Steps

_MOST_CLAIMS: Final = 2
_PARTS_AT_ONCE: Final = 6


def counter_change(desk: Desk) -> Steps:
    """Increment a counter."""
    key = desk.chance.choice(COUNTERS)
    desk.act.places = [f"Counter:{key}"]
    yield desk.store.counters.change(key, lambda record: _count(desk, record))


def counter_pair(desk: Desk) -> Steps:
    """Increment two locked counters in one transaction."""
    first, second = desk.two(COUNTERS)
    desk.act.places = [f"Counter:{first}", f"Counter:{second}"]

    def steps(tx: Any) -> Steps:
        for key in (first, second):
            record = yield tx.counters.get_for_update(key)
            _count(desk, record)
            yield tx.counters.save(record)

    yield desk.transact(steps)


def counter_audit(desk: Desk) -> Steps:
    """Lock one counter, and increment another one only."""
    locked, counted = desk.chance.sample(COUNTERS, 2)
    desk.act.places = [f"Counter:{counted}"]

    def steps(tx: Any) -> Steps:
        yield tx.counters.get_for_update(locked)
        record = yield tx.counters.get(counted)
        _count(desk, record)
        yield tx.counters.save(record)

    yield desk.transact(steps)


def _count(desk: Desk, record: Any) -> None:
    record.tokens.append(desk.act.token)
    record.number += 1


def account_transfer(desk: Desk) -> Steps:
    """Move money between two accounts, guarded by their revisions."""
    giver, taker = desk.chance.sample(ACCOUNTS, 2)
    yield _transfer(desk, giver, taker, "get")


def account_locked_transfer(desk: Desk) -> Steps:
    """Move money between two locked accounts."""
    giver, taker = desk.two(ACCOUNTS)
    yield _transfer(desk, giver, taker, "get_for_update")


def _transfer(desk: Desk, giver: str, taker: str, read: str) -> Any:
    amount = desk.chance.randint(-9, 9)
    desk.act.places = [f"Account:{giver}", f"Account:{taker}"]

    def steps(tx: Any) -> Steps:
        records = []
        for key in (giver, taker):
            records.append((yield getattr(tx.accounts, read)(key)))
        for record, change in zip(records, (-amount, amount), strict=True):
            record.balance += change
            record.tokens.append(desk.act.token)
            yield tx.accounts.save(record)

    return desk.transact(steps)


def item_upsert(desk: Desk) -> Steps:
    """Replace an item, or insert it."""
    key = desk.chance.choice(ITEMS)
    desk.act.saw(f"Item:{key}", [desk.act.token])
    state = desk.chance.choice(("open", "closed"))
    yield desk.store.items.upsert(desk.models.Item(id=key, state=state, tokens=[desk.act.token]))


def item_append(desk: Desk) -> Steps:
    """Append a token to an item."""
    key = desk.chance.choice(ITEMS)

    def append(record: Any) -> None:
        desk.act.seen = []
        record.tokens.append(desk.act.token)
        desk.act.saw(f"Item:{key}", record.tokens)

    yield desk.store.items.change(key, append)


def item_remove(desk: Desk) -> Steps:
    """Read a locked item and delete it."""
    key = desk.chance.choice(ITEMS)

    def steps(tx: Any) -> Steps:
        record = yield tx.items.get_for_update(key)
        desk.act.saw(f"Item:{key}", record.tokens, deleted=True)
        yield tx.items.delete(key)

    yield desk.transact(steps)


def item_read(desk: Desk) -> Steps:
    """Read an item."""
    key = desk.chance.choice(ITEMS)
    record = yield desk.store.items.find(key)
    if record is not None:
        desk.act.saw(f"Item:{key}", record.tokens)


def claim_work(desk: Desk) -> Steps:
    """Make a claim, change the code of one, or delete one."""
    claims, verb = desk.claims, desk.chance.choice(("create", "recode", "delete"))
    if not claims or (verb == "create" and len(claims) < _MOST_CLAIMS):
        yield from _claim_create(desk)
        return
    key = desk.chance.choice(claims)
    desk.act.places = [f"Claim:{key}"]
    if verb == "delete":
        desk.act.kind = "claim.delete"
        yield desk.store.claims.discard(key)
        claims.remove(key)
        return
    desk.act.kind = "claim.recode"
    code = desk.chance.choice(CODES)

    def recode(record: Any) -> None:
        record.code, record.token = code, desk.act.token

    yield desk.store.claims.change(key, recode)


def _claim_create(desk: Desk) -> Steps:
    desk.act.kind, key = "claim.create", desk.act.token
    desk.act.places = [f"Claim:{key}"]
    code = desk.chance.choice(CODES)
    yield desk.store.claims.create(desk.models.Claim(id=key, code=code, token=key))
    desk.claims.append(key)


def ticket_create(desk: Desk) -> Steps:
    """Write a ticket that ends soon."""
    code = desk.chance.choice(CODES)
    yield desk.store.tickets.create(desk.models.Ticket(id=desk.act.token, code=code, state="closed"))


def box_fill(desk: Desk) -> Steps:
    """Put several parts into a box, in one transaction."""
    box = desk.chance.choice(BOXES)
    parts = desk.chance.sample(PARTS, _PARTS_AT_ONCE)

    def steps(tx: Any) -> Steps:
        for part in parts:
            yield tx.parts.upsert(desk.models.Part(id=f"{box}-{part}", box_id=box))

    yield desk.transact(steps)


def box_make(desk: Desk) -> Steps:
    """Make a box."""
    yield desk.store.boxes.upsert(desk.models.Box(id=desk.chance.choice(BOXES)))


def box_delete(desk: Desk) -> Steps:
    """Delete a box with its parts."""
    yield desk.store.boxes.discard(desk.chance.choice(BOXES))


class Operation(NamedTuple):
    """An operation and how often it is chosen."""

    kind: str
    steps: Callable[[Desk], Steps]
    weight: int


OPERATIONS: Final = (
    Operation("counter.change", counter_change, 10),
    Operation("counter.pair", counter_pair, 4),
    Operation("counter.audit", counter_audit, 10),
    Operation("account.transfer", account_transfer, 6),
    Operation("account.locked_transfer", account_locked_transfer, 4),
    Operation("item.upsert", item_upsert, 6),
    Operation("item.append", item_append, 8),
    Operation("item.remove", item_remove, 2),
    Operation("item.read", item_read, 6),
    Operation("claim", claim_work, 16),
    Operation("ticket.create", ticket_create, 4),
    Operation("box.fill", box_fill, 10),
    Operation("box.make", box_make, 3),
    Operation("box.delete", box_delete, 2),
)
"""Everything that writers do."""

NO_WRITES: Final = frozenset({"item.read", SETTLE})
"""Kinds of calls that write nothing."""

_SETTLE: Final = Operation(SETTLE, settle, 0)
_WEIGHTS: Final = tuple(operation.weight for operation in OPERATIONS)
_SHARE: Final = 0.3
"""Of a writer's calls while it has an unknown outcome."""


def draw(desk: Desk) -> Operation:
    """Draw the writer's next operation."""
    if desk.unknown and desk.chance.random() < _SHARE:
        return _SETTLE
    return desk.chance.choices(OPERATIONS, _WEIGHTS)[0]
