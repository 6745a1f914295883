"""Homes without a row or unique value: they mean nothing, and are found and removed a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.by_partition import Failures, each_partition
from keyweave.exchange.together import together
from keyweave.homes.claim import vacate
from keyweave.homes.home import Home, Homed, has_homes, is_located, not_after, read_home
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_COUNT: Final = 500
"""Homes that are read at once."""


def hashes_of(
    context: Context, partitions: Sequence[Partition] | None = None
) -> Iterator[tuple[Partition, Homed]]:
    """Yield every hash of homes that a store may have: its partition, and what has homes in it, without a value.

    Args:
        partitions: where the homes are; by default all.
    """
    for partition in context.keyspace.partitions() if partitions is None else partitions:
        if context.keyspace.number(partition.group) == 1:
            continue
        for entity in context.package.entities.values():
            if entity.group != partition.group:
                continue
            if not is_located(entity):
                yield partition, Homed(entity, "", "")
            for unique in entity.uniques:
                if has_homes(entity, unique):
                    yield partition, Homed(entity, unique, "")


class VacantHomes:
    """Iterates over the homes without a row or unique value.

    Args:
        context: of the store.
        partitions: where the homes are; by default all.
    """

    __slots__ = ("_context", "_cursor", "_waiting")

    def __init__(self, context: Context, partitions: Sequence[Partition] | None = None) -> None:
        self._context: Final = context
        self._waiting: Final = list(hashes_of(context, partitions))
        self._cursor = 0

    @property
    def done(self) -> bool:
        """Whether all homes were returned."""
        return not self._waiting

    def read(self) -> Flow[list[tuple[Partition, Homed, Home]]]:
        """Return the next ones, with the partitions that hold them. An insert that has just set a home may be about to write its row.

        A home in another partition than its own was set by a client that stood still while partitions were doubled. No client looks there.
        """
        partition, kind = self._waiting[-1]
        key = partition.homes(kind.entity.name, kind.unique)
        (reply,) = yield from ask(self._context, (("HSCAN", key, self._cursor, "COUNT", _COUNT),))
        self._cursor, flat = int(reply[0]), reply[1]
        if not self._cursor:
            self._waiting.pop()
        homes = [
            (Homed(kind.entity, kind.unique, value.decode()), read_home(home))
            for value, home in zip(flat[0::2], flat[1::2], strict=True)
        ]
        if not homes:
            return []
        there = yield from ask(
            self._context, tuple([presence(self._context, thing, home) for thing, home in homes])
        )
        return [
            (partition, thing, home)
            for (thing, home), found in zip(homes, there, strict=True)
            if not found or thing.at(self._context) is not partition
        ]


def presence(context: Context, thing: Homed, home: Home) -> Command:
    """Return the command that asks whether the partition of a home has the row or unique value."""
    partition = context.keyspace.holder(thing.entity.group, home.place)
    if thing.unique:
        return ("HGET", partition.claims(thing.entity.name, thing.unique), thing.value)
    return ("EXISTS", partition.document(thing.entity.name, thing.value))


def remove_vacant(context: Context, failures: Failures) -> Flow[int]:
    """Remove all homes without a row or unique value, and return their number.

    Args:
        failures: gets the partitions where that fails, and has those that are left out.
    """

    def remove(partition: Partition) -> Flow[int]:
        found = VacantHomes(context, [partition])
        removed = 0
        while not found.done:
            removed += yield from remove_next(context, found)
        return removed

    removed = yield from each_partition(context, context.keyspace.partitions(), remove, failures)
    return sum(removed.values())


def remove_next(context: Context, found: VacantHomes) -> Flow[int]:
    """Read the next homes, remove those without a row or unique value, and return their number."""
    vacant = yield from found.read()
    flows = [
        vacate(context, thing) if thing.at(context) is partition else _drop(context, partition, thing, home)
        for partition, thing, home in vacant
    ]
    return sum((yield from together(context, flows)))


def _drop(context: Context, partition: Partition, thing: Homed, home: Home) -> Flow[bool]:
    """Remove a home from a partition that is not its own. Returns whether it was as it was read."""
    key = partition.homes(thing.entity.name, thing.unique)
    arguments = (thing.value, home.stored, not_after(context, partition))
    reply = yield from ask_script(context, "release_home", (key,), arguments)
    return bool(reply[0] == b"GONE")
