"""A process of writers: `python -m tools.faults.writers sync|aio`. Takes orders on stdin, and ends when stdin ends."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Final

from tools.faults.trial import trial
from tools.faults.writers.messages import Begin, Failed, Finish, Interrupt, Order, Ready, receive, send
from tools.faults.writers.tasks import TaskCrew
from tools.faults.writers.threads import ThreadCrew

_CREWS: Final[dict[str, type[ThreadCrew | TaskCrew]]] = {"sync": ThreadCrew, "aio": TaskCrew}


def serve(flavour: str, orders: IO[bytes], answers: IO[bytes]) -> None:
    """Follow orders until there are no more."""
    crew: ThreadCrew | TaskCrew | None = None
    while (order := receive(orders, Order)) is not None:
        try:
            if isinstance(order, Begin):
                crew = _CREWS[flavour](order, trial(Path(order.package)))
                send(answers, Ready())
            elif crew is not None and isinstance(order, Interrupt):
                words = (order.number, order.pause, order.seed)
                threading.Thread(target=crew.interrupt, args=words, daemon=True).start()
            elif crew is not None and isinstance(order, Finish):
                send(answers, crew.finish(order.patience))
        except Exception:  # noqa: BLE001 - the campaign shows it
            send(answers, Failed(traceback.format_exc()))


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # for a campaign whose wait has no end
    serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # a stuck thread must not keep the process
