"""Merging elements into a list field: a read, a merge and a guarded write, repeated until no other writer interferes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from keyweave.effects import Flow
from keyweave.model.entity import Entity
from keyweave.model.merge import Merge
from keyweave.model.record import Record, Value
from keyweave.store.context import Context
from keyweave.write.save import change

R = TypeVar("R", bound=Record)
V = TypeVar("V", bound=Value)


def merge(
    context: Context,
    entity: Entity[R],
    key: str,
    rule: Merge[V],
    added: Sequence[V],
    partition_value: Any = None,
) -> Flow[R]:
    """Merge `added` into a list field of the row `key` by the schema's rules; `partition_value` as for `write.save.change`.

    Raises:
        NotFoundError: the entity's own error.
        ValidationError: an element breaks its type or limits; nothing was written.
        TransactionConflictError: every attempt lost to other writers.
    """
    elements = list(added)

    def fold(record: Any) -> None:
        setattr(record, rule.field, rule.merged(getattr(record, rule.field), elements))

    return (yield from change(context, entity, key, fold, partition_value=partition_value))
