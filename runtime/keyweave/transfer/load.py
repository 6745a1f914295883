"""Imports documents with the heads that they had, and every entry derived from them. It may be run again.

Every document of one file carries an op that identifies the file, so a second run recognises the rows of the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from keyweave.changes.answer import Applied, Guard, Outcome, Status, elsewhere
from keyweave.changes.plan import Plan
from keyweave.commit.compose import claims_of
from keyweave.document.head import HEAD, Head, read_head
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError, ReferenceViolationError, TransactionTooLargeError
from keyweave.exchange.apply import apply, begin
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import divided
from keyweave.exchange.by_partition import Failures, each_partition
from keyweave.exchange.deadline import deadline_passed, read_clocks
from keyweave.exchange.outdated import refuse_while_moving
from keyweave.exchange.together import together
from keyweave.expiry.sweep import sweep_row
from keyweave.homes.claim import claim
from keyweave.homes.home import Homed, is_located, not_after, place_in, values_of
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import Entry
from keyweave.partitioned.whereabouts import by_value
from keyweave.store.context import Context
from keyweave.write.settle import clean_up

ROWS: Final = 50
"""The most rows of one plan."""

_TRIES: Final = 16
"""The most tries of one row. Each removes an ended row that has its id or one of its unique values."""


class Row(NamedTuple):
    """A document to import."""

    entity: Entity[Any]
    key: str
    head: Head
    body: bytes
    entries: list[Entry]
    targets: list[tuple[str, Entity[Any], str]]
    """Field, entity and key of each reference that has to lead to a row."""
    partition: Partition
    """Where the row belongs."""
    place: int
    """The same among the most partitions; see `keyweave.homes.home.place_in`."""


@dataclass(slots=True)
class Imported:
    """The number of documents by result.

    Attributes:
        written: documents that were written.
        present: documents that existed already.
        expired: documents whose deadline has passed since the export; not written.
        conflicts: documents whose id, or one of whose unique values, another row has; not written.
        unreadable: documents that this schema cannot read; not written.
        dangling: rows that refer to a row that does not exist; not written. Only of rows from elsewhere.
        too_large: rows whose write does not fit into one command; not written. Only with the option `command_words`.
    """

    written: int = 0
    present: int = 0
    expired: int = 0
    conflicts: int = 0
    unreadable: int = 0
    dangling: int = 0
    too_large: int = 0

    @property
    def complete(self) -> bool:
        """Whether every document that is not expired exists now."""
        return not (self.conflicts or self.unreadable or self.dangling or self.too_large)


def load(
    context: Context,
    lines: Sequence[tuple[str, bytes]],
    op: str,
    imported: Imported,
    *,
    referring: bool = False,
) -> Flow[None]:
    """Import documents: the entity's name and the stored bytes of each.

    On a cluster the partitions are written side by side, and one that cannot be written does not stop the others.

    Args:
        op: identifies the file; the same for all of its documents, in every run.
        imported: updated with the results.
        referring: whether each reference has to lead to a row. An export may have the rows in any order.

    Raises:
        StoreUnavailableError: the server cannot be used. Documents of earlier calls are written.
        CorruptDocumentError: a key does not hold what Keyweave writes; run a check.
    """
    refuse_while_moving(context, "an import")
    yield from read_clocks(context)
    partitions: defaultdict[Partition, list[Row]] = defaultdict(list)
    for name, document in lines:
        entity = context.package.entities[name]
        try:
            row = _row(context, entity, document, referring=referring)
        except CorruptDocumentError:
            imported.unreadable += 1
            continue
        if 0 < row.head.expires <= context.clock(row.partition).now():
            imported.expired += 1
        else:
            partitions[row.partition].append(row)

    def write(partition: Partition) -> Flow[None]:
        there, rows = context.at(partition), partitions[partition]
        for start in range(0, len(rows), ROWS):
            yield from _load_rows(there, partition, rows[start : start + ROWS], op, imported)

    failures = Failures(context)
    yield from each_partition(context, list(partitions), write, failures)
    failures.raise_first()


def _row(context: Context, entity: Entity[Any], document: bytes, *, referring: bool = False) -> Row:
    record, head = context.codec(entity).peek(document)
    match = HEAD.match(document)
    assert match is not None
    key = entity.key_of(record)
    targets = [
        (each.field, context.package.entities[each.target], value)
        for each in (entity.references if referring else ())
        if (value := each.key_in(record)) not in (None, key if each.target == entity.name else None)
    ]
    partition = by_value(context, entity, getattr(record, entity.partition_by))
    return Row(
        entity,
        key,
        head,
        document[match.end() :],
        entity.entries(record),
        targets,
        partition,
        place_in(entity, record),
    )


def _load_rows(
    context: Context, partition: Partition, rows: list[Row], op: str, imported: Imported
) -> Flow[None]:
    """Import rows in one plan; if a guard refuses it, one row at a time."""
    keys = {(row.entity.name, row.key) for row in rows}
    if len(keys) == len(rows):
        plan = Plan(partition, op)
        for row in rows:
            _add(plan, row, keys)
        try:
            outcome = yield from _apply(context, plan, [_arriving(row) for row in rows])
        except TransactionTooLargeError as error:
            if len(rows) > 1:
                for part in divided(rows, error):
                    yield from _load_rows(context, partition, part, op, imported)
                return
        else:
            if isinstance(outcome, Applied):
                imported.written += len(rows)
                return
    for row in rows:
        try:
            yield from _load_row(context, partition, row, op, imported)
        except TransactionTooLargeError:
            imported.too_large += 1


def _add(plan: Plan, row: Row, keys: Set[tuple[str, str]] = frozenset()) -> None:
    """Add a row to a plan that also writes the rows with these keys."""
    plan.guard_absent(row.entity, row.key)
    for field, target, key in row.targets:
        if (target.name, key) not in keys:
            plan.guard_exists(target, key, row.entity, row.key, field)
    for each in claims_of(row.entries):
        plan.guard_free(row.entity, each)
    plan.restore(
        row.entity,
        row.key,
        (row.head.revision, row.head.created, row.head.expires),
        row.body,
        [],
        row.entries,
    )


def _load_row(context: Context, partition: Partition, row: Row, op: str, imported: Imported) -> Flow[None]:
    for _ in range(_TRIES):
        (document,) = yield from ask(context, (("GET", partition.document(row.entity.name, row.key)),))
        if document is not None:
            stored = read_head(document)
            if stored is None:
                break
            if stored.revision == row.head.revision or (
                stored.op == op and stored.revision > row.head.revision
            ):
                imported.present += 1
                return
            if stored.expires and (yield from deadline_passed(context, partition, stored.expires)):
                yield from sweep_row(context, row.entity, row.key)
                continue
            if stored.op != op:
                break
            # The file has this row twice, because it changed during the export: the higher revision wins.
            outcome = yield from _replace(context, partition, row, document, stored, op)
        else:
            plan = Plan(partition, op)
            _add(plan, row)
            outcome = yield from _apply(context, plan, [_arriving(row)])
        if isinstance(outcome, Applied):
            imported.written += 1
            return
        if outcome.status is Status.NO_TARGET:
            imported.dangling += 1
            return
        if outcome.status in (Status.FENCED, Status.LATE):
            continue
        if outcome.status in (Status.TAKEN, Status.FREED, Status.DEAD) or outcome.place is not None:
            try:
                removed = yield from clean_up(context, claims_of(row.entries), outcome)
            except ReferenceViolationError:
                removed = False
            if not removed:
                break
    imported.conflicts += 1


def _replace(
    context: Context, partition: Partition, row: Row, document: bytes, stored: Head, op: str
) -> Flow[Any]:
    old = _row(context, row.entity, document).entries
    plan = Plan(partition, op)
    plan.guard_unchanged(row.entity, row.key, stored.revision)
    for each in claims_of(row.entries):
        if each not in old:
            plan.guard_free(row.entity, each)
    head = (row.head.revision, row.head.created, row.head.expires)
    plan.restore(row.entity, row.key, head, row.body, old, row.entries)
    new = [each for each in values_of(row.entity, row.entries) if each not in values_of(row.entity, old)]
    return (yield from _apply(context, plan, [(row, new)]))


def _arriving(row: Row) -> tuple[Row, list[Homed]]:
    """Return a row, and what needs a home before it is written."""
    own = [] if is_located(row.entity) else [Homed(row.entity, "", row.key)]
    return row, [*own, *values_of(row.entity, row.entries)]


def _apply(context: Context, plan: Plan, arriving: list[tuple[Row, list[Homed]]]) -> Flow[Outcome]:
    """Apply a plan; where a group has several partitions, under the homes of what it writes."""
    if not context.homing:
        return (yield from apply(context, plan, repeatable=True))
    partition = plan.partition
    until = not_after(context, partition)
    things = [(thing, row) for row, each in arriving for thing in each]
    homes = yield from together(context, [claim(context, thing, row.place) for thing, row in things])
    for (thing, row), home in zip(things, homes, strict=True):
        if home.place != row.place:
            guard = Guard("home", thing.entity, row.key, thing.unique)
            return elsewhere(guard, home.place, thing.value)
        plan.guard_unfenced(thing.entity, thing.unique, thing.value, home.epoch, row.key)
    begun = begin(context, partition)
    if things:
        begun.until = until
    return (yield from apply(context, plan, repeatable=True, begun=begun))
