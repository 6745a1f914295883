"""Writers as threads of one blocking store. Exceptions are thrown into a thread only while it is inside a call."""

from __future__ import annotations

import ctypes
import random
import sys
import threading
import time
import traceback
from copy import copy
from typing import Any, Final

from tools.faults.pulse import STEP, patient
from tools.faults.writers.desk import Desk, place
from tools.faults.writers.messages import Begin, Finished
from tools.faults.writers.operations import draw
from tools.faults.writers.settle import PATIENCE, settle_all
from tools.faults.writers.steps import run_blocking

_THROW: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc
_RECOVERY: Final = 10.0


class Interrupted(BaseException):
    """What a Ctrl-C is to a program: no handler of `Exception` catches it."""


class TimeLimitError(Exception):
    """What the time limit of a job queue is: handlers of `Exception` catch it."""


_THROWN: Final = (Interrupted, TimeLimitError)


class _Writer(threading.Thread):
    """One writer."""

    def __init__(self, desk: Desk, ending: threading.Event, pause: float) -> None:
        super().__init__(daemon=True)
        self.acts: Final[list[Any]] = []
        self.desk: Final = desk
        self._ending: Final = ending
        self._pause: Final = pause
        self._lock: Final = threading.Lock()
        self._armed = False

    def run(self) -> None:
        while not self._ending.is_set():
            operation = draw(self.desk)
            act = self.desk.begin(operation.kind, time.monotonic())
            self.acts.append(act)
            self.desk.note_outcome(self._error_of(operation), time.monotonic())
            self._ending.wait(self.desk.chance.expovariate(1 / self._pause))

    def _error_of(self, operation: Any) -> BaseException | None:
        """Carry out an operation and return its error. An exception may arrive anywhere in here, and only once."""
        error: BaseException | None = None
        try:
            self._armed = True
            try:
                run_blocking(operation.steps(self.desk))
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is reported
                error = raised
            self._disarm()
        except _THROWN as late:
            self._disarm()
            error = late
        return error

    def _disarm(self) -> None:
        with self._lock:
            self._armed = False
            _THROW(ctypes.c_ulong(self.ident or 0), None)

    def interrupt(self, kind: type[BaseException]) -> bool:
        """Throw an exception into the call that runs now. Returns False if there is none."""
        with self._lock:
            if not self._armed or self.ident is None:
                return False
            self._armed = False
            return bool(_THROW(ctypes.c_ulong(self.ident), ctypes.py_object(kind)))


class ThreadCrew:
    """The writers of one process and their store."""

    def __init__(self, order: Begin, models: Any) -> None:
        self._store = models.sync.Store.open(order.url, **order.options)
        self._ending: Final = threading.Event()
        self._interrupted = 0
        self._writers: Final = []
        for number in range(order.first, order.first + order.writers):
            desk = Desk(self._store, "sync", models, number, random.Random(f"{order.seed} {number}"))
            self._writers.append(_Writer(desk, self._ending, order.pause))
        for writer in self._writers:
            writer.start()

    def interrupt(self, number: int, pause: float, seed: int) -> None:
        """Interrupt some calls, one after another."""
        chance = random.Random(seed)
        for _ in range(number):
            if self._ending.wait(chance.expovariate(1 / pause)):
                return
            self._interrupted += chance.choice(self._writers).interrupt(chance.choice(_THROWN))

    def finish(self, patience: float) -> Finished:
        """Let the writers end their calls, close the store, and report."""
        self._ending.set()
        for _ in patient(patience):
            if not any(writer.is_alive() for writer in self._writers):
                break
            time.sleep(STEP)
        for writer in self._writers:
            if writer.is_alive():
                writer.acts[-1].message = _place_of(writer)
        if any(writer.is_alive() for writer in self._writers):
            acts = [copy(act) for writer in self._writers for act in list(writer.acts)]
            return Finished(acts, None, self._interrupted)
        until = time.monotonic() + PATIENCE
        for writer in self._writers:
            run_blocking(settle_all(writer.desk, until))
        recovery = self._recovery()
        state = self._store.session.shell.pool_state()
        pool = (state.open, state.idle, state.waiting) if state is not None else None
        self._store.close()
        acts = [act for writer in self._writers for act in writer.acts]
        return Finished(acts, pool, self._interrupted, recovery)

    def _recovery(self) -> str:
        """Read through the same store again; return the error. A pool without connections may let it wait for ever."""
        errors = [f"no answer within {_RECOVERY:.0f} s"]

        def read() -> None:
            try:
                self._store.items.find("i0")
                errors[0] = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                errors[0] = f"{type(error).__name__}: {error}"

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(_RECOVERY)
        return errors[0]


def _place_of(thread: threading.Thread) -> str:
    """Return where a thread is."""
    frame = sys._current_frames().get(thread.ident or 0)
    return place(traceback.extract_stack(frame)) if frame is not None else ""
