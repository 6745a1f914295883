"""Repairs one row: applies everything that was found about it in one plan, guarded by its revision. Documents never change.

What does not fit into one command is applied in several plans, which do not depend on each other.
"""

from __future__ import annotations

from typing import Any, Final

from keyweave.changes.answer import Applied
from keyweave.changes.plan import Plan
from keyweave.effects import Command, Flow, ServerError
from keyweave.errors import CorruptDocumentError, TransactionTooLargeError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import divided
from keyweave.integrity.drift import Drift, Kind
from keyweave.integrity.inspect_row import Seen, is_dead, read_row
from keyweave.integrity.scan import WRONGTYPE
from keyweave.integrity.survey import score_of
from keyweave.keyspace.keys import Partition, split
from keyweave.keyspace.parse import word
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, Entry, ViewEntry
from keyweave.store.context import Context

DEADLINES: Final = frozenset(
    {
        Kind.MISSING_DEADLINE,
        Kind.STALE_DEADLINE,
        Kind.UNDUE_DEADLINE,
        Kind.WRONG_DEADLINE,
        Kind.MISSING_TTL,
        Kind.UNDUE_TTL,
        Kind.WRONG_TTL,
    }
)


class _Blocked(Exception):
    """The drift is no longer true, or cannot be repaired now."""


class _RepairPlan(Plan):
    """A plan that may be applied twice, and whose keys and members may be bytes that are not valid text."""

    __slots__ = ()

    def command(self, sha_or_text: str, verb: str, **options: Any) -> Command:
        words = super().command(sha_or_text, verb, **options)
        return tuple(word(each) if isinstance(each, str) else each for each in words)


def repair_row(
    context: Context, partition: Partition, entity: Entity[Any], key: str, drifts: list[Drift]
) -> Flow[bool]:
    """Repair what was found about one row. Returns False if a document is unreadable or has changed since."""
    document, deadline = yield from ask(
        context,
        (
            ("GET", word(partition.document(entity.name, key))),
            ("ZSCORE", partition.expiry, word(partition.expiring(entity.name, key))),
        ),
        tolerated=WRONGTYPE,
    )
    seen = read_row(context, entity, document)
    if (seen is None and document is not None) or isinstance(deadline, ServerError):
        return False
    plan = _RepairPlan(partition, context.state.ledger.new_op())
    if seen is None:
        plan.guard_gone(entity, key, deadline)
    else:
        plan.guard_unchanged(entity, key, seen.head.revision)
    old: list[Entry] = []
    new: list[Entry] = []
    try:
        for drift in drifts:
            if drift.kind is Kind.WRONG_OWNER:
                yield from _guard_other(context, plan, entity, drift)
            _add_repair(plan, partition, entity, seen, drift, old, new)
        plan.change_entries(entity, old, new)
        if any(drift.kind in DEADLINES for drift in drifts):
            plan.follow_deadline(entity, key)
        outcome = yield from apply(context, plan, repeatable=True)
    except (_Blocked, CorruptDocumentError):
        return False
    except TransactionTooLargeError as error:
        if len(drifts) == 1:
            return False
        done = True
        for part in divided(drifts, error):
            done = (yield from repair_row(context, partition, entity, key, part)) and done
        return done
    return isinstance(outcome, Applied)


def _add_repair(
    plan: Plan,
    partition: Partition,
    entity: Entity[Any],
    seen: Seen | None,
    drift: Drift,
    old: list[Entry],
    new: list[Entry],
) -> None:
    kind, place = drift.kind, drift.suspect.place
    if kind in (Kind.MISSING_ENTRY, Kind.WRONG_SCORE):
        new.append(_implied_view(partition, entity, seen, drift))
    elif kind in (Kind.STALE_ENTRY, Kind.WRONG_VALUE):
        values = split(place.rest) if entity.views[place.name].selecting else ()
        assert values is not None
        entry = ViewEntry(place.name, values, drift.suspect.value or drift.suspect.row, 0)
        if seen is not None and _held(seen, entry):
            raise _Blocked
        old.append(entry)
    elif kind in (Kind.STALE_CLAIM, Kind.UNDUE_CLAIM):
        claim = ClaimEntry(place.name, drift.value, drift.suspect.row)
        if seen is not None and claim in seen.entries:
            raise _Blocked
        old.append(claim)
    elif kind in (Kind.MISSING_CLAIM, Kind.WRONG_OWNER):
        claim = ClaimEntry(drift.where.partition(".")[2], drift.value, drift.suspect.row)
        if seen is None or claim not in seen.entries:
            raise _Blocked
        if kind is Kind.MISSING_CLAIM:
            plan.guard_free(entity, claim)
        else:
            old.append(ClaimEntry(claim.unique, claim.value, drift.other))
        new.append(claim)


def _implied_view(partition: Partition, entity: Entity[Any], seen: Seen | None, drift: Drift) -> ViewEntry:
    for entry in () if seen is None else seen.entries:
        if isinstance(entry, ViewEntry):
            if partition.view(entity.name, entry.view, entry.values) == drift.place:
                assert seen is not None
                return ViewEntry(entry.view, entry.values, entry.member, score_of(entry, seen.head))
    raise _Blocked


def _held(seen: Seen, entry: ViewEntry) -> bool:
    return any(
        isinstance(each, ViewEntry)
        and (each.view, each.values, each.member) == (entry.view, entry.values, entry.member)
        for each in seen.entries
    )


def _guard_other(context: Context, plan: Plan, entity: Entity[Any], drift: Drift) -> Flow[None]:
    """Guard that the row which holds a claim is past its deadline or does not have the value, now and in the plan."""
    unique = drift.where.partition(".")[2]
    (document,) = yield from ask(
        context, (("GET", word(plan.partition.document(entity.name, drift.other))),), tolerated=WRONGTYPE
    )
    seen = read_row(context, entity, document)
    if seen is None and document is not None:
        raise _Blocked
    if seen is None:
        plan.guard_missing(entity, drift.other)
    elif ClaimEntry(unique, drift.value, drift.other) in seen.entries:
        if not is_dead(context, plan.partition, seen):
            raise _Blocked
        plan.guard_dead(entity, drift.other, seen.head.revision)
    else:
        plan.guard_unchanged(entity, drift.other, seen.head.revision)
    plan.guard_holds(entity, unique, drift.value, drift.other)
