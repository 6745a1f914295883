"""A blocking shell that connects at its first run."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

from keyweave.connection.channel import Channel
from keyweave.effects import Flow
from keyweave.sync.shell import Shell

T = TypeVar("T")


class LazyShell(Shell):
    """Lets `begin` prepare the store before the first flow runs, and again at the next run if that failed.

    Runs that come first at the same time prepare it at the same time, so none waits for another one's timeouts.

    Args:
        channel: carries out the effects.
        begin: prepares the store with the shell that it gets, by the monotonic time that it gets, if any. What it returns is
            called once.
    """

    def __init__(self, channel: Channel, begin: Callable[[Shell, float | None], Callable[[], None]]) -> None:
        super().__init__(channel)
        self._begin: Final = begin
        self._lock: Final = Lock()
        self._is_ready = False

    def run(  # noqa: D102 - Shell
        self,
        flow: Flow[T],
        *about: str,
        sleep: Callable[[float], object] = time.sleep,
        budget: float | None = None,
        until: float | None = None,
    ) -> T:
        if not self._is_ready:
            if until is None and budget is not None:
                until = time.monotonic() + budget
            self._prepare(until)
        return super().run(flow, *about, sleep=sleep, budget=budget, until=until)

    def ready(self, until: float | None = None) -> None:
        """Connect now, by the monotonic time `until` if any, unless that has been done.

        Raises:
            StoreUnavailableError: or a subclass: the server cannot be used.
            SchemaMismatchError: the namespace holds an index with another definition.
        """
        if not self._is_ready:
            self._prepare(until)

    def _prepare(self, until: float | None) -> None:
        finish = self._begin(Shell(self.channel), until)
        with self._lock:
            if not self._is_ready:
                finish()
                self._is_ready = True
