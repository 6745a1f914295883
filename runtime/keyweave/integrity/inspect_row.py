"""Inspects rows: the document and everything that it implies, in one atomic read.

A row is read once to know where its entries belong, and again together with its entries. If the second document implies
other entries than the first, another process wrote in between, and the row is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from keyweave.document.head import Head
from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import micros_of
from keyweave.integrity.drift import Drift, Kind, Suspect
from keyweave.integrity.scan import WRONGTYPE
from keyweave.integrity.survey import MOVED_TTL, entries_of, fits, score_of
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import text, word
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, Entry, ViewEntry
from keyweave.store.context import Context

_TRIES: Final = 8

_FIRST_DEADLINE: Final = 10**15
"""A deadline has sixteen digits; Keyweave never writes an earlier one."""


class Seen(NamedTuple):
    """A readable document."""

    record: Any
    head: Head
    entries: list[Entry]


def read_row(context: Context, entity: Entity[Any], document: Reply) -> Seen | None:
    """Return the row in a reply to GET; None for no document, a key of another type, or an unreadable document."""
    if not isinstance(document, bytes):
        return None
    try:
        record, head = context.codec(entity).peek(document)
    except CorruptDocumentError:
        return None
    return Seen(record, head, entries_of(context, entity, record))


def inspect_rows(context: Context, rows: Sequence[Suspect]) -> Flow[list[Drift]]:
    """Return everything that is wrong with rows, each as of one moment.

    A row that other processes change during every try is left out.
    """
    replies = yield from ask(context, tuple(("GET", row.place.key) for row in rows), tolerated=WRONGTYPE)
    waiting = [
        (row, read_row(context, entity_of(row), reply)) for row, reply in zip(rows, replies, strict=True)
    ]
    found: list[Drift] = []
    for _ in range(_TRIES):
        if not waiting:
            break
        commands: list[Command] = []
        ends: list[int] = []
        for row, seen in waiting:
            commands += _reading(row, seen)
            ends.append(len(commands) - 1)
        replies = yield from ask(context, tuple(commands))
        again = []
        for (row, seen), end in zip(waiting, ends, strict=True):
            fresh = read_row(context, entity_of(row), replies[end][0])
            if _implied(fresh) == _implied(seen):
                found += _judge(context, row, fresh, replies[end])
            else:
                again.append((row, fresh))
        waiting = again
    found = yield from _classify_owners(context, found)
    return (yield from _without_freed_targets(context, found))


def _implied(seen: Seen | None) -> list[Any] | None:
    """Return the claims and the places of view entries that a row implies, without scores."""
    if seen is None:
        return None
    return [
        (entry.view, entry.values, entry.member) if isinstance(entry, ViewEntry) else entry
        for entry in seen.entries
    ]


def _reading(row: Suspect, seen: Seen | None) -> list[Command]:
    entity, partition = entity_of(row), partition_of(row)
    commands: list[Command] = [
        ("MULTI",),
        ("GET", row.place.key),
        ("PEXPIRETIME", row.place.key),
        ("ZSCORE", partition.expiry, partition.expiring(entity.name, row.row)),
        ("TYPE", row.place.key),
        ("TIME",),
    ]
    if seen is not None:
        for target in _targets(entity, partition, seen.record).values():
            commands.append(("EXISTS", target))
        for entry in seen.entries:
            if isinstance(entry, ViewEntry):
                commands.append(
                    ("ZSCORE", partition.view(entity.name, entry.view, entry.values), entry.member)
                )
            else:
                commands.append(("HGET", partition.claims(entity.name, entry.unique), entry.value))
    return [*commands, ("EXEC",)]


def _targets(entity: Entity[Any], partition: Partition, record: Any) -> dict[str, str]:
    """Return the key of the document that each reference needs, by field."""
    return {
        reference.field: partition.document(reference.target, value)
        for reference in entity.references
        if (value := reference.key_in(record)) is not None
    }


def _judge(context: Context, row: Suspect, seen: Seen | None, replies: list[Reply]) -> list[Drift]:
    entity, key = entity_of(row), row.place.key
    document, ends, deadline, kind, (seconds, micros), *answers = replies
    if seen is None:
        if isinstance(document, ServerError):
            return [Drift(Kind.WRONG_TYPE, entity.name, row, key)]
        return [] if document is None else [Drift(Kind.UNREADABLE_DOCUMENT, entity.name, row, key)]
    if kind == b"none":
        return []  # the key expired within this transaction
    if entity.key_of(seen.record) != row.row:
        return [Drift(Kind.WRONG_KEY, entity.name, row, key)]
    now = int(seconds) * 1_000_000 + int(micros)
    context.clock(partition_of(row)).set(now)
    targets = _targets(entity, partition_of(row), seen.record)
    dead = 0 < seen.head.expires <= now
    found = _judge_deadline(context, row, seen.head, ends, deadline)
    for field, answer in zip(targets, answers, strict=False):
        if answer == 0 and not dead:
            found.append(Drift(Kind.DANGLING_REFERENCE, f"{entity.name}.{field}", row, targets[field]))
    for entry, answer in zip(seen.entries, answers[len(targets) :], strict=True):
        drift = _judge_entry(row, entry, seen.head, answer)
        # A row past its deadline has no right to a unique value, and another row may hold it.
        if drift is not None and not (dead and isinstance(entry, ClaimEntry)):
            found.append(drift)
    return found


def _judge_deadline(context: Context, row: Suspect, head: Head, ends: int, deadline: Reply) -> list[Drift]:
    entity, expiry = entity_of(row), partition_of(row).expiry
    kinds: list[tuple[Kind, str]] = []
    # An expiry set of the wrong type is a drift of its own, and counts as empty here.
    score = None if deadline is None or isinstance(deadline, ServerError) else float(deadline)
    if head.expires == 0 and score is not None:
        kinds.append((Kind.UNDUE_DEADLINE, expiry))
    elif head.expires and score is None:
        kinds.append((Kind.MISSING_DEADLINE, expiry))
    elif head.expires and score != head.expires:
        kinds.append((Kind.WRONG_DEADLINE, expiry))
    if not fits(context, partition_of(row), head, ends):
        kind = Kind.UNDUE_TTL if head.expires == 0 else Kind.MISSING_TTL if ends == -1 else Kind.WRONG_TTL
        kinds.append((kind, row.place.key))
    return [Drift(kind, entity.name, row, place) for kind, place in kinds]


def _judge_entry(row: Suspect, entry: Entry, head: Head, answer: Reply) -> Drift | None:
    entity, partition = entity_of(row), partition_of(row)
    if isinstance(answer, ServerError):
        answer = None  # a key of the wrong type is a drift of its own
    if isinstance(entry, ViewEntry):
        place, where = partition.view(entity.name, entry.view, entry.values), f"{entity.name}.{entry.view}"
        if answer is None:
            return Drift(Kind.MISSING_ENTRY, where, row, place)
        return None if float(answer) == score_of(entry, head) else Drift(Kind.WRONG_SCORE, where, row, place)
    place, where = partition.claims(entity.name, entry.unique), f"{entity.name}.{entry.unique}"
    if answer is None:
        return Drift(Kind.MISSING_CLAIM, where, row, place, entry.value)
    owner = text(answer)
    if owner == entry.owner:
        return None
    return Drift(Kind.WRONG_OWNER, where, row, place, entry.value, owner)


def _classify_owners(context: Context, found: list[Drift]) -> Flow[list[Drift]]:
    """Refine drifts of a wrong owner: the other row may be unreadable, or may be live and have the same value."""
    doubtful = [drift for drift in found if drift.kind is Kind.WRONG_OWNER]
    if not doubtful:
        return found
    commands = [
        ("GET", word(partition_of(each.suspect).document(entity_of(each.suspect).name, each.other)))
        for each in doubtful
    ]
    replies = yield from ask(context, tuple(commands), tolerated=WRONGTYPE)
    kinds = {}
    for drift, reply in zip(doubtful, replies, strict=True):
        entity = entity_of(drift.suspect)
        seen = read_row(context, entity, reply)
        claim = ClaimEntry(drift.where.partition(".")[2], drift.value, drift.other)
        if seen is None and reply is not None:
            kinds[drift.identity] = Kind.UNCLEAR_OWNER
        elif (
            seen is not None
            and claim in seen.entries
            and not is_dead(context, partition_of(drift.suspect), seen)
        ):
            kinds[drift.identity] = Kind.DUPLICATE_VALUE
    return [drift._replace(kind=kinds.get(drift.identity, drift.kind)) for drift in found]


def _without_freed_targets(context: Context, found: list[Drift]) -> Flow[list[Drift]]:
    """Leave out references to rows that the native TTL freed: a sweep removes the referring rows."""
    dangling = [drift for drift in found if drift.kind is Kind.DANGLING_REFERENCE]
    if not dangling:
        return found
    commands: list[Command] = [("TIME",)]
    for drift in dangling:
        partition = partition_of(drift.suspect)
        commands.append(("ZSCORE", partition.expiry, word(drift.place.removeprefix(partition.tag))))
    time, *deadlines = yield from ask(context, tuple(commands), tolerated=WRONGTYPE)
    now = micros_of(time)
    waiting = {
        drift.identity
        for drift, deadline in zip(dangling, deadlines, strict=True)
        if was_freed(context, deadline, now)
    }
    return [drift for drift in found if drift.identity not in waiting]


def was_freed(context: Context, deadline: Reply, now: int) -> bool:
    """Return whether the native TTL of a row with this entry in the expiry set has passed."""
    if not isinstance(deadline, bytes) or float(deadline) < _FIRST_DEADLINE:
        return False
    early = MOVED_TTL if context.clustered else 0
    return int(float(deadline)) // 1000 + context.policy.grace_ms - early <= now // 1000


def is_dead(context: Context, partition: Partition, seen: Seen) -> bool:
    """Return whether a row is past its deadline, by the time that the server reported last."""
    return 0 < seen.head.expires <= context.clock(partition).now()


def partition_of(suspect: Suspect) -> Partition:
    """Return the partition of a suspect."""
    assert suspect.place.partition is not None
    return suspect.place.partition


def entity_of(suspect: Suspect) -> Entity[Any]:
    """Return the entity of a row, or of an entry that is not in the expiry set."""
    assert suspect.place.entity is not None
    return suspect.place.entity
