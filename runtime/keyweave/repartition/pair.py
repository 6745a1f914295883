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
        frozen: the server's time until which nothing changes in the partition, in microseconds; 0 before.
        batch: number of the exchange that changed the twin last.
    """

    def __init__(self, source: Partition, twin: Partition, half: int, token: int) -> None:
        self.source: Final = source
        self.twin: Final = twin
        self.half: Final = half
        self.frozen = 0
        self.batch = 0
        self._token = token

    def begin_again(self) -> None:
        """Give the twin other suffixes: what was sent to it before, and arrives only now, must not be carried out."""
        self._token += 1

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
        return f" {self.target} frozen{self.frozen}" if self.frozen else f" {self.target} copy"

    @property
    def opened(self) -> str:
        """The suffix of the twin's clock when this process has filled it."""
        return f" {self.target} moved{self._token}"

    @property
    def moved(self) -> str:
        """The suffix of the partition's clock when its rows have moved; that of the twin begins with it."""
        return f" {self.target} moved"
