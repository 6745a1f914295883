"""What a connection pool reports about itself, the same for both shells."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class PoolState(NamedTuple):
    """The state of a pool at one moment.

    Attributes:
        open: number of connections, including those that are being opened.
        idle: number of open connections that are not leased.
        waiting: number of threads or tasks that wait for a connection.
        limit: the most connections that the pool opens.
    """

    open: int
    idle: int
    waiting: int
    limit: int

    def plus(self, other: PoolState) -> PoolState:
        """Return the state of two pools together."""
        return PoolState(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class PoolWatch(Protocol):
    """Records every wait for a connection."""

    def pool_waited(self, seconds: float, *, timed_out: bool) -> None:
        """Record that a thread or task waited for a connection; `timed_out` if it got none in time."""
