"""Where rows count at one moment: which partition has the rows of a place, as the registries on the servers say."""

from __future__ import annotations

from typing import Any, Final

from keyweave.homes.home import place_in
from keyweave.keyspace.doubling import Doubling
from keyweave.keyspace.keys import Keyspace, Partition
from keyweave.model.entity import Entity, Package
from keyweave.store.context import Context
from keyweave.store.registry import DOUBLING, PARTITIONS
from tools.simulate.partitions.arena import GROUP, keyspace
from tools.simulate.partitions.masters import Masters

_NUMBER: Final = PARTITIONS.encode()
_DOUBLING: Final = DOUBLING.encode()


class Standing:
    """Reads the registries past every flow.

    Args:
        masters: the servers.
        whole: every partition that there may be.
        package: of the rows.
    """

    def __init__(self, masters: Masters, whole: Keyspace, package: Package) -> None:
        self._masters: Final = masters
        self._whole: Final = whole
        self._package: Final = package
        self._known: Final[dict[tuple[int, int, frozenset[int]], Keyspace]] = {}
        self._places: Final[dict[bytes, int]] = {}

    def keyspace(self) -> Keyspace:
        """The partitions at this moment, and which of them are being doubled."""
        number = self._field(0, _NUMBER) or 1
        target = self._field(0, _DOUBLING)
        moved = frozenset(index for index in range(target // 2) if self._field(index, _NUMBER) >= target)
        seen = number, target, moved
        found = self._known.get(seen)
        if found is None:
            found = self._known[seen] = keyspace(self._package, 1)
            doublings = {GROUP: Doubling(target, moved)} if target else {}
            found.spread({GROUP: target or number}, doublings)
        return found

    def _field(self, index: int, name: bytes) -> int:
        partition = self._whole.at(GROUP, index)
        registry = self._masters.node_of(partition).database.values.get(partition.schema.encode())
        return int(registry.get(name, 0)) if isinstance(registry, dict) else 0

    def place_of_row(self, context: Context, entity: Entity[Any], document: bytes) -> int:
        """The place of a stored row."""
        found = self._places.get(document)
        if found is None:
            record = context.codecs[entity.name].load(document)
            found = self._places[document] = place_in(entity, record)
        return found

    def has_row(self, context: Context, partition: Partition, entity: Entity[Any], document: bytes) -> bool:
        """Whether a document in a partition is a row: it is none in a twin that is filled, nor where it has moved from."""
        place = self.place_of_row(context, entity, document)
        return self.keyspace().holder(GROUP, place).index == partition.index
