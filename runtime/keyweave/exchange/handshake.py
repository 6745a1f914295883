"""The handshake of a store with its namespace: it registers the schema's indexes and finds out which are not built.

Once an index is registered in a namespace with data, every write keeps it, but rows that were written before have no
entry in it. Reading the index is refused until `keyweave backfill` has built it.
"""

from __future__ import annotations

from typing import Any, Final

from keyweave.effects import Command, Flow, ServerError
from keyweave.errors import (
    AuthenticationError,
    SchemaMismatchError,
    StoreReadOnlyError,
    ViewNotBuiltError,
)
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import TIME, micros_of
from keyweave.keyspace.doubling import Doubling
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity, Index
from keyweave.store.context import Context
from keyweave.store.registry import (
    CURRENT,
    CURSORS,
    DOUBLING,
    PARTITIONS,
    Registry,
    read_registry,
    registration_commands,
    unreadable,
)

_REFUSED: Final = (StoreReadOnlyError, AuthenticationError)
_LAPSED: Final = -1e9
"""A monotonic time at which no lease of now was taken."""

_ON_A_REPLICA: Final = frozenset({"READONLY"})


def handshake(context: Context) -> Flow[None]:
    """Register this schema in every partition, and update the set of indexes that must not be read yet.

    The store also learns the secret of the namespace's cursors, or sets it.

    On a replica, or with a user that may not write, nothing is registered. Without a registry, what indexes a partition
    with rows has is not known, so none of them counts as built.

    Raises:
        SchemaMismatchError: the namespace has an index with another definition, or a group with another number of partitions.
        CorruptDocumentError: a registry cannot be read.
        StoreUnavailableError: or a subclass.
    """
    began, greeted = context.monotonic(), context.state.spreads
    partitions = context.keyspace.partitions()
    registries, written = yield from _read_with_clocks(context, partitions)
    if (yield from adopt(context, partitions, registries)):
        greeted = context.state.spreads
        partitions = context.keyspace.partitions()
        registries, written = yield from _read_with_clocks(context, partitions)
    commands: list[Command] = []
    _require_numbers(context, partitions, registries)
    for partition, registry in zip(partitions, registries, strict=True):
        own = indexes_of(context, partition)
        for stored, index in own.items():
            state = registry.indexes.get(stored)
            if state is not None and state.definition != index.of.definition:
                raise SchemaMismatchError(
                    f"{index.name}: the namespace defines it as ({state.definition}), this code defines it as "
                    f"({index.of.definition}); give it the next `generation` in the schema"
                )
        commands += registration_commands(
            context.package, own, registry, partition.schema, empty=partition not in written
        )
    if registries[0].cursors is None:
        commands.append(("HSETNX", partitions[0].schema, CURSORS, context.state.cursors.hex()))
    if commands:
        try:
            replies = yield from ask(context, tuple(commands), tolerated=_ON_A_REPLICA)
        except _REFUSED:
            pass
        else:
            if not any(type(reply) is ServerError for reply in replies):
                registries = yield from read_registries(context, partitions)
                _require_numbers(context, partitions, registries)
    context.state.known = began
    context.state.greeted = greeted
    context.state.cursors = registries[0].cursors or context.state.cursors
    unbuilt = {
        index.name
        for partition, registry in zip(partitions, registries, strict=True)
        if registry.current is not None or partition in written
        for stored, index in indexes_of(context, partition).items()
        if not registry.is_built(stored)
    }
    # Other threads read the set at the same time, so an index that stays unbuilt must never leave it.
    context.state.unbuilt.update(unbuilt)
    context.state.unbuilt.intersection_update(unbuilt)


