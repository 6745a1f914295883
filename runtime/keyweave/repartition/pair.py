"""A partition and its twin, and the suffixes of their clocks while rows move from one to the other."""

from __future__ import annotations

from typing import Final

from keyweave.keyspace.keys import Partition


class Pair:
    """A partition that is split, and its twin.

    Attributes:
        source: the partition.
        twin: what gets the rows whose place has the bit `half`.
        half: number of partitions before.
        frozen: whether nothing changes in the partition any more.
    """

    def __init__(self, source: Partition, twin: Partition, half: int, token: int) -> None:
        self.source: Final = source
        self.twin: Final = twin
        self.half: Final = half
        self.frozen = False
        self._token: Final = token

    @property
    def target(self) -> int:
        """The number of partitions afterwards."""
        return 2 * self.half

    @property
    def filling(self) -> str:
        """The suffix of the twin's clock while this process fills it."""
        return f" {self.target} filling{self._token}"

    @property
    def phase(self) -> str:
        """The suffix of the partition's clock before its rows have moved."""
        return f" {self.target} {'frozen' if self.frozen else 'copy'}"

    @property
    def moved(self) -> str:
        """The suffix of both clocks when the rows have moved."""
        return f" {self.target} moved"
