"""Touching: setting a datetime field to a later moment.

Nothing is written when the field holds a later moment, unless every write renews the row's deadline.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from keyweave.effects import Flow
from keyweave.errors import NotFoundError
from keyweave.exchange.deadline import current_time
from keyweave.model.entity import Entity
from keyweave.model.moment import from_micros, to_micros
from keyweave.model.record import Record
from keyweave.store.context import Context
from keyweave.write.save import change

R = TypeVar("R", bound=Record)


def touch(
    context: Context,
    entity: Entity[R],
    key: str,
    field: str,
    at: datetime | None = None,
    partition_value: Any = None,
) -> Flow[bool]:
    """Set a datetime field to `at`, or to the server's time, unless it holds a later moment.

    Args:
        partition_value: as for `write.save.change`.

    Returns:
        Whether the row exists.

    Raises:
        ValidationError: `at` is not a datetime with a time zone.
        TransactionConflictError: every attempt lost to other writers.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        return bool(
            (
                yield from context.router.row(
                    touch, context, entity, key, field, at, partition_value=partition_value
                )
            )
        )
    moment = from_micros((yield from current_time(context, context.partition(entity)))) if at is None else at

    def forward(record: Any) -> None:
        present = getattr(record, field)
        # Compared as moments: Python compares two times of one zone by what the clock on the wall shows.
        dated = getattr(moment, "tzinfo", None) is not None
        if present is None or not dated or to_micros(present) < to_micros(moment):
            setattr(record, field, moment)

    try:
        # A touch renews a sliding deadline, also if the field holds a later moment.
        renews = entity.retention is not None and entity.retention.sliding
        yield from change(context, entity, key, forward, quiet=not renews, partition_value=partition_value)
    except NotFoundError as error:
        if error.entity != entity.name or error.key != entity.shown(key):
            raise
        return False
    return True
