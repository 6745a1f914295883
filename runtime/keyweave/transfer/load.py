"""Imports documents with the heads that they had, and every entry derived from them. It may be run again.

Every document of one file carries an op that identifies the file, so a second run recognises the rows of the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from keyweave.changes.plan import Applied, Plan, Status
from keyweave.commit.commit import claims_of
from keyweave.document.codec import HEAD, Head, read_head
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError, ReferenceViolationError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadline_passed, server_time
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


@dataclass(slots=True)
class Imported:
    """The number of documents by result.

    Attributes:
        written: documents that were written.
        present: documents that existed already.
        expired: documents whose deadline has passed since the export; not written.
        conflicts: documents whose id, or one of whose unique values, another row has; not written.
        unreadable: documents that this schema cannot read; not written.
    """

    written: int = 0
    present: int = 0
    expired: int = 0
    conflicts: int = 0
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether every document that is not expired exists now."""
        return not self.conflicts and not self.unreadable


def load(context: Context, lines: Sequence[tuple[str, bytes]], op: str, imported: Imported) -> Flow[None]:
    """Import documents: the entity's name and the stored bytes of each.

    Args:
        op: identifies the file; the same for all of its documents, in every run.
        imported: updated with the results.

    Raises:
        StoreUnavailableError: the server cannot be used. Documents of earlier calls are written.
        CorruptDocumentError: a key does not hold what Keyweave writes; run a check.
    """
    now = yield from server_time(context)
    partitions: defaultdict[Partition, list[Row]] = defaultdict(list)
    for name, document in lines:
        entity = context.package.entities[name]
        try:
            row = _row(context, entity, document)
        except CorruptDocumentError:
            imported.unreadable += 1
            continue
        if 0 < row.head.expires <= now:
            imported.expired += 1
        else:
            partitions[context.partition(entity)].append(row)
    for partition, rows in partitions.items():
        for start in range(0, len(rows), ROWS):
            yield from _load_rows(context, partition, rows[start : start + ROWS], op, imported)


def _row(context: Context, entity: Entity[Any], document: bytes) -> Row:
    record, head = context.codec(entity).peek(document)
    match = HEAD.match(document)
    assert match is not None
    return Row(entity, entity.key_of(record), head, document[match.end() :], entity.entries(record))


def _load_rows(
    context: Context, partition: Partition, rows: list[Row], op: str, imported: Imported
) -> Flow[None]:
    """Import rows in one plan; if a guard refuses it, one row at a time."""
    if len({(row.entity.name, row.key) for row in rows}) == len(rows):
        plan = Plan(partition, op)
        for row in rows:
            _add(plan, row)
        outcome = yield from apply(context, plan, repeatable=True)
        if isinstance(outcome, Applied):
            imported.written += len(rows)
            return
    for row in rows:
        yield from _load_row(context, partition, row, op, imported)


def _add(plan: Plan, row: Row) -> None:
    plan.guard_absent(row.entity, row.key)
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
            if stored.expires and (yield from deadline_passed(context, stored.expires)):
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
