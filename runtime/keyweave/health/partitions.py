"""How much each partition of a group holds, where the group has several. Cardinalities only: no row is read.

What it needs is imported where there is such a group: probes and stores without one do without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keyweave.effects import Command, Reply, ServerError
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity, View
from keyweave.store.context import Context

if TYPE_CHECKING:
    from keyweave.health.report import PartitionFacts


def sizes_asked(context: Context, *, homes: bool = True) -> list[tuple[Partition, list[Command]]]:
    """Return the partitions of groups that have several, with what asks for their rows and due rows, and for their `homes`."""
    found = []
    for partition in context.keyspace.partitions():
        if context.keyspace.number(partition.group) > 1:
            commands = [*_rows(context, partition), _due(context, partition)]
            found.append((partition, commands + (_homes(context, partition) if homes else [])))
    return found


def sizes_in(
    context: Context,
    asked: Sequence[tuple[Partition, list[Command]]],
    replies: Sequence[Reply],
    *,
    homes: bool = True,
) -> tuple[PartitionFacts, ...]:
    """Return what the replies say of each partition. What a server refuses to say is None."""
    if not asked:
        return ()
    from keyweave.health.report import PartitionFacts

    found, start = [], 0
    for partition, commands in asked:
        numbers = replies[start : start + len(commands)]
        start += len(commands)
        rows = len(_rows(context, partition))
        found.append(
            PartitionFacts(
                group=partition.group,
                number=partition.index,
                rows=_sum(numbers[:rows]) if rows else None,
                due=_sum(numbers[rows : rows + 1]),
                homes=_sum(numbers[rows + 1 :]) if homes else None,
            )
        )
    return tuple(found)


def _entities(context: Context, partition: Partition) -> list[Entity[Any]]:
    return [each for each in context.package.entities.values() if each.group == partition.group]


def _rows(context: Context, partition: Partition) -> list[Command]:
    """Return what counts rows: the view of each entity that has all of them."""
    views = [(entity, view_of_all(entity)) for entity in _entities(context, partition)]
    return [
        ("ZCARD", partition.view(entity.name, view.name, ())) for entity, view in views if view is not None
    ]


def view_of_all(entity: Entity[Any]) -> View | None:
    """Return the view with one sorted set that has every row; None if an entity has none."""
    return next((view for view in entity.views.values() if view.whole and not view.fields), None)


def _due(context: Context, partition: Partition) -> Command:
    return ("ZCOUNT", partition.expiry, "-inf", context.clock(partition).now())


def _homes(context: Context, partition: Partition) -> list[Command]:
    from keyweave.homes.home import has_homes, is_located

    found: list[Command] = []
    for entity in _entities(context, partition):
        names = ["", *[unique for unique in entity.uniques if has_homes(entity, unique)]]
        found += [
            ("HLEN", partition.homes(entity.name, name))
            for name in (names[1:] if is_located(entity) else names)
        ]
    return found


def _sum(numbers: Sequence[Reply]) -> int | None:
    if any(isinstance(number, ServerError) for number in numbers):
        return None
    return sum(int(number) for number in numbers)
