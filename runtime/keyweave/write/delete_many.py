"""Deleting many rows in few exchanges: each row whole, with a result or an error of its own, as if deleted one after another.

Rows to which no row refers share a plan, as in `write.many`. A row with referrers goes the way of a single delete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from keyweave.changes.change import Change
from keyweave.commit.family import members_of, removal
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError, KeyweaveError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.together import caught
from keyweave.expiry.tend import sweep_after_write
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.store.context import Context
from keyweave.write.chunk import ROWS
from keyweave.write.delete import discard, is_another
from keyweave.write.many import commit_run, listed
from keyweave.write.share_error import another


def delete_many(
    context: Context, entity: Entity[Any], keys: Iterable[str], partition_value: Any = None
) -> Flow[list[bool | KeyweaveError]]:
    """Delete rows, and the rows that refer to them with cascade. Inside a transaction, the first error is raised.

    Args:
        partition_value: as for `write.delete.delete`; of all rows.

    Returns:
        For each key in order: whether the row existed, or the error that `discard` raises.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        return (
            yield from context.router.several(
                delete_many, context, entity, keys, partition_value=partition_value
            )
        )
    wanted = listed(entity, keys)
    results: list[bool | KeyweaveError] = [False] * len(wanted)
    if context.unit is not None:
        for place, key in enumerate(wanted):
            results[place] = yield from discard(context, entity, key, partition_value=partition_value)
        return results
    for chunk in _chunks(context, wanted, results):
        try:
            changes = yield from _removals(
                context, entity, [wanted[place] for place in chunk], partition_value
            )
        except KeyweaveError as error:
            for place in chunk:
                results[place] = another(error)
            continue
        run: list[tuple[int, Change]] = []
        for place, change in zip(chunk, changes, strict=True):
            if isinstance(change, Change):
                run.append((place, change))
            if change is not None:
                continue
            yield from _remove(context, run, results, partition_value)
            alone = discard(context, entity, wanted[place], partition_value=partition_value)
            results[place] = yield from caught(alone)
            run = []
        yield from _remove(context, run, results, partition_value)
        yield from sweep_after_write(context, entity)
    return results


def _chunks(context: Context, keys: list[str], results: list[bool | KeyweaveError]) -> Iterator[list[int]]:
    """Yield the places of keys in chunks, each without the same key twice. What is no key becomes an error."""
    chunk: dict[str, int] = {}
    for place, key in enumerate(keys):
        try:
            checked_text(key)
        except KeyweaveError as error:
            results[place] = error
            continue
        if key in chunk or len(chunk) >= min(ROWS, context.policy.chunk):
            yield list(chunk.values())
            chunk = {}
        chunk[key] = place
    if chunk:
        yield list(chunk.values())


def _removals(
    context: Context, entity: Entity[Any], keys: list[str], partition_value: Any
) -> Flow[list[Change | Literal[False] | None]]:
    """Read rows, and return the removal of each.

    Returns:
        False for a key without a row, and None for a row that needs a delete of its own: other rows may refer to it, it may be
        past its deadline, or it cannot be read.
    """
    partition = context.partition(entity)
    (documents,) = yield from ask(
        context, (("MGET", *[partition.document(entity.name, key) for key in keys]),)
    )
    found: list[Change | Literal[False] | None] = []
    for key, document in zip(keys, documents, strict=True):
        try:
            change = removal(context, entity, key, document, "revision") if document is not None else None
            found.append(
                False
                if change is None or is_another(context, entity, change.old, partition_value)
                else change
            )
        except CorruptDocumentError:
            found.append(None)
    changes = [each for each in found if isinstance(each, Change)]
    ended = yield from deadlines_passed(
        context, partition, [each.old.expires if each.old else 0 for each in changes]
    )
    alone = {change.key for change, passed in zip(changes, ended, strict=True) if passed}
    alone |= {parent.key for parent, _, _ in (yield from members_of(context, changes, 1))}
    return [None if isinstance(each, Change) and each.key in alone else each for each in found]


def _remove(
    context: Context,
    run: list[tuple[int, Change]],
    results: list[bool | KeyweaveError],
    partition_value: Any,
) -> Flow[None]:
    """Commit removals; a row that another writer changed is deleted alone."""
    if not run:
        return
    outcomes = yield from commit_run(context, [change for _, change in run])
    for (place, change), outcome in zip(run, outcomes, strict=True):
        if outcome is None:
            results[place] = True
        elif isinstance(outcome, KeyweaveError):
            results[place] = outcome
        else:
            again = discard(context, change.entity, change.key, partition_value=partition_value)
            results[place] = yield from caught(again)
