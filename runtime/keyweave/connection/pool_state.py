"""What a pool of connections tells about itself, the same for both shells."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class PoolState(NamedTuple):
    """A pool at one moment.

    Attributes:
        open: connections, those being opened included.
        idle: open connections that nobody uses.
        waiting: threads or tasks that wait for a connection.
        most: most connections that the pool opens.
    """

    open: int
    idle: int
    waiting: int
    most: int


class PoolWatch(Protocol):
    """Who is told when somebody had to wait for a connection."""

    def pool_waited(self, seconds: float, *, in_vain: bool) -> None:
        """Somebody waited for a connection; `in_vain` when none came free in time."""
