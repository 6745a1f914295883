"""Writing many rows in few exchanges: each row whole, with a result or an error of its own, as if written one after another.

Rows that do not depend on each other share a plan, because most of the cost of a small plan is not its rows. If a guard of
one row refuses the plan, nothing of it was written: the rows are sent again in one pipeline, each in a plan of its own. What
is refused then because an ended or changed row is in the way goes the way of a single write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from keyweave.changes.answer import Refusal, Status
from keyweave.changes.change import Change, replacement
from keyweave.changes.plan import Plan
from keyweave.commit.commit import commit, commit_each
from keyweave.commit.refused import refused
from keyweave.effects import Flow
from keyweave.errors import (
    KeyweaveError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TransactionTooLargeError,
    ValidationError,
)
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import divided
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.together import caught
from keyweave.expiry.tend import sweep_after_write
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.store.context import Context
from keyweave.write.chunk import Chunk, Chunks, Way, independent
from keyweave.write.save import create, remembered, remembered_for_save, save, upsert
from keyweave.write.share_error import another, unknown_for

R = TypeVar("R", bound=Record)
T = TypeVar("T")

Outcome: TypeAlias = Refusal | KeyweaveError | None
"""What became of a change: None when it was written."""

_CLEANED: Final = frozenset({Status.FREED, Status.DEAD, Status.TAKEN})
"""Refusals that may be due to an expired, freed or dangling row, which a single write removes."""

_OUTDATED: Final = frozenset({Status.EXISTS, Status.CHANGED, Status.MISSING})
"""Refusals of an upsert or save that another writer, or an earlier row of the same bulk write, came before."""


_CREATE: Final = Way(create, None, reads=False, again=_CLEANED)
_UPSERT: Final = Way(upsert, remembered, reads=True, again=_CLEANED | _OUTDATED)
_SAVE: Final = Way(save, remembered_for_save, reads=False, again=_CLEANED | _OUTDATED)


def create_many(context: Context, entity: Entity[R], records: Iterable[R]) -> Flow[list[R | KeyweaveError]]:
    """Insert rows. Inside a transaction, the first error is raised.

    Returns:
        For each record in order: the record, or the error that `create` raises.
    """
    if context.router is not None:
        return (yield from context.router.several(create_many, context, entity, records))
    return (yield from _write(context, entity, listed(entity, records), _CREATE))


def upsert_many(context: Context, entity: Entity[R], records: Iterable[R]) -> Flow[list[R | KeyweaveError]]:
    """Insert or replace rows. Inside a transaction, the first error is raised.

    Returns:
        For each record in order: the record, or the error that `upsert` raises.
    """
    if context.router is not None:
        return (yield from context.router.several(upsert_many, context, entity, records))
    return (yield from _write(context, entity, listed(entity, records), _UPSERT))


def save_many(context: Context, entity: Entity[R], records: Iterable[R]) -> Flow[list[R | KeyweaveError]]:
    """Write loaded records back. Inside a transaction, the first error is raised.

    Returns:
        For each record in order: the record, or the error that `save` raises.
    """
    if context.router is not None:
        return (yield from context.router.several(save_many, context, entity, records))
    return (yield from _write(context, entity, listed(entity, records), _SAVE))


def listed(entity: Entity[Any], given: Iterable[T]) -> list[T]:
    """Return several records or keys as a list.

    Raises:
        ValidationError: one of them was given instead.
    """
    if isinstance(given, str | bytes | Record) or not isinstance(given, Iterable):
        text = f"{entity.name}: expected several, got one {type(given).__name__}"
        raise ValidationError(text, entity=entity.name, rule="several")
    return list(given)


def _write(
    context: Context,
    entity: Entity[R],
    records: list[R],
    way: Way,
) -> Flow[list[R | KeyweaveError]]:
    """Write records in chunks."""
    results: list[R | KeyweaveError] = list(records)
    if context.unit is not None:
        for record in records:
            yield from way.single(context, entity, record)
        return results
    chunks = Chunks(context, entity, records, results, way)
    while (chunk := chunks.take()) is not None:
        places, runs = chunk.places, chunk.runs
        if way.reads:
            try:
                runs = yield from _replacements(context, entity, records, chunk)
            except KeyweaveError as error:
                for place in places:
                    results[place] = another(error)
                continue
        at = 0
        for run, plan in runs:
            outcomes = yield from commit_run(context, run, plan, chunks.prepare)
            redone = False
            for place, outcome in zip(places[at : at + len(run)], outcomes, strict=True):
                if outcome is None:
                    continue
                if not isinstance(outcome, Refusal):
                    results[place] = outcome
                elif (
                    outcome.place is not None
                    or outcome.status in way.again
                    or (redone and outcome.status is Status.NO_TARGET)
                ):
                    results[place] = yield from caught(way.single(context, entity, records[place]))
                    redone = True
                else:
                    results[place] = refused(outcome)
            at += len(run)
        yield from sweep_after_write(context, entity)
    return results


def _replacements(
    context: Context, entity: Entity[R], records: list[R], chunk: Chunk
) -> Flow[list[tuple[list[Change], Plan | None]]]:
    """Read the stored rows of a chunk, and return the changes that replace them, in runs that may share a plan.

    Raises:
        CorruptDocumentError: a document has no head.
    """
    codec = context.codec(entity)
    partition = context.partition(entity)
    (documents,) = yield from ask(
        context, (("MGET", *[partition.document(entity.name, prepared.key) for prepared in chunk.rows]),)
    )
    stored = [codec.read_memory(document) if document is not None else None for document in documents]
    ended = yield from deadlines_passed(
        context, partition, [each.expires if each is not None else 0 for each in stored]
    )
    found = []
    for place, prepared, old, passed in zip(chunk.places, chunk.rows, stored, ended, strict=True):
        live = None if passed else old
        found.append(replacement(codec, records[place], live, codec.rebased(prepared, live)))
    return [(run, None) for run in independent(entity, found)]


def commit_run(
    context: Context,
    changes: list[Change],
    plan: Plan | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Flow[list[Outcome]]:
    """Commit changes that do not depend on each other, and return what became of each.

    Args:
        plan: as for `commit`, like `meanwhile`.
    """
    try:
        refusal = yield from commit(context, changes, plan=plan, meanwhile=meanwhile)
    except TransactionTooLargeError as error:
        if len(changes) == 1:
            return [error]
        outcomes: list[Outcome] = []
        for part in divided(changes, error):
            outcomes += yield from commit_run(context, part)
        return outcomes
    except OutcomeUnknownError as error:
        return [
            unknown_for(error, change.record if change.prepared is not None else True) for change in changes
        ]
    except StoreUnavailableError as error:
        return [another(error) for _ in changes]
    except KeyweaveError as error:
        if len(changes) == 1:
            return [error]
    else:
        if refusal is None:
            return [None] * len(changes)
        if len(changes) == 1:
            return [refusal]
    return (yield from commit_each(context, changes))
