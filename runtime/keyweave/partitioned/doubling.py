"""The router of a store while partitions of a group are doubled: each operation begins again when what it believed is outdated.

Several rows are read and written one by one, so that each has its own result whatever moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.exchange.doubling import again
from keyweave.exchange.together import caught
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import Record
from keyweave.partitioned.router import PartitionRouter
from keyweave.read.get import find, get_many
from keyweave.read.query import Query
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.delete_many import delete_many
from keyweave.write.many import create_many, listed, save_many, upsert_many
from keyweave.write.save import create, save, upsert


class DoublingRouter(PartitionRouter):
    """See `keyweave.store.placing.Router`."""

    moving = True

    def row(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        key: str,
        *rest: Any,
        **options: Any,
    ) -> Flow[Any]:
        """Run a flow in the partition of the row with one key."""
        one = super().row
        return again(context, lambda inner: one(flow, inner, entity, key, *rest, **options))

    def record(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        record: Record,
        **options: Any,
    ) -> Flow[Any]:
        """Run a flow that writes a record in the partition that its value selects."""
        one = super().record
        return again(context, lambda inner: one(flow, inner, entity, record, **options))

    def several(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        given: Any,
        **options: Any,
    ) -> Flow[list[Any]]:
        """Run what a flow does with several keys or records for each of them."""
        results = []
        for each in listed(entity, given):
            single = self._single(flow, context, entity, each, options)
            results.append(
                (yield from single if context.unit is not None or flow is get_many else caught(single))
            )
        return results

    def _single(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        each: Any,
        options: dict[str, Any],
    ) -> Flow[Any]:
        if flow is create_many:
            return create(context, entity, each)
        if flow is upsert_many:
            return upsert(context, entity, each)
        if flow is save_many:
            return save(context, entity, each)
        if flow is delete_many:
            return discard(context, entity, each)
        return find(context, entity, each, **options)

    def claim(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        claim: ClaimEntry,
    ) -> Flow[Any]:
        """Look a unique value up in the partition that its home names."""
        one = super().claim
        return again(context, lambda inner: one(flow, inner, entity, claim))

    def query(self, flow: Callable[..., Flow[Any]], context: Context, query: Query, *rest: Any) -> Flow[Any]:
        """Run a flow that answers a query in the partitions that can have its rows."""
        one = super().query
        return again(context, lambda inner: one(flow, inner, query, *rest))

    def groups(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        view: str,
        values: tuple[Any, ...],
    ) -> Flow[dict[str, int]]:
        """Count the groups of a view in the partitions that can have its rows."""
        one = super().groups
        return again(context, lambda inner: one(flow, inner, entity, view, values))


DOUBLING_ROUTER: Final = DoublingRouter()
