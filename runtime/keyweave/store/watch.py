"""The telemetry interface of flows and shells. `keyweave.telemetry` implements it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from keyweave.store.stats import EventSink


class Watch(EventSink, Protocol):
    """Measures the operations, the pool and the server of one store."""

    server: Any
    """The latest known state of the server, for gauges; None before the first one."""

    @property
    def instruments(self) -> Any:
        """The instruments that receive metrics; None without metrics."""

    def watcher(
        self, entity: str, *, inside: bool
    ) -> Callable[[tuple[str, ...]], AbstractContextManager[None]]:
        """Return a function that times one operation: it maps the operation's name (and view) to a context manager.

        Args:
            entity: name of the repository's entity; empty for operations of the store.
            inside: whether the repository belongs to a transaction.
        """

    def attach(self, pool_state: Callable[[], Any], refresh: Callable[[], None]) -> None:
        """Set the sources of gauges: `pool_state` returns the pool's state, `refresh` updates `server`."""

    def placed(self, group: str, number: int) -> None:
        """Note that the operation that runs now uses a partition of a group with several."""

    def pool_waited(self, seconds: float, *, timed_out: bool) -> None:
        """Record a wait for a connection; `timed_out` if it got none in time."""
