"""The asyncio sweeper: a task that removes rows past their deadline while the program does other things."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Final

from keyweave.aio.shell import Shell
from keyweave.expiry.tend import Pace, SweepProgress, tend
from keyweave.store.context import Context

_LOG: Final = logging.getLogger("keyweave")


class Sweeper:
    """Sweeps in a task. Use it as an async context manager, or `start` and `stop` it; closing its store stops it too.

    Any number of sweepers, in any number of processes, may work on one store: the guards of their plans decide who
    removes a row.

    Attributes:
        progress: what it has done, and whether it fails.
    """

    def __init__(self, shell: Shell, context: Context, pace: Pace) -> None:
        self.progress: Final = SweepProgress()
        self._shell = shell
        self._context = context
        self._pace = pace
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it sweeps."""
        return self._task is not None and not self._task.done()

    def start(self) -> Sweeper:
        """Begin to sweep on the running event loop; nothing happens when it does already."""
        if not self.running:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="keyweave-sweeper")
        return self

    async def stop(self) -> None:
        """End the sweeping. A step is atomic on the server, so nothing is left half done."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _work(self) -> None:
        self._context.state.sweepers += 1
        try:
            await self._shell.run(tend(self._context, self._pace, self.progress))
        except Exception:  # noqa: BLE001 - whoever started it is not here to be told
            _LOG.exception("sweeper: ended by a fault of its own")
        finally:
            self._context.state.sweepers -= 1

    async def __aenter__(self) -> Sweeper:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