def adopt(context: Context, partitions: list[Partition], registries: list[Registry]) -> Flow[bool]:
    """Learn how many partitions each group has, from the registries of the first ones, and set it in a new namespace.

    Args:
        partitions: of the keyspace; of each group one, before the numbers are known.

    Returns:
        Whether the keyspace has other partitions now.

    Raises:
        SchemaMismatchError: the caller asked for another number.
    """
    numbers, targets = dict(context.keyspace.numbers), dict[str, int]()
    for partition, registry in zip(partitions, registries, strict=True):
        group = partition.group
        if partition.index:
            continue
        number = registry.partitions
        if registry.doubling:
            targets[group] = number = registry.doubling
            if context.state.known == 0.0 and context.wanted.get(group) not in (None, number, number // 2):
                raise _other_number(group, number, context.wanted[group])
            numbers[group] = number
            continue
        if context.state.known:
            # The store is open: its group may have been doubled since, and is not another one than the caller asked for.
            numbers[group] = number if registry.numbered or registry.current is not None else numbers[group]
            continue
        if numbers[group] > 1 and not registry.numbered:
            continue
        wanted = context.wanted.get(group)
        if not registry.numbered:
            first = wanted or context.package.groups[group]
            if first > 1 and registry.current is None:
                number = yield from _set_number(context, partition, first)
        if wanted is not None and wanted != number:
            raise _other_number(group, number, wanted)
        numbers[group] = number
    return (yield from _spread(context, numbers, targets))


def _spread(context: Context, numbers: dict[str, int], targets: dict[str, int]) -> Flow[bool]:
    """Set the numbers of partitions, and what has moved of groups that are being doubled. Returns whether anything is new."""
    doublings = {}
    for group, target in targets.items():
        moved = yield from _moved(context, group, target)
        doublings[group] = Doubling(target, moved)
    if numbers == context.keyspace.numbers and doublings == context.keyspace.doublings:
        return False
    context.spread(numbers, doublings)
    context.state.spreads += 1
    return True


def _moved(context: Context, group: str, target: int) -> Flow[frozenset[int]]:
    """Return the numbers of the partitions whose twins have their rows, while a group is being doubled."""
    partitions = context.keyspace.first(group, target // 2)
    replies = yield from ask(context, tuple(("HGET", each.schema, PARTITIONS) for each in partitions))
    return frozenset(
        each.index
        for each, number in zip(partitions, replies, strict=True)
        if number is not None and int(number) >= target
    )


def learn_numbers(context: Context) -> Flow[None]:
    """Learn how many partitions each group has, and which are being doubled: while a store is open, or for a context that opens none.

    Raises:
        CorruptDocumentError: a registry cannot be read.
        StoreUnavailableError: or a subclass.
    """
    began = context.monotonic()
    first = [context.keyspace.at(group, 0) for group in context.keyspace.numbers]
    fields = (PARTITIONS, DOUBLING, CURRENT)
    flat = yield from ask(context, tuple(("HGET", each.schema, name) for each in first for name in fields))
    replies = [flat[start : start + 3] for start in range(0, len(flat), 3)]
    numbers, targets = dict(context.keyspace.numbers), dict[str, int]()
    for partition, (number, doubling, current) in zip(first, replies, strict=True):
        try:
            if doubling is not None:
                numbers[partition.group] = targets[partition.group] = int(doubling)
            elif number is not None or current is not None:
                numbers[partition.group] = int(number or 1)
        except ValueError:
            raise unreadable() from None
    yield from _spread(context, numbers, targets)
    if context.state.known:
        if context.state.greeted != context.state.spreads:
            context.state.known = (
                _LAPSED  # if the handshake fails, the next operation begins with another one
            )
            yield from handshake(context)
        context.state.known = began


def _set_number(context: Context, first: Partition, number: int) -> Flow[int]:
    """Set the number of partitions of a group whose namespace is new, and return the one that it has then."""
    try:
        reply = yield from ask_script(context, "adopt", (first.schema,), (number,))
    except _REFUSED:
        return number  # on a replica, or with a user that may not write, there is nothing to read elsewhere
    return int(reply[1])


def _other_number(group: str, number: int, opened: int) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"group {group}: the namespace has {_partitions(number)}, and the store was opened with {opened}; "
        f"leave out partitions, or open it with partitions={{{group!r}: {number}}}"
    )


def _partitions(number: int) -> str:
    return f"{number} partition{'s' if number > 1 else ''}"


def _require_numbers(context: Context, partitions: list[Partition], registries: list[Registry]) -> None:
    """Refuse a namespace whose group has another number of partitions: this store would look for rows in the wrong ones."""
    for partition, registry in zip(partitions, registries, strict=True):
        number = context.keyspace.number(partition.group)
        if registry.doubling or partition.index:
            continue
        if registry.partitions != number and (registry.numbered or registry.current):
            raise _other_number(partition.group, registry.partitions, number)


def _read_with_clocks(
    context: Context, partitions: list[Partition]
) -> Flow[tuple[list[Registry], set[Partition]]]:
    """Return the registry of each of `partitions`, and those partitions that have a clock: rows were written there.

    On a cluster this also sets the store's clock of each server, by which each write names its latest time.
    """
    more: list[Command] = [TIME] if context.clustered else []
    commands: list[Command] = []
    for partition in partitions:
        commands += [("HGETALL", partition.schema), ("EXISTS", partition.clock), *more]
    replies = yield from ask(context, tuple(commands))
    step = 2 + len(more)
    if more:
        for partition, time in zip(partitions, replies[2::step], strict=True):
            context.clock(partition).set(micros_of(time))
    written = {partition for partition, found in zip(partitions, replies[1::step], strict=True) if found}
    return [read_registry(reply) for reply in replies[::step]], written


def read_registries(context: Context, partitions: list[Partition]) -> Flow[list[Registry]]:
    """Return the registry of each of `partitions`.

    Raises:
        CorruptDocumentError: a registry cannot be read.
    """
    replies = yield from ask(context, tuple(("HGETALL", partition.schema) for partition in partitions))
    return [read_registry(reply) for reply in replies]


def indexes_of(context: Context, partition: Partition) -> dict[str, Index]:
    """Return this schema's indexes in a partition, by the prefix of their keys."""
    return {
        stored: index
        for stored, index in context.package.indexes.items()
        if index.entity.group == partition.group
    }


def require_built(context: Context, entity: Entity[Any], name: str) -> Flow[None]:
    """Check that an index may be read. The handshake is repeated, because a build may have completed meanwhile.

    Raises:
        ViewNotBuiltError: the index is still not built.
    """
    if f"{entity.name}.{name}" not in context.unbuilt:
        return
    yield from handshake(context)
    if f"{entity.name}.{name}" in context.unbuilt:
        raise not_built(entity, name)


def not_built(entity: Entity[Any], name: str) -> ViewNotBuiltError:
    """Return the error for reading an index that is not built."""
    return ViewNotBuiltError(
        f"{entity.name}.{name} is new to this namespace and not built yet; run: keyweave backfill {entity.name}.{name}",
        entity=entity.name,
        view=name,
    )
