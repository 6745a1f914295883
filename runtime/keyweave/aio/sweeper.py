"""The asyncio sweeper: a task that removes rows past their deadline."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Final

from keyweave.aio.shell import Shell
from keyweave.errors import KeyweaveError
from keyweave.expiry.tend import Pace, SweepProgress, note_failure, tend
from keyweave.store.context import Context

_LOG: Final = logging.getLogger("keyweave")


_RUNNING: Final[set[asyncio.Task[None]]] = set()
"""The tasks of all running sweepers: an event loop holds none, and the caller need not keep the sweeper."""


class Sweeper:
    """Sweeps in a task. Use it as an async context manager, or call `start` and `stop`. Closing its store also stops it.

    Any number of sweepers, in any number of processes, may work on one store: the guards of their plans decide which of
    them removes a row.

    Attributes:
        progress: what it has done, and whether it is failing.
    """

    def __init__(self, shell: Shell, context: Context, pace: Pace) -> None:
        self.progress: Final = SweepProgress()
        self._shell = shell
        self._context = context
        self._pace = pace
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the sweeper is running."""
        return self._task is not None and not self._task.done()

    def start(self) -> Sweeper:
        """Start the task on the running event loop, unless it is running. Returns this sweeper."""
        if not self.running:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="keyweave-sweeper")
            _RUNNING.add(self._task)
            self._task.add_done_callback(_RUNNING.discard)
        return self

    async def stop(self) -> None:
        """Cancel the task and wait for it. A step is atomic on the server, so no row is left half removed."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _work(self) -> None:
        self._context.state.sweepers += 1
        try:
            while not await self._ready():
                pass
            await self._shell.run(tend(self._context, self._pace, self.progress))
        except Exception:  # noqa: BLE001 - no caller is there to receive it
            _LOG.exception("sweeper: ended by an unexpected error")
        finally:
            self._context.state.sweepers -= 1

    async def _ready(self) -> bool:
        """Connect, where the first run would; after an error pause, and return False."""
        try:
            await self._shell.ready()
        except KeyweaveError as error:
            await asyncio.sleep(note_failure(self._context, self.progress, error))
            return False
        return True

    async def __aenter__(self) -> Sweeper:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
