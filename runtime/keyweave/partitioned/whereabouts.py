"""Places: in which partition a row is, by its key, its record, or the conditions of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyweave.effects import Flow
from keyweave.homes.claim import find_home
from keyweave.homes.home import Homed, is_located
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.identity import id_text
from keyweave.read.conditions import conditions_of
from keyweave.read.query import Query
from keyweave.store.context import Context


def by_value(context: Context, entity: Entity[Any], value: Any) -> Partition:
    """Return the partition of rows with a value of the field that decides it."""
    # Nearly every value is such a text, which `id_text` would return as well.
    text = value if type(value) is str and value.isascii() else id_text(value)
    return context.keyspace.partition(entity.group, text)


def by_text(context: Context, entity: Entity[Any], text: str) -> Partition:
    """Return the partition of rows whose field that decides it has the value with a text, as views and claims have it."""
    name = entity.partition_by
    if entity.filters[name] == "int" and name not in entity.referring:
        return by_value(context, entity, int(text))
    return context.keyspace.partition(entity.group, text)


def by_record(context: Context, entity: Entity[Any], record: Any) -> Partition | None:
    """Return the partition of a record; None if its value is of no use, so that it will be refused."""
    value = getattr(record, entity.partition_by, None)
    if isinstance(value, str) and entity.partition_by in entity.trimmed:
        value = value.strip()
    try:
        return by_value(context, entity, value)
    except ValueError:
        return None


def by_key(context: Context, entity: Entity[Any], key: str) -> Partition | None:
    """Return the partition that follows from a key; None if the key has a home, or no row can have it."""
    if not is_located(entity):
        return None
    if not entity.parts:
        return context.keyspace.partition(entity.group, key)
    try:
        values = entity.key_value(key)
    except ValueError:
        return None
    return by_value(context, entity, values[entity.key_fields.index(entity.partition_by)])


def known_home(context: Context, entity: Entity[Any], key: str) -> Partition | None:
    """Return where this process met a row last, or None."""
    return context.state.homes.get(entity.name, key)


def look_home(context: Context, entity: Entity[Any], key: str) -> Flow[Partition | None]:
    """Return the partition that the home of a key names; None if it has no home, so that there is no row, in no partition."""
    home = yield from find_home(context, Homed(entity, "", key))
    if home is None:
        context.state.homes.drop(entity.name, key)
        return None
    partition = context.keyspace.holder(entity.group, home.place)
    if context.doubling is None:
        context.state.homes.put(entity.name, key, partition)
    return partition


def of_query(context: Context, query: Query) -> list[Partition]:
    """Return the partitions that can have rows of a query: those of the values that its conditions name, or all.

    Raises:
        ValidationError: a filter, value or predicate does not fit the entity.
    """
    entity = query.entity
    group = entity.group
    if len(query.parts) == 1:
        # The fast path: most queries are of one view, without or with one value.
        part = query.parts[0]
        if part.view and not part.filters:
            fields = entity.views[part.view].fields
            if entity.partition_by not in fields:
                return context.keyspace.holders(group)
            value = part.values[fields.index(entity.partition_by)]
            if type(value) is str and value.isascii() and entity.partition_by not in entity.trimmed:
                return [by_value(context, entity, value)]
    found: dict[int, Partition] = {}
    for part in query.parts:
        conditions = conditions_of(query, part)
        if conditions.impossible:
            continue
        values = _values(entity, conditions.equal, conditions.any_of)
        if values is None:
            return context.keyspace.holders(group)
        for value in values:
            partition = by_value(context, entity, value)
            found[partition.index] = partition
    return [found[index] for index in sorted(found)] or [context.keyspace.at(group, 0)]


def _values(entity: Entity[Any], equal: Mapping[str, Any], any_of: Mapping[str, Any]) -> list[Any] | None:
    """Return the values of the field that decides the partition that a row can have; None for any."""
    name = entity.partition_by
    if name in equal:
        return [equal[name]]
    return list(any_of[name]) if name in any_of else None
