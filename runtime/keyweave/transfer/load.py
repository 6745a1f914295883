"""Imports documents with the heads that they had, and every entry derived from them. It may be run again.

Every document of one file carries an op that identifies the file, so a second run recognises the rows of the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from keyweave.changes.answer import Applied, Status
from keyweave.changes.plan import Plan
from keyweave.commit.commit import claims_of
from keyweave.document.head import HEAD, Head, read_head
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError, ReferenceViolationError, TransactionTooLargeError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import divided
from keyweave.exchange.deadline import deadline_passed, read_clocks
from keyweave.expiry.sweep import sweep_row
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import Entry
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

    Args:
        op: identifies the file; the same for all of its documents, in every run.
        imported: updated with the results.
        referring: whether each reference has to lead to a row. An export may have the rows in any order.

    Raises:
        StoreUnavailableError: the server cannot be used. Documents of earlier calls are written.
        CorruptDocumentError: a key does not hold what Keyweave writes; run a check.
    """
    yield from read_clocks(context)
    partitions: defaultdict[Partition, list[Row]] = defaultdict(list)
    for name, document in lines:
        entity = context.package.entities[name]
        try:
            row = _row(context, entity, document, referring=referring)
        except CorruptDocumentError:
            imported.unreadable += 1
            continue
        if 0 < row.head.expires <= context.clock_of(entity).now():
            imported.expired += 1
        else:
            partitions[context.partition(entity)].append(row)
    for partition, rows in partitions.items():
        for start in range(0, len(rows), ROWS):
            yield from _load_rows(context, partition, rows[start : start + ROWS], op, imported)


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
    return Row(entity, key, head, document[match.end() :], entity.entries(record), targets)


def _load_rows(
    context: Context, partition: Partition, rows: list[Row], op: str, imported: Imported
) -> Flow[None]:
    """Import rows in one plan; if a guard refuses it, one row at a time."""
    together = {(row.entity.name, row.key) for row in rows}
    if len(together) == len(rows):
        plan = Plan(partition, op)
        for row in rows:
            _add(plan, row, together)
        try:
            outcome = yield from apply(context, plan, repeatable=True)
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


def _add(plan: Plan, row: Row, together: Set[tuple[str, str]] = frozenset()) -> None:
    """Add a row to a plan that also writes the rows `together`."""
    plan.guard_absent(row.entity, row.key)
    for field, target, key in row.targets:
        if (target.name, key) not in together:
            plan.guard_exists(target, key, row.entity, row.key, field)
    for claim in claims_of(row.entries):
        plan.guard_free(row.entity, claim)
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
            outcome = yield from apply(context, plan, repeatable=True)
        if isinstance(outcome, Applied):
            imported.written += 1
            return
        if outcome.status is Status.NO_TARGET:
            imported.dangling += 1
            return
        if outcome.status in (Status.TAKEN, Status.FREED, Status.DEAD):
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
    for claim in claims_of(row.entries):
        if claim not in old:
            plan.guard_free(row.entity, claim)
    head = (row.head.revision, row.head.created, row.head.expires)
    plan.restore(row.entity, row.key, head, row.body, old, row.entries)
    return (yield from apply(context, plan, repeatable=True))
