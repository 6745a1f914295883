"""Writers as tasks of one asyncio store, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Coroutine
from copy import copy
from pathlib import Path
from typing import Any, Final

from tools.faults.history import Act
from tools.faults.pulse import STEP, patient
from tools.faults.writers.desk import Desk
from tools.faults.writers.messages import Begin, Finished
from tools.faults.writers.operations import draw
from tools.faults.writers.settle import PATIENCE, settle_all
from tools.faults.writers.steps import run_waiting

_PATIENCE: Final = 30.0
_RECOVERY: Final = 10.0
_SETTLE: Final = 3.0
_FRAMES: Final = ("cr_frame", "gi_frame")


class _Writer:
    """One writer. Each call is a task, so that it can be cancelled alone."""

    def __init__(self, desk: Desk, pause: float) -> None:
        self.acts: Final[list[Act]] = []
        self.ending = False
        self.call: asyncio.Task[Any] | None = None
        self.desk: Final = desk
        self._pause: Final = pause

    async def run(self) -> None:
        while not self.ending:
            operation = draw(self.desk)
            act = self.desk.begin(operation.kind, time.monotonic())
            self.acts.append(act)
            self.call = asyncio.create_task(run_waiting(operation.steps(self.desk)))
            error: BaseException | None = None
            try:
                await self.call
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is reported
                error = raised
            self.call = None
            self.desk.note_outcome(error, time.monotonic())
            await asyncio.sleep(self.desk.chance.expovariate(1 / self._pause))

    def interrupt(self) -> bool:
        """Cancel the call that runs now. Returns False if there is none."""
        return self.call is not None and self.call.cancel()


async def _opened(store: Any, order: Begin) -> Any:
    return await store.open(order.url, **order.options)


class TaskCrew:
    """The writers of one process and their store."""

    def __init__(self, order: Begin, models: Any) -> None:
        self._interrupted = 0
        self._ending: Final = threading.Event()
        self._loop: Final = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._store = self._run(_opened(models.aio.Store, order))
        self._writers: Final = []
        for number in range(order.first, order.first + order.writers):
            desk = Desk(self._store, "aio", models, number, random.Random(f"{order.seed} {number}"))
            self._writers.append(_Writer(desk, order.pause))
        self._running = [
            asyncio.run_coroutine_threadsafe(writer.run(), self._loop) for writer in self._writers
        ]

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)

    def interrupt(self, number: int, pause: float, seed: int) -> None:
        """Cancel some calls, one after another."""
        chance = random.Random(seed)
        for _ in range(number):
            if self._ending.wait(chance.expovariate(1 / pause)):
                return
            self._interrupted += self._run(_cancelled(chance.choice(self._writers)))

    def finish(self, patience: float) -> Finished:
        """Let the writers end their calls, close the store, and report."""
        self._ending.set()
        for writer in self._writers:
            writer.ending = True
        for _ in patient(patience):
            if all(running.done() for running in self._running):
                break
            time.sleep(STEP)
        stuck = not all(running.done() for running in self._running)
        for writer in self._writers:
            if writer.call is not None:
                writer.acts[-1].message = _place_of(writer.call)
        if stuck:
            acts = [copy(act) for writer in self._writers for act in list(writer.acts)]
            return Finished(acts, None, self._interrupted)
        until = time.monotonic() + PATIENCE
        for writer in self._writers:
            self._run(run_waiting(settle_all(writer.desk, until)))
        recovery = self._run(self._recover())
        pool = self._run(self._pool())
        self._run(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        acts = [act for writer in self._writers for act in writer.acts]
        return Finished(acts, pool, self._interrupted, recovery)

    async def _recover(self) -> str:
        try:
            async with asyncio.timeout(_RECOVERY):
                await self._store.items.find("i0")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            return f"{type(error).__name__}: {error}"
        return ""

    async def _pool(self) -> tuple[int, int, int] | None:
        """Return the state of the pool. An abandoned exchange may still be in flight, so it is read for a while."""
        until = time.monotonic() + _SETTLE
        while True:
            state = self._store.session.shell.pool_state()
            if state is None:
                return None
            if (state.open == state.idle and not state.waiting) or time.monotonic() >= until:
                return state.open, state.idle, state.waiting
            await asyncio.sleep(0.01)


def _place_of(task: asyncio.Task[Any]) -> str:
    """Return where a task waits: the frames of its chain of coroutines and generators."""
    names: list[str] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = next((found for name in _FRAMES if (found := getattr(waiting, name, None)) is not None), None)
        if frame is not None:
            names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        waiting = getattr(waiting, "cr_await", None)
    return ", ".join(names)


async def _cancelled(writer: _Writer) -> bool:
    return writer.interrupt()
