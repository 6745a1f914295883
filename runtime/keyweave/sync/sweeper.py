"""The blocking sweeper: a daemon thread that removes rows past their deadline."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final
from weakref import WeakSet

from keyweave.errors import KeyweaveError
from keyweave.expiry.tend import Pace, SweepProgress, note_failure, tend
from keyweave.store.context import Context
from keyweave.sync.shell import Shell

_LOG: Final = logging.getLogger("keyweave")


class Sweeper:
    """Sweeps in a thread. Use it as a context manager, or call `start` and `stop`. Closing its store also stops it.

    Any number of sweepers, in any number of processes, may work on one store: the guards of their plans decide which of
    them removes a row. A forked child inherits no running sweeper; it may start its own.

    Attributes:
        progress: what it has done, and whether it is failing.
    """

    def __init__(self, shell: Shell, context: Context, pace: Pace) -> None:
        self.progress: Final = SweepProgress()
        self._shell = shell
        self._context = context
        self._pace = pace
        self._reset()
        _SWEEPERS.add(self)

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the sweeper is running."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> Sweeper:
        """Start the thread, unless it is running. Returns this sweeper."""
        if not self.running:
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._work, args=(self._stopping,), name="keyweave-sweeper", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop after the current step and wait for it. A step is atomic, so no row is left half removed."""
        thread, stopping = self._thread, self._stopping
        stopping.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._thread = None

    def _work(self, stopping: threading.Event) -> None:
        def sleep(seconds: float) -> None:
            if stopping.wait(seconds):
                raise _Stopped

        self._context.state.sweepers += 1
        try:
            while not self._ready(sleep):
                pass
            self._shell.run(tend(self._context, self._pace, self.progress), sleep=sleep)
        except _Stopped:
            pass
        except Exception:  # noqa: BLE001 - no caller is there to receive it
            _LOG.exception("sweeper: ended by an unexpected error")
        finally:
            self._context.state.sweepers -= 1

    def _ready(self, sleep: Callable[[float], object]) -> bool:
        """Connect, where the first run would; after an error pause, and return False."""
        try:
            self._shell.ready()
        except KeyweaveError as error:
            sleep(note_failure(self._context, self.progress, error))
            return False
        return True

    def forget(self) -> None:
        """Reset in a forked child: the thread runs in the parent only."""
        self._context.state.sweepers = 0
        self._reset()

    def __enter__(self) -> Sweeper:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Stopped(Exception):
    """Thrown into the flow at its next sleep, to end it."""


_SWEEPERS: Final[WeakSet[Sweeper]] = WeakSet()


def _forget_inherited() -> None:
    for sweeper in list(_SWEEPERS):
        sweeper.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
