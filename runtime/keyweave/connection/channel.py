"""What a shell needs of a connection: a channel sends pipelines, each exactly once, and knows nothing about their meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, Reply


class Channel(Protocol):
    """Sends pipelines to a store's servers. Safe to share between threads."""

    @property
    def settings(self) -> ConnectionSettings:
        """Where the servers are, and the limits of an exchange."""

    def exchange(
        self,
        commands: Sequence[Command],
        until: float | None = None,
        within: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        """Send commands as one pipeline, once, and return their replies in order; an error reply is a `ServerError` value.

        Args:
            commands: the pipeline.
            until: the monotonic time after which nothing is sent; waiting and connecting end by then.
            within: seconds that the exchange may take; the channel's own timeout by default.
            meanwhile: called, unless sending fails, when the commands are sent. Its time counts, but a moment is left to read what has come.

        Raises:
            ConnectionFailure: the connection cannot be used; it says whether the commands may have been received.
            StoreUnavailableError: the channel is closed.
        """

    def state(self) -> PoolState | None:
        """Return the state of the pool of connections; None once the channel is closed."""

    def watch(self, watch: PoolWatch) -> None:
        """Let `watch` record every wait for a connection."""

    def close(self) -> None:
        """Close what belongs to the channel: idle connections now, others after their exchange. Harmless when repeated."""


class AsyncChannel(Protocol):
    """The asyncio twin of `Channel`. It belongs to the event loop of its first exchange."""

    @property
    def settings(self) -> ConnectionSettings:
        """Where the servers are, and the limits of an exchange."""

    async def exchange(
        self, commands: Sequence[Command], until: float | None = None, within: float | None = None, /
    ) -> list[Reply]:
        """As `Channel.exchange`. The shell does by itself what a flow does meanwhile.

        Raises:
            ConfigurationError: another event loop than that of the first exchange runs.
        """

    def state(self) -> PoolState | None:
        """As `Channel.state`."""

    def watch(self, watch: PoolWatch) -> None:
        """As `Channel.watch`."""

    async def close(self) -> None:
        """As `Channel.close`."""
