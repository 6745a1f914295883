"""The router of a store with several partitions of a group: runs the flows of repositories in the partitions that they concern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from keyweave.changes.unit import UnitOfWork
from keyweave.commit.same_partition import partition_changed
from keyweave.effects import Flow
from keyweave.errors import (
    AlreadyExistsError,
    ConfigurationError,
    CrossPartitionError,
    LockTimeoutError,
    NotFoundError,
)
from keyweave.homes.home import Homed, is_located
from keyweave.homes.misplaced import remove_misplaced
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of
from keyweave.partitioned import rows, several, whereabouts
from keyweave.partitioned.cross import crossing
from keyweave.partitioned.inside import inside
from keyweave.read.lock import find_for_update_with, unlock
from keyweave.read.query import Query
from keyweave.store.context import Context
from keyweave.write.elsewhere import row_elsewhere
from keyweave.write.require import require
from keyweave.write.save import create, save, upsert


def _is_nothing(found: Any) -> bool:
    """Return whether that is what a flow returns that found no row."""
    return found is None or found is False or found == [] or (type(found) is tuple and found[0] is None)


def _let_go(
    context: Context, partition: Partition, unit: UnitOfWork, entity: Entity[Any], key: str
) -> Flow[None]:
    """Let a transaction that has met no row use any partition again, unless another of its calls has bound it meanwhile."""
    row, name = (entity.name, key), partition.lock(entity.name, key)
    if unit.changes or unit.required or unit.watched.keys() - {row} or unit.locks.keys() - {name}:
        return
    unit.watched.pop(row, None)
    yield from unlock(inside(context, partition), unit)
    if not (unit.changes or unit.required or unit.watched or unit.locks):
        unit.partition = None


class PartitionRouter:
    """See `keyweave.store.placing.Router`."""

    moving = False

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
        checked_text(key)
        value = options.get("partition_value")
        if value is not None:
            return (yield from self._run_known(flow, context, value, entity, key, *rest, **options))
        partition = self._certain(context, entity, key)
        if partition is None:
            known = self._remembered(context, entity, key)
            if known is not None:
                try:
                    found = yield from self._run(flow, context, known, entity, key, *rest, **options)
                    if not _is_nothing(found):
                        return found
                except NotFoundError as error:
                    if error.entity != entity.name or error.key != entity.shown(key):
                        raise
                # The row is gone, or another one of this key is elsewhere by now.
                context.state.homes.drop(entity.name, key)
            partition = yield from whereabouts.look_home(context, entity, key)
            if partition is None:
                # There is no row, so any partition says so. A lock would bind a transaction to it, and so would a plan.
                if flow is require:
                    raise entity.missing(key)
                unit = context.unit
                if unit is not None and unit.partition is None:
                    if flow is find_for_update_with:
                        return None, None
                    if options.get("for_update"):
                        raise entity.missing(key)
                partition = (
                    unit.partition
                    if unit is not None and unit.group == entity.group and unit.partition is not None
                    else context.keyspace.partition(entity.group, key)
                )
            elif context.unit is not None:
                return (yield from self._run_at_home(flow, context, partition, entity, key, *rest, **options))
        return (yield from self._run(flow, context, partition, entity, key, *rest, **options))

    def _run_at_home(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        partition: Partition,
        entity: Entity[Any],
        key: str,
        *rest: Any,
        **options: Any,
    ) -> Flow[Any]:
        """Run a flow of a transaction in the partition that a home names. If there is no row, the transaction is not bound to it.

        A home without a row means nothing: it is left of a row that was refused, or is deleted.
        """
        unit = context.unit
        assert unit is not None
        free, locks = unit.partition is None, flow is find_for_update_with or options.get("for_update", False)
        asks = locks or flow is require
        if unit.partition is not None and asks and unit.partition.index != partition.index:
            if (yield from row_elsewhere(context, unit, entity, key, partition)) is None:
                if flow is not find_for_update_with:
                    raise entity.missing(key)
                partition = unit.partition  # it says so as well
        try:
            found = yield from self._run(flow, context, partition, entity, key, *rest, **options)
        except NotFoundError as error:
            if free and error.entity == entity.name and error.key == entity.shown(key):
                yield from _let_go(context, partition, unit, entity, key)
            raise
        except LockTimeoutError:
            if free:
                yield from _let_go(context, partition, unit, entity, key)
            raise
        if free and locks and _is_nothing(found):
            yield from _let_go(context, partition, unit, entity, key)
        return found

    def known(self, context: Context, entity: Entity[Any], partition_value: Any) -> Context:
        """Return the context in the partition of a value, outside a transaction."""
        return context.at(whereabouts.by_value(context, entity, partition_value))

    def for_save(self, context: Context, entity: Entity[Any], record: Record) -> Context:
        """Return the context in the partition of a record that is saved, outside a transaction."""
        partition = whereabouts.by_record(context, entity, record) or context.keyspace.at(entity.group, 0)
        _require_value(context, entity, record)
        return context.at(partition)

    def _remembered(self, context: Context, entity: Entity[Any], key: str) -> Partition | None:
        """Return where a row was met last, or None.

        A transaction would be bound to that partition, so there only one is of use that it uses already, or has read the row in.
        """
        if context.doubling is not None:
            return None
        known, unit = whereabouts.known_home(context, entity, key), context.unit
        if known is None or unit is None or (entity.name, key) in unit.loaded:
            return known
        return known if unit.partition is known else None

    def _certain(self, context: Context, entity: Entity[Any], key: str) -> Partition | None:
        """Return the partition of a key if nothing has to be asked for it."""
        if len(context.keyspace.holders(entity.group)) == 1:
            return context.keyspace.at(entity.group, 0)
        unit = context.unit
        if unit is not None and unit.change_of(entity, key) is not None:
            return unit.partition
        return whereabouts.by_key(context, entity, key)

    def _run_known(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        value: Any,
        entity: Entity[Any],
        key: str,
        *rest: Any,
        **options: Any,
    ) -> Flow[Any]:
        """Run a flow in the partition of the value that a caller knows."""
        partition = whereabouts.by_value(context, entity, value)
        try:
            found = yield from flow(inside(context, partition), entity, key, *rest, **options)
        except CrossPartitionError as error:
            raise (yield from crossing(context, partition, entity, key, value)) from error
        if context.unit is None and context.doubling is None and not _is_nothing(found):
            context.state.homes.put(entity.name, key, partition)
        return found

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
        try:
            return (yield from flow(inside(context, partition), entity, key, *rest, **options))
        except CrossPartitionError as error:
            raise (yield from crossing(context, partition, entity, key, None)) from error

    def record(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        record: Record,
        **options: Any,
    ) -> Flow[Any]:
        """Run a flow that writes a record in the partition that its value selects."""
        partition = whereabouts.by_record(context, entity, record) or context.keyspace.at(entity.group, 0)
        if flow is save:
            _require_value(context, entity, record)
        elif flow is create and options["if_none"] is not None:
            _require_local(context, entity, options["if_none"])
        if context.doubling is not None and not is_located(entity) and flow is not save:
            found = inside(context, partition)
            yield from remove_misplaced(found, partition, [Homed(entity, "", entity.key_of(record))])
        try:
            written = yield from flow(inside(context, partition), entity, record, **options)
        except CrossPartitionError as error:
            value = getattr(record, entity.partition_by)
            raise (yield from crossing(context, partition, entity, "", value)) from error
        except AlreadyExistsError as error:
            if flow is not upsert:
                raise
            raise (yield from several.moved(context, entity, record, error)) from error
        if context.unit is None and context.doubling is None and not is_located(entity):
            context.state.homes.put(entity.name, entity.key_of(record), partition)
        return written

    def several(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        given: Any,
        **options: Any,
    ) -> Flow[list[Any]]:
        """Run a flow that takes several keys or records in each of their partitions."""
        if context.keyspace.number(entity.group) == 1:
            return flow(inside(context, context.keyspace.at(entity.group, 0)), entity, given, **options)
        return several.by_partition(flow, context, entity, given, options)

    def claim(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        claim: ClaimEntry,
    ) -> Flow[Any]:
        """Look a unique value up in the partition that its home names."""
        return several.owner(flow, context, entity, claim)

    def query(self, flow: Callable[..., Flow[Any]], context: Context, query: Query, *rest: Any) -> Flow[Any]:
        """Run a flow that answers a query in the partitions that can have its rows."""
        partitions = whereabouts.of_query(context, query)
        if len(partitions) == 1:
            return (yield from flow(inside(context, partitions[0]), query, *rest))
        return (yield from rows.answer(flow, context, partitions, query, *rest))

    def groups(
        self,
        flow: Callable[..., Flow[Any]],
        context: Context,
        entity: Entity[Any],
        view: str,
        values: tuple[Any, ...],
    ) -> Flow[dict[str, int]]:
        """Count the groups of a view in the partitions that can have its rows."""
        return rows.group_counts(flow, context, entity, view, values)


def _require_value(context: Context, entity: Entity[Any], record: Record) -> None:
    """Refuse to save a record with another value of the field that decides its partition.

    Raises:
        ValidationError: it was loaded with another one.
    """
    stored = memory_of(record)
    if stored is None or context.keyspace.number(entity.group) == 1:
        return
    name, snapshot = entity.partition_by, context.codec(entity).snapshot_of(stored)
    before, after = getattr(snapshot, name), getattr(record, name)
    if before != after and name not in entity.key_fields and whereabouts.by_record(context, entity, record):
        raise partition_changed(entity, entity.key_of(snapshot), before, after)


def _require_local(context: Context, entity: Entity[Any], view: str) -> None:
    """Refuse to insert a row only if a view has none, if rows of that view may be in several partitions.

    Raises:
        ConfigurationError: they may be.
    """
    number = context.keyspace.number(entity.group)
    if number > 1 and view in entity.views and entity.partition_by not in entity.views[view].fields:
        raise ConfigurationError(
            f"{entity.name}: if_none={view!r} needs a view by {entity.partition_by}, because the group {entity.group} has "
            f"{number} partitions"
        )


ROUTER: Final = PartitionRouter()
