"""Importing: documents with the heads that they had, and everything that follows from them. It may be run again.

Every document of one file carries an op that names the file, so a second run tells its own rows from others.
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
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import apply, ask
from keyweave.exchange.deadline import server_time
from keyweave.expiry.sweep import sweep_row
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import Entry
from keyweave.store.context import Context

ROWS: Final = 50
"""Most rows of one plan."""

_TRIES: Final = 4


class Row(NamedTuple):
    """A document to import."""

    entity: Entity[Any]
    key: str
    head: Head
    body: bytes
    entries: list[Entry]


@dataclass(slots=True)
class Imported:
    """What became of the documents.

    Attributes:
        written: they are there now.
        present: they were there already.
        expired: their deadline has passed since the export.
        conflicts: another row has their id, or one of their unique values; nothing was changed.
        unreadable: they are not what this schema understands.
    """

    written: int = 0
    present: int = 0
    expired: int = 0
    conflicts: int = 0
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return not self.conflicts and not self.unreadable


def load(context: Context, lines: Sequence[tuple[str, bytes]], op: str, imported: Imported) -> Flow[None]:
    """Import documents: entity and stored bytes of each.

    Args:
        op: names the file; the same for all of its documents, in every run.
        imported: is told what became of them.

    Raises:
        StoreUnavailableError: the server cannot be used. The documents before this call are there.
        CorruptDocumentError: a key that is needed holds something else; run a check.
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
    return Row(entity, getattr(record, entity.key), head, document[match.end() :], entity.entries(record))


def _load_rows(
    context: Context, partition: Partition, rows: list[Row], op: str, imported: Imported
) -> Flow[None]:
    """All at once where nothing is in the way, else one after the other."""
    if len({(row.entity.name, row.key) for row in rows}) == len(rows):
        plan = Plan(partition, op)
        for row in rows:
            _add(plan, row)
        outcome = yield from apply(context, plan)
        if isinstance(outcome, Applied):
            imported.written += len(rows)
            return
    for row in rows:
        yield from _load_row(context, partition, row, op, imported)


def _add(plan: Plan, row: Row) -> None:
    plan.guard_missing(row.entity, row.key)
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
            there = read_head(document)
            if there is None:
                break
            if there.revision == row.head.revision or (there.op == op and there.revision > row.head.revision):
                imported.present += 1
                return
            if 0 < there.expires <= context.state.clock.now():
                yield from sweep_row(context, row.entity, row.key)
                continue
            if there.op != op:
                break
            # The file has this row twice, because it changed while it was exported: the later one counts.
            outcome = yield from _replace(context, partition, row, document, there, op)
        else:
            plan = Plan(partition, op)
            _add(plan, row)
            outcome = yield from apply(context, plan)
        if isinstance(outcome, Applied):
            imported.written += 1
            return
        if outcome.status is Status.TAKEN:
            break
    imported.conflicts += 1


def _replace(
    context: Context, partition: Partition, row: Row, document: bytes, there: Head, op: str
) -> Flow[Any]:
    old = _row(context, row.entity, document).entries
    plan = Plan(partition, op)
    plan.guard_unchanged(row.entity, row.key, there.revision)
    for claim in claims_of(row.entries):
        if claim not in old:
            plan.guard_free(row.entity, claim)
    head = (row.head.revision, row.head.created, row.head.expires)
    plan.restore(row.entity, row.key, head, row.body, old, row.entries)
    return (yield from apply(context, plan))
