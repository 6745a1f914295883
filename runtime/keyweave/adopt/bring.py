"""Brings rows over. A run may end at any moment: the next one reads all rows again, and writes only what the store lacks.

Every row carries an op that identifies the adoption. So a row that an earlier run wrote is recognised, and if it has changed
at the source since, it is written again; a row that an application has changed in the store since is left as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from keyweave.adopt.fit import Pair
from keyweave.adopt.outcome import Outcome
from keyweave.adopt.read_rows import read_rows
from keyweave.adopt.row import SourceRow, key_of, record_hash, row_of, source_hash
from keyweave.adopt.source import Connection
from keyweave.adopt.value import UnfitValueError
from keyweave.document.head import Head
from keyweave.effects import Flow
from keyweave.errors import ExportFileError, ValidationError
from keyweave.exchange.ask import ask
from keyweave.model.entity import Entity
from keyweave.repartition.hold import Hold
from keyweave.store.context import Context
from keyweave.sync.session import Session
from keyweave.transfer.history import dated
from keyweave.transfer.load import Imported, load

_TRIES: Final = 3
"""The most passes over a table with conflicts: values that rows have exchanged are free in the next one."""


class Stored(NamedTuple):
    """A document of the store, as a record with its moments."""

    record: Any
    head: Head


def op_of(database: str, namespace: str) -> str:
    """Return the op that identifies the adoption of a database into a namespace, in every run."""
    return hashlib.sha256(f"keyweave adopt {database} {namespace}".encode()).hexdigest()[:18]


def stored_rows(context: Context, entity: Entity[Any], keys: Sequence[str]) -> Flow[list[Stored | None]]:
    """Read rows by their keys; None for one that is not there.

    Raises:
        CorruptDocumentError: a document cannot be read; run a check.
    """
    if not keys:
        return []
    partition = context.partition(entity)
    (documents,) = yield from ask(
        context, (("MGET", *[partition.document(entity.name, key) for key in keys]),)
    )
    return [None if document is None else stored_row(context, entity, document) for document in documents]


def stored_row(context: Context, entity: Entity[Any], document: bytes) -> Stored:
    """Read a document.

    Raises:
        CorruptDocumentError: it cannot be read; run a check.
    """
    record, head = context.codec(entity).peek(document)
    entity.manage(record, head.created, head.revision)
    return Stored(record, head)


class Bringer:
    """Brings the rows of tables over.

    Args:
        session: on the store.
        connection: in the snapshot of the source.
        op: identifies the adoption.
        now: the moment of rows that have none, in microseconds since 1970; no row may be later.
        dry: whether rows are only read and checked.
        observe: called with the number of rows of each batch.
        hold: keeps a repartition from beginning meanwhile.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection,
        op: str,
        now: int,
        *,
        dry: bool = False,
        observe: Callable[[int], object],
        hold: Hold | None = None,
    ) -> None:
        self._session = session
        self._connection = connection
        self._op = op
        self._now = now
        self._dry = dry
        self._observe = observe
        self._hold = hold

    def bring(self, pair: Pair) -> Outcome:
        """Bring the rows of one table over.

        Raises:
            StoreUnavailableError: the server cannot be used. Rows of earlier batches are written.
        """
        outcome = self._pass(pair, self._observe)
        for _ in range(_TRIES - 1):
            if not outcome.conflicts:
                break
            again = self._pass(pair, lambda _: None)
            again.present -= outcome.written + outcome.renewed
            again.written += outcome.written
            again.renewed += outcome.renewed
            outcome = again
        return outcome

    def _pass(self, pair: Pair, observe: Callable[[int], object]) -> Outcome:
        outcome = Outcome(pair.source.label, pair.entity.name)
        for batch in read_rows(self._connection, pair):
            self._batch(pair, batch, outcome)
            observe(len(batch))
        return outcome

    def _batch(self, pair: Pair, batch: list[tuple[Any, ...]], outcome: Outcome) -> None:
        context, entity = self._session.context, pair.entity
        rows: list[tuple[str, bytes, SourceRow, tuple[Any, ...]]] = []
        for values in batch:
            outcome.read += 1
            try:
                row = row_of(pair, values, self._now)
                key, document = dated(context, entity, row.record, row.created, row.updated, self._now)
            except (UnfitValueError, ValidationError, ExportFileError) as error:
                outcome.refused += 1
                outcome.example("refused", key_of(pair, values))
                outcome.reasons[_reason(error, entity.name)] += 1
            else:
                rows.append((key, document, row, values))
        if self._dry:
            return
        found = self._session.shell.run(stored_rows(context, entity, [row[0] for row in rows]))
        new, renewed = [], []
        for (_, document, row, values), stored in zip(rows, found, strict=True):
            if stored is None:
                new.append((entity.name, document))
                continue
            if self._is_there(pair, stored, row, values):
                outcome.present += 1
            elif stored.head.op != self._op:
                outcome.changed += 1
                outcome.example("changed", key_of(pair, values))
            else:
                later = min(max(row.updated, stored.head.revision + 1), self._now)
                _, again = dated(context, entity, row.record, row.created, later, self._now)
                renewed.append((entity.name, again))
                outcome.example("renewed", key_of(pair, values))
        outcome.written += self._load(new, outcome)
        outcome.renewed += self._load(renewed, outcome)

    def _is_there(self, pair: Pair, stored: Stored, row: SourceRow, values: tuple[Any, ...]) -> bool:
        """Whether the store has a row as this run would write it. A comparison says later whether that is what the source has."""
        found, ours = record_hash(pair, stored.record), stored.head.op == self._op
        expected = source_hash(pair, values)
        if found == expected or (ours and shifted(pair, stored, row.updated, expected)):
            return True
        pair.entity.manage(row.record, row.created, row.updated)
        written = record_hash(pair, row.record)
        return found == written or (ours and shifted(pair, stored, row.updated, written))

    def _load(self, lines: list[tuple[str, bytes]], outcome: Outcome) -> int:
        """Write documents; return how many were written."""
        if not lines:
            return 0
        imported = Imported()
        flow = load(self._session.context, lines, self._op, imported)
        self._session.shell.run(self._hold.keep(flow) if self._hold is not None else flow)
        outcome.present += imported.present
        outcome.expired += imported.expired
        outcome.conflicts += imported.conflicts
        outcome.refused += imported.unreadable + imported.too_large
        if imported.too_large:
            outcome.reasons["its write does not fit into one command"] += imported.too_large
        return imported.written


def shifted(pair: Pair, stored: Stored, updated: int, expected: int) -> bool:
    """Return whether a row is equal to that of the source but for a later moment of the last change."""
    entity = pair.entity
    if entity.updated is None or stored.head.revision <= updated:
        return False
    entity.manage(stored.record, stored.head.created, updated)
    equal = record_hash(pair, stored.record) == expected
    entity.manage(stored.record, stored.head.created, stored.head.revision)
    return equal


def _reason(error: Exception, entity: str) -> str:
    """Why a row was refused, without its key, so that equal reasons are counted together."""
    text = str(error)
    head, separator, rest = text.partition(": ")
    return rest if separator and head.startswith(entity) else text
