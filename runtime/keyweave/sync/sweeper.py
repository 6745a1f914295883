"""The blocking sweeper: a daemon thread that removes rows past their deadline while the program does other things."""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Final
from weakref import WeakSet

from keyweave.expiry.tend import Pace, SweepProgress, tend
from keyweave.store.context import Context
from keyweave.sync.shell import Shell

_LOG: Final = logging.getLogger("keyweave")


class Sweeper:
    """Sweeps in a thread. Use it as a context manager, or `start` and `stop` it; closing its store stops it too.

    Any number of sweepers, in any number of processes, may work on one store: the guards of their plans decide who
    removes a row. A forked child inherits no running sweeper; it may start its own.

    Attributes:
        progress: what it has done, and whether it fails.
    """

    def __init__(self, shell: Shell, context: Context, pace: Pace) -> None:
        self.progress: Final = SweepProgress()
        self._shell = shell
        self._context = context
        self._pace = pace
        self._rest()
        _SWEEPERS.add(self)

    def _rest(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        """Whether it sweeps."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> Sweeper:
        """Begin to sweep; nothing happens when it does already."""
        if not self.running:
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._work, args=(self._stopping,), name="keyweave-sweeper", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the sweeping, after the step at hand. A step is atomic, so nothing is left half done."""
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
            self._shell.run(tend(self._context, self._pace, self.progress), sleep=sleep)
        except _Stopped:
            pass
        except Exception:  # noqa: BLE001 - whoever started it is not here to be told
            _LOG.exception("sweeper: ended by a fault of its own")
        finally:
            self._context.state.sweepers -= 1

    def forget(self) -> None:
        """In a forked child: the thread goes on in the parent only."""
        self._context.state.sweepers = 0
        self._rest()

    def __enter__(self) -> Sweeper:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Stopped(Exception):
    """Thrown into the flow where it sleeps."""


_SWEEPERS: Final[WeakSet[Sweeper]] = WeakSet()


def _forget_inherited() -> None:
    for sweeper in list(_SWEEPERS):
        sweeper.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
