"""Repairs a namespace: a check whose drifts are repaired, one row at a time. It may be interrupted and run again.

A key that was set aside leaves entries to rebuild, so rounds are repeated until a round can do nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final

from keyweave.changes.answer import Applied
from keyweave.changes.plan import Plan
from keyweave.effects import Call, Command, Flow
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.by_partition import AT_ONCE, Failures, each_partition
from keyweave.exchange.outdated import refuse_while_moving
from keyweave.expiry.forget import forget
from keyweave.expiry.search import Row
from keyweave.homes.claim import claim
from keyweave.homes.home import Homed, place_in
from keyweave.integrity.check import ignore_progress, locator_for, walk
from keyweave.integrity.drift import Drift, Kind
from keyweave.integrity.inspect_entry import FreedRow
from keyweave.integrity.remedy import Repairs, drift_of, repairable
from keyweave.integrity.repair_row import repair_row
from keyweave.integrity.scan import read_slots
from keyweave.integrity.survey import Observer
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind
from keyweave.model.entity import Entity
from keyweave.store.context import Context
from keyweave.store.ledger import GIVEN_UP, LIFE, is_intact, is_slot

_MARK_LIFE: Final = 60
"""Seconds that a lock without a TTL is given."""

_ROUNDS: Final = 4
_WANTED: Final = {
    KeyKind.VIEW: "zset",
    KeyKind.EXPIRY: "zset",
    KeyKind.CLAIMS: "hash",
    KeyKind.MARK: "string",
    KeyKind.LEDGER: "hash",
    KeyKind.CLOCK: "number",
}


def reindex(
    context: Context,
    repairs: Repairs,
    *,
    entities: Collection[str] | None = None,
    dry_run: bool = False,
    observe: Observer | None = None,
    on_drift: Callable[[list[Drift]], object] | None = None,
    at_once: int = AT_ONCE,
) -> Flow[None]:
    """Repair the namespace, or some entities of it, while other processes may write. Documents never change.

    Args:
        repairs: updated as drift is repaired.
        entities: names of the entities; by default all, and the keys that belong to no entity.
        dry_run: only report what would be done.
        observe: called with the progress.
        on_drift: called with the drifts, a bounded number at a time; later rounds may report a drift again.
        at_once: most partitions of one master that are repaired at the same time.

    Raises:
        ConfigurationError: there is no such entity.
        StoreUnavailableError: the server cannot be used.
    """
    refuse_while_moving(context, "a repair")
    locator = yield from locator_for(context, entities)

    def handle(found: list[Drift]) -> Flow[None]:
        if on_drift is not None:
            yield Call(on_drift, found)
        for drift in found:
            repairs.report.add(drift)
        repairs.left += drift_of(drift for drift in found if not repairable(drift))
        todo = [drift for drift in found if repairable(drift)]
        if dry_run:
            repairs.mended += drift_of(todo)
        else:
            yield from _repair(context, repairs, todo)

    failures = Failures(context)
    for number in range(1 if dry_run else _ROUNDS):
        for counter in (repairs.report.drift, repairs.left, repairs.postponed):
            counter.clear()
        before = repairs.mended.total()
        progress = observe or ignore_progress
        freed = yield from walk(context, locator, repairs.report, progress, handle, failures, at_once)
        if not dry_run:
            forgotten = yield from _forget(context, freed, failures)
            repairs.report.unswept = max(0, repairs.report.unswept - forgotten)
        repairs.forgotten += len(freed) if dry_run else forgotten
        rebuilt = any(drift.kind in (Kind.WRONG_TYPE, Kind.BAD_CLOCK) for drift in repairs.report.drift)
        stuck = number > 0 and repairs.mended.total() == before
        if stuck or failures or not (repairs.postponed or rebuilt):
            break
    failures.raise_first()


def _forget(context: Context, freed: set[FreedRow], failures: Failures) -> Flow[int]:
    """Remove the entries of rows that the native TTL freed, as a sweep does. Returns the number of rows."""
    rows: defaultdict[Partition, list[Row]] = defaultdict(list)
    for partition, name, key in freed:
        rows[partition].append((name, key))
    found = yield from each_partition(
        context,
        list(rows),
        lambda partition: forget(context.at(partition), partition, rows[partition]),
        failures,
    )
    return sum(forgotten for forgotten, _ in found.values())


def _repair(context: Context, repairs: Repairs, drifts: list[Drift]) -> Flow[None]:
    rows: defaultdict[tuple[Partition, str, str], list[Drift]] = defaultdict(list)
    for drift in drifts:
        suspect = drift.suspect
        assert suspect.place.partition is not None
        if drift.kind is Kind.MISSING_HOME:
            _record(repairs, [drift], (yield from _repair_home(context, suspect.place.partition, drift)))
            continue
        if suspect.member is not None:
            name = suspect.place.entity.name if suspect.place.entity is not None else suspect.value
            rows[suspect.place.partition, name, suspect.row].append(drift)
        else:
            done = yield from _repair_key(context, suspect.place.partition, drift)
            _record(repairs, [drift], done)
    for (partition, name, key), about in rows.items():
        entity: Entity[Any] = context.package.entities[name]
        done = yield from repair_row(context, partition, entity, key, about)
        _record(repairs, about, done)


def _repair_home(context: Context, partition: Partition, drift: Drift) -> Flow[bool]:
    """Set the home of a row or unique value, unless the home that it has finds another one."""
    entity, unique = drift.suspect.place.entity, drift.suspect.place.name
    assert entity is not None
    (document,) = yield from ask(context, (("GET", partition.document(entity.name, drift.suspect.row)),))
    try:
        record, _ = context.codec(entity).peek(document or b"")
    except CorruptDocumentError:
        return False  # the row went away, or a check reports its document as well
    place = place_in(entity, record)
    home = yield from claim(context, Homed(entity, unique, drift.value), place)
    return bool(home.place == place)


def _record(repairs: Repairs, drifts: list[Drift], done: bool) -> None:
    if done:
        repairs.mended += drift_of(drifts)
    else:
        repairs.postponed += drift_of(drifts)


def _repair_key(context: Context, partition: Partition, drift: Drift) -> Flow[bool]:
    place = drift.suspect.place
    if drift.kind is Kind.ENDLESS_MARK:
        life = LIFE if place.what is KeyKind.LEDGER else _MARK_LIFE
        (changed,) = yield from ask(context, (("EXPIRE", place.key, life, "NX"),))
        return bool(changed)
    if drift.kind is Kind.BAD_SLOT:
        return (yield from _repair_ledger(context, place.key))
    if drift.kind is Kind.ENDING_KEY:
        (changed,) = yield from ask(context, (("PERSIST", place.key),))
        return bool(changed)
    if drift.kind is Kind.CLOCK_BEHIND:
        plan = Plan(partition, context.state.ledger.new_op())
        plan.advance_clock(int(drift.suspect.value))
        outcome = yield from apply(context, plan, repeatable=True)
        return isinstance(outcome, Applied)
    aside = partition.aside(context.state.ledger.new_op(), place.key)
    moved = yield from ask_script(context, "aside", (place.key, aside), (_WANTED[place.what],))
    return bool(moved == 1)


def _repair_ledger(context: Context, key: str) -> Flow[bool]:
    """Mark damaged slots as given up, and remove fields that are no slots. No client writes into either meanwhile."""
    commands: list[Command] = []
    (slots,) = yield from read_slots(context, (key,))
    for slot, value in slots:
        if not is_slot(slot):
            commands.append(("HDEL", key, slot))
        elif not is_intact(slot, value):
            commands.append(("HSET", key, slot, GIVEN_UP))
    if commands:
        yield from ask(context, (*commands, ("EXPIRE", key, LIFE, "NX")))
    return bool(commands)
