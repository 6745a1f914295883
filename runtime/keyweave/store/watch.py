"""Where a store's telemetry goes, as far as flows and shells need to know. `keyweave.telemetry` implements it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from keyweave.store.stats import EventSink


class Watch(EventSink, Protocol):
    """Watches the operations, the pool and the server of one store."""

    server: Any
    """The latest state of the server, for gauges; None before the first look at it."""

    @property
    def instruments(self) -> Any:
        """Where metrics go; None without them."""

    def watcher(
        self, entity: str, *, inside: bool
    ) -> Callable[[tuple[str, ...]], AbstractContextManager[None]]:
        """What times the operations of an entity's repository (empty: of the store), `inside` a transaction or not."""

    def attach(self, pool_state: Callable[[], Any], refresh: Callable[[], None]) -> None:
        """Say how gauges are read: the pool's state, and what looks at the server again."""

    def pool_waited(self, seconds: float, *, timed_out: bool) -> None:
        """Record a wait for a connection; `timed_out` if it got none in time."""
