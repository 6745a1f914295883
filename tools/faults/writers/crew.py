"""The campaign's end of a process of writers."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

from tools.faults.pulse import STEP, patient
from tools.faults.writers.messages import (
    Answer,
    Begin,
    Failed,
    Finish,
    Finished,
    Interrupt,
    Order,
    Ready,
    receive,
    send,
)

_ROOT: Final = Path(__file__).resolve().parents[3]
_PATIENCE: Final = 60.0
_PAUSE: Final = 1.0


class Crew:
    """A process of writers. It is started again when one of its calls has not returned.

    Args:
        flavour: `sync` for threads, `aio` for tasks.
        log: a file for what the process writes to stderr.
    """

    def __init__(self, flavour: str, log: Path) -> None:
        self.flavour: Final = flavour
        self._log: Final = log
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.faults.writers", self.flavour],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # a Ctrl-C at the campaign is not one at the writers
            )
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        listener = threading.Thread(target=_listen, args=(self._process.stdout, self._answers), daemon=True)
        listener.start()

    def begin(self, order: Begin) -> None:
        """Start the writers of a round."""
        self._send(order)

    def ready(self) -> None:
        """Wait until the writers run."""
        self._expect(Ready, _PATIENCE)

    def interrupt(self, order: Interrupt) -> None:
        """Interrupt calls, without waiting."""
        self._send(order)

    def finish(self, patience: float) -> None:
        """Let the writers end."""
        self._patience = patience
        self._send(Finish(patience))

    def finished(self) -> Finished:
        """Wait for the report of the writers."""
        found: Finished = self._expect(Finished, self._patience + _PATIENCE)
        return found

    def restart(self) -> None:
        """Replace the process by a new one."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # an order that the process did not read

    def _send(self, order: Order) -> None:
        assert self._process.stdin is not None
        send(self._process.stdin, order)

    def _expect(self, kind: type[Any], patience: float) -> Any:
        """Return the next answer.

        Raises:
            RuntimeError: it is another one, or there is none; the process's log is in the message.
        """
        answer: Answer | None = None
        for _ in patient(patience):
            try:
                answer = self._answers.get(timeout=STEP)
                break
            except queue.Empty:
                pass
        else:
            self._process.send_signal(signal.SIGUSR1)  # it writes where its threads are
            time.sleep(_PAUSE)
        if isinstance(answer, kind):
            return answer
        text = answer.text if isinstance(answer, Failed) else self._log.read_text(errors="replace")[-6000:]
        raise RuntimeError(f"faults: a process of writers ({self.flavour}) failed:\n{text}")


def _listen(stream: IO[bytes], answers: queue.SimpleQueue[Answer | None]) -> None:
    try:
        while (answer := receive(stream, Answer)) is not None:
            answers.put(answer)
    except ValueError:
        pass  # closed meanwhile
    answers.put(None)
