"""The router of a store while partitions of a group are doubled: each operation begins again when what it believed is outdated.

Several rows are read and written one by one, so that each has its own result whatever moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.exchange.doubling import again
from keyweave.exchange.together import caught
from keyweave.homes.home import Homed, is_located
from keyweave.homes.misplaced import remove_misplaced
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import Record
from keyweave.partitioned.inside import inside
from keyweave.partitioned.router import PartitionRouter
from keyweave.read.get import get_many
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

    def _run(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        partition: Partition,
        entity: Entity[Any],
        key: str,
        *rest: Any,
        **options: Any,
    ) -> Flow[Any]:
        if not is_located(entity):
            partition = yield from _without(context, partition, Homed(entity, "", key))
        return (yield from super()._run(flow, context, partition, entity, key, *rest, **options))

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
            return discard(context, entity, each, **options)
        return self.row(_one_of_several, context, entity, each, **options)

    def claim(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        claim: ClaimEntry,
    ) -> Flow[Any]:
        """Look a unique value up in the partition that its home names."""
        one = super().claim

        def looking(inner: Context, kind: Entity[Any], claimed: ClaimEntry) -> Flow[Any]:
            partition = inner.partition(kind)
            thing = Homed(kind, claimed.unique, claimed.value)
            other = yield from _without(inner, partition, thing)
            return (yield from flow(inner if other is partition else inside(inner, other), kind, claimed))

        return again(context, lambda inner: one(looking, inner, entity, claim))

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


def _without(context: Context, partition: Partition, thing: Homed) -> Flow[Partition]:
    """Return a partition that answers what concerns a key or unique value, without the row that has moved from it.

    A user that may only read has the answer of the twin. It has no row either: the home names the partition, or there is none.
    """
    clear = yield from remove_misplaced(inside(context, partition), partition, [thing], reading=True)
    if clear:
        return partition
    assert context.doubling is not None
    half = context.doubling[partition.group].half
    return context.keyspace.at(partition.group, partition.index + half)


def _one_of_several(context: Context, entity: Entity[Any], key: str, **options: Any) -> Flow[Any]:
    """Return the row of one key, as `get_many` returns it."""
    (found,) = yield from get_many(context, entity, [key], **options)
    return found


DOUBLING_ROUTER: Final = DoublingRouter()
