"""The doubling of a group's partitions, as a store knows it while it goes on. docs/how-partitions-work.md has the protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Doubling:
    """The doubling of a group's partitions, as it was when a store read it.

    Attributes:
        target: the number of partitions that there will be.
        moved: numbers of those partitions whose twins have their rows.
    """

    target: int
    moved: frozenset[int] = frozenset()

    @property
    def half(self) -> int:
        """The number of partitions before."""
        return self.target // 2

    def has_rows(self, index: int) -> bool:
        """Return whether a partition has rows: a twin only when they have moved."""
        return index < self.half or index - self.half in self.moved

    def share(self, index: int) -> str:
        """Return what a partition has, as scripts expect it: `all` the rows that it had before, or `half` of them."""
        return "half" if index % self.half in self.moved else "all"

    def agrees(self, index: int, number: bytes | None) -> bool:
        """Return whether the number in the registry of a partition, to which a read was sent, is what this says."""
        found = int(number or 1)
        if not self.has_rows(index):
            return False
        return found == self.target if index % self.half in self.moved else found < self.target
