"""The registry of a partition: its indexes, whether they are complete, and the writes that they have missed.

The registry is a hash. A store writes it when its schema is new to the namespace, builds write it, and so does
`apply`: a writer other than the current one counts its writes there, because the indexes that it does not keep miss
them. A writer is the code of one schema, identified by the digest of its indexes.

    current            digest of the writer that registered last, or wrote the first row without a registry
    fingerprint        fingerprint of its schema; among schemas with the same indexes, of the one that was opened last
    index:<stored>     definition of the index, whether it was built, and how many writes it had missed by then
    writer:<digest>    the indexes that this writer keeps
    cursors            the secret that encrypts cursors, in the first partition only
    behind:<digest>    number of writes of this writer while it was not the current one
    partitions         number of partitions of the group for which this one has its rows: in the first one, and in those that a
                       doubling has changed; absent if there is one
    doubling           number of partitions that there will be, in the first one only, while they are doubled
    held:<op>          in the first partition only, while a command of an administrator works on the namespace: the server's time
                       at which that ends unless it is renewed, in microseconds, and the command
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keyweave.effects import Command
from keyweave.errors import CorruptDocumentError
from keyweave.model.entity import Index, Package

CURRENT: Final = "current"
FINGERPRINT: Final = "fingerprint"
CURSORS: Final = "cursors"
PARTITIONS: Final = "partitions"
DOUBLING: Final = "doubling"
HELD: Final = "held:"
_INDEX: Final = "index:"
_WRITER: Final = "writer:"
_BEHIND: Final = "behind:"


class IndexState(msgspec.Struct, frozen=True):
    """The registered state of one index.

    Attributes:
        definition: the definition of its entries.
        built: whether it has been complete: a build completed it, or the namespace began with it.
        missed: number of writes of other writers that it had missed by then, and that the build made up for.
    """

    definition: str
    built: bool
    missed: int = 0


_state: Final = msgspec.json.Decoder(IndexState).decode
_names: Final = msgspec.json.Decoder(list[str]).decode


@dataclass(slots=True)
class Registry:
    """One partition's registry.

    Attributes:
        current: digest of the current writer, or None in a namespace that no schema has opened.
        fingerprint: fingerprint of the current writer's schema, or None.
        indexes: state of each index, by the prefix of its keys.
        writers: the indexes that each writer keeps, by the writer's digest.
        cursors: the secret that encrypts cursors, or None.
        partitions: number of partitions of the group.
        doubling: number of partitions that there will be, while they are doubled; 0 otherwise.
        numbered: whether it is registered; a group with one partition has no number in its registry.
        behind: number of writes of each writer while it was not the current one, by the writer's digest.
    """

    current: str | None = None
    fingerprint: str | None = None
    indexes: dict[str, IndexState] = field(default_factory=dict)
    writers: dict[str, frozenset[str]] = field(default_factory=dict)
    behind: dict[str, int] = field(default_factory=dict)
    cursors: bytes | None = field(default=None, repr=False)
    partitions: int = 1
    numbered: bool = False
    doubling: int = 0

    def missed(self, stored: str) -> int:
        """Return the number of writes by writers that do not keep the index `stored`."""
        return sum(
            number for writer, number in self.behind.items() if stored not in self.writers.get(writer, ())
        )

    def is_built(self, stored: str) -> bool:
        """Return whether an index has an entry for every row: it was built, and no write has bypassed it since."""
        state = self.indexes.get(stored)
        return state is not None and state.built and state.missed == self.missed(stored)


def read_registry(flat: Sequence[bytes]) -> Registry:
    """Return the registry in a reply to HGETALL.

    Raises:
        CorruptDocumentError: the registry holds something that Keyweave did not write.
    """
    registry = Registry()
    try:
        for position in range(0, len(flat), 2):
            name, value = flat[position].decode(), flat[position + 1]
            if name == CURRENT:
                registry.current = value.decode()
            elif name == FINGERPRINT:
                registry.fingerprint = value.decode()
            elif name == CURSORS:
                registry.cursors = bytes.fromhex(value.decode())
            elif name == PARTITIONS:
                registry.partitions, registry.numbered = int(value), True
            elif name == DOUBLING:
                registry.doubling = int(value)
            elif name.startswith(_INDEX):
                registry.indexes[name.removeprefix(_INDEX)] = _state(value)
            elif name.startswith(_WRITER):
                registry.writers[name.removeprefix(_WRITER)] = frozenset(_names(value))
            elif name.startswith(_BEHIND):
                registry.behind[name.removeprefix(_BEHIND)] = int(value)
    except (ValueError, msgspec.MsgspecError):
        raise unreadable() from None
    return registry


def unreadable() -> CorruptDocumentError:
    """Return the error of a registry that holds something that Keyweave did not write."""
    return CorruptDocumentError("the registry of a partition (@schema) cannot be read")


def registration_commands(
    package: Package, own: Mapping[str, Index], registry: Registry, key: str, *, empty: bool
) -> list[Command]:
    """Return the commands that register a schema in a partition; empty when it is registered.

    Args:
        own: this schema's indexes in the partition.
        registry: the present registry. It may be lost, by FLUSHALL beside an open store or in any other way. `apply`
            then notes the writer that wrote the first row of the empty partition.
        key: the key of the registry.
        empty: whether the partition has no clock, so that no row was ever written there.
    """
    commands: list[Command] = []
    # Every row was written by code that keeps this schema's indexes.
    begun = registry.current == package.writer and not registry.writers
    complete = begun or (empty and registry.current is None)
    for stored, index in own.items():
        if stored not in registry.indexes:
            commands.append(("HSETNX", key, _INDEX + stored, state_text(index, built=complete)))
    if package.writer not in registry.writers or registry.current is None:
        kept = msgspec.json.encode(sorted(own))
        commands.append(("HSET", key, _WRITER + package.writer, kept))
        commands.append(("HSET", key, CURRENT, package.writer, FINGERPRINT, package.fingerprint))
    elif registry.current == package.writer and registry.fingerprint != package.fingerprint:
        # The same indexes, and a schema that differs elsewhere: the namespace carries the one that was opened last.
        commands.append(("HSET", key, FINGERPRINT, package.fingerprint))
    return commands


def state_text(index: Index, *, built: bool, missed: int = 0) -> bytes:
    """Return the state of an index as the registry stores it."""
    return msgspec.json.encode(IndexState(index.of.definition, built, missed))


def index_field(stored: str) -> str:
    """Return the field of an index in the registry."""
    return _INDEX + stored
