"""What records and the cache of recent rows remember of an applied plan, and what settles one whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from typing import Any

from keyweave.changes.answer import Applied
from keyweave.changes.change import Change
from keyweave.commit.guess import forget_relation, remember_relation
from keyweave.document.codec import Prepared
from keyweave.errors import OutcomeUnknownError
from keyweave.model.moment import from_micros_all
from keyweave.store.context import Context
from keyweave.store.recent import LARGEST


def remember_writes(context: Context, changes: list[Change], applied: Applied, op: str) -> None:
    """Make the records of an applied plan, and the cache of recent rows, remember what it wrote."""
    heads = applied.heads
    moments: Iterable[datetime | None] = repeat(None)
    if len(heads) > 1:
        moments = from_micros_all([revision for revision, _, _ in heads])
    written = zip(heads, moments, strict=False)
    recent = context.state.recent
    for change in changes:
        entity, key, prepared = change.entity, change.key, change.prepared
        if prepared is None:
            recent.drop(entity.name, key)
            forget_relation(context, change)
            continue
        head, moment = next(written)
        if change.record is None:
            continue
        remember_write(context, prepared, change.record, head, op, moment)
        for number, (record, earlier) in enumerate(change.superseded):
            before = change.old.revision if change.old is not None else head[1]
            revision = max(head[0] - len(change.superseded) + number, before)
            context.codec(entity).remember_superseded(record, earlier, (revision, head[1], head[2]), op)


def remember_write(
    context: Context,
    prepared: Prepared,
    record: Any,
    head: tuple[int, int, int],
    op: str,
    moment: datetime | None = None,
) -> None:
    """Make a record, and the cache of recent rows, remember its write; see `Codec.remember_write`."""
    name, key = prepared.entity.name, prepared.key
    stored = context.codecs[name].remember_write(record, prepared, head, op, moment)
    # A purge of unknown members keeps the revision, so a cached document with such members could restore them.
    if not prepared.unknown and len(prepared.body) <= LARGEST:
        context.state.recent.put(name, key, stored, prepared.body)
    else:
        context.state.recent.drop(name, key)
    if head[0] == head[1]:
        remember_relation(context, prepared)


def describe(error: OutcomeUnknownError, changes: list[Change]) -> None:
    """Give the error of a plan what is needed to settle it."""
    if error.unsettled is not None:
        error.unsettled.changes = changes
        error.unsettled.result = changes[0].record if len(changes) == 1 else None
