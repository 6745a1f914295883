"""The chunks of a bulk write. Each is prepared while the server works on the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from keyweave.changes.answer import Status
from keyweave.changes.change import Change, replacement
from keyweave.changes.plan import Plan
from keyweave.commit.compose import claims_of, plan_of
from keyweave.document.codec import Prepared
from keyweave.effects import Flow
from keyweave.errors import KeyweaveError
from keyweave.model.entity import Entity
from keyweave.model.record import Record, Stored
from keyweave.store.context import Context
from keyweave.write.batch import key_changed

R = TypeVar("R", bound=Record)

ROWS: Final = 100
"""Maximum number of rows of one plan: the server does nothing else while it applies them."""

BYTES: Final = 1024 * 1024
"""Size of the documents of one plan above which no further row is added."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the rows of a bulk write are written.

    Attributes:
        single: writes one record.
        known: returns the row that a record replaces, as far as the record says; None where there can be no row.
        reads: whether the stored rows are read first.
        again: refusals after which a record is written once more, alone.
    """

    single: Callable[[Context, Entity[Any], Any], Flow[Any]]
    known: Callable[[Entity[Any], Any], Stored | None] | None
    reads: bool
    again: frozenset[Status]


class Chunk:
    """Rows that are written together. No two of them have the same key.

    Attributes:
        places: the place of each row in the caller's list.
        rows: the rows, prepared.
        known: what each row replaces, as far as its record says.
        runs: where no row has to be read first: changes that may share a plan, and the plan.
    """

    __slots__ = ("known", "places", "rows", "runs")

    def __init__(self) -> None:
        self.places: Final[list[int]] = []
        self.rows: Final[list[Prepared]] = []
        self.known: Final[list[Stored | None]] = []
        self.runs: list[tuple[list[Change], Plan | None]] = []


class Chunks:
    """The chunks of records, one after another. What cannot be written becomes a result.

    Args:
        context: the store's.
        entity: the entity of the records.
        records: what to write.
        results: gets the error of each record that cannot be written.
        way: how they are written.
    """

    __slots__ = ("_chunks", "_failure", "_next")

    def __init__(
        self,
        context: Context,
        entity: Entity[R],
        records: Sequence[R],
        results: list[R | KeyweaveError],
        way: Way,
    ) -> None:
        self._chunks: Final = _chunks(context, entity, records, results, way)
        self._next: Chunk | None = None
        self._failure: Exception | None = None

    def prepare(self) -> None:
        """Prepare the next chunk, unless it is prepared already. Raises nothing: `take` does."""
        if self._next is None and self._failure is None:
            try:
                self._next = next(self._chunks, None)
            except Exception as error:  # noqa: BLE001 - not of the exchange that is under way
                self._failure = error

    def take(self) -> Chunk | None:
        """Return the next chunk; None after the last one."""
        self.prepare()
        if self._failure is not None:
            raise self._failure
        chunk, self._next = self._next, None
        return chunk


def _chunks(
    context: Context,
    entity: Entity[R],
    records: Sequence[R],
    results: list[R | KeyweaveError],
    way: Way,
) -> Iterator[Chunk]:
    codec = context.codec(entity)
    chunk = Chunk()
    keys: set[str] = set()
    size, most = 0, min(ROWS, context.policy.chunk)
    for place, record in enumerate(records):
        try:
            known = way.known(entity, record) if way.known and type(record) is entity.record else None
            prepared = codec.prepare(record, known)
            if known is not None and not way.reads:
                snapshot = codec.snapshot_of(known)
                if entity.key_of(snapshot) != prepared.key:
                    raise key_changed(entity, snapshot, prepared.snapshot)
        except KeyweaveError as error:
            results[place] = error
            continue
        if keys and (prepared.key in keys or len(keys) >= most or size >= BYTES):
            yield _planned(context, entity, records, chunk, way)
            chunk, size = Chunk(), 0
            keys.clear()
        chunk.places.append(place)
        chunk.rows.append(prepared)
        chunk.known.append(known)
        keys.add(prepared.key)
        size += len(prepared.body)
    if keys:
        yield _planned(context, entity, records, chunk, way)


def _planned(context: Context, entity: Entity[R], records: Sequence[R], chunk: Chunk, way: Way) -> Chunk:
    if not way.reads:
        codec = context.codec(entity)
        changes = [
            replacement(codec, records[place], known, prepared)
            for place, prepared, known in zip(chunk.places, chunk.rows, chunk.known, strict=True)
        ]
        chunk.runs = [(run, plan_of(context, run)) for run in independent(entity, changes)]
    return chunk


def independent(entity: Entity[Any], changes: list[Change]) -> Iterator[list[Change]]:
    """Yield runs of changes of one entity that have the same effect in one step as one after another.

    A run ends before a row that claims or releases a unique value which a row of the run claims or releases, and before a row to
    which an earlier row of the run refers.
    """
    own = [reference for reference in entity.references if reference.target == entity.name]
    if not own and not entity.uniques:
        yield changes
        return
    run: list[Change] = []
    values: set[tuple[str, str]] = set()
    targets: set[str | None] = set()
    claims: set[tuple[str, str]] = set()
    for change in changes:
        if entity.uniques:
            claims = {
                (claim.unique, claim.value)
                for entries in (change.old_entries, change.new_entries)
                for claim in claims_of(entries)
            }
        if run and (change.key in targets or not values.isdisjoint(claims)):
            yield run
            run = []
            values.clear()
            targets.clear()
        run.append(change)
        values |= claims
        if change.prepared is not None:
            for reference in own:
                targets.add(reference.key_in(change.prepared.snapshot))
    if run:
        yield run
