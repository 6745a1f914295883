"""The registry of a partition: which indexes it holds, whether they are complete, and what wrote here without keeping them.

It is a hash, written when a schema is new to the namespace, by builds, and by `apply`: a writer that is not
the current one counts its writes there, so that an index which it does not keep is known to have missed them.

    current            the writer that opened the namespace last among those that were new to it
    fingerprint        of that writer's schema
    index:<stored>     definition, whether it was built, and how many writes it had missed by then
    writer:<digest>    the indexes that this writer keeps
    behind:<digest>    writes of this writer while it was not the current one
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
_INDEX: Final = "index:"
_WRITER: Final = "writer:"
_BEHIND: Final = "behind:"


class IndexState(msgspec.Struct, frozen=True):
    """What the registry says of one index.

    Attributes:
        definition: what its entries are made of.
        built: whether it was complete once.
        missed: writes of others that it had missed by then, and that were made up for.
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
        fingerprint: of the current writer's schema, or None.
        indexes: by what the keys of an index begin with.
        writers: the indexes that each writer keeps, by digest.
        behind: writes of each writer while it was not the current one.
    """

    current: str | None = None
    fingerprint: str | None = None
    indexes: dict[str, IndexState] = field(default_factory=dict)
    writers: dict[str, frozenset[str]] = field(default_factory=dict)
    behind: dict[str, int] = field(default_factory=dict)

    def missed(self, stored: str) -> int:
        """Writes of those who do not keep the index `stored`."""
        return sum(
            number for writer, number in self.behind.items() if stored not in self.writers.get(writer, ())
        )

    def is_built(self, stored: str) -> bool:
        """Whether an index has an entry for every row: it was built, and nobody has written past it since."""
        state = self.indexes.get(stored)
        return state is not None and state.built and state.missed == self.missed(stored)


def read_registry(flat: Sequence[bytes]) -> Registry:
    """The registry in a reply to HGETALL.

    Raises:
        CorruptDocumentError: it holds something that Keyweave did not write.
    """
    registry = Registry()
    try:
        for position in range(0, len(flat), 2):
            name, value = flat[position].decode(), flat[position + 1]
            if name == CURRENT:
                registry.current = value.decode()
            elif name == FINGERPRINT:
                registry.fingerprint = value.decode()
            elif name.startswith(_INDEX):
                registry.indexes[name.removeprefix(_INDEX)] = _state(value)
            elif name.startswith(_WRITER):
                registry.writers[name.removeprefix(_WRITER)] = frozenset(_names(value))
            elif name.startswith(_BEHIND):
                registry.behind[name.removeprefix(_BEHIND)] = int(value)
    except (ValueError, msgspec.MsgspecError):
        raise CorruptDocumentError("the registry of a partition (@schema) cannot be read") from None
    return registry


def registration_commands(
    package: Package, own: Mapping[str, Index], registry: Registry, key: str
) -> list[Command]:
    """The commands that make a schema known to a partition; none when it is known.

    Args:
        own: this schema's indexes in the partition.
        registry: what the partition says now. Without a current writer its data, if any, was written by this
            schema before there were registries, or it lost its registry.
    """
    commands: list[Command] = []
    for stored, index in own.items():
        if stored not in registry.indexes:
            whole = registry.current is None and all(stored in kept for kept in registry.writers.values())
            commands.append(("HSETNX", key, _INDEX + stored, state_text(index, built=whole)))
    if package.writer not in registry.writers or registry.current is None:
        kept = msgspec.json.encode(sorted(own))
        commands.append(("HSET", key, _WRITER + package.writer, kept))
        commands.append(("HSET", key, CURRENT, package.writer, FINGERPRINT, package.fingerprint))
    return commands


def state_text(index: Index, *, built: bool, missed: int = 0) -> bytes:
    """What the registry says of an index, as it is stored."""
    return msgspec.json.encode(IndexState(index.of.definition, built, missed))


def index_field(stored: str) -> str:
    """The field of an index in the registry."""
    return _INDEX + stored
