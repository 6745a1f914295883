"""Progress on standard error: a bar on a terminal, else a line every ten seconds for logs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from keyweave.integrity.survey import Progress as Walked

_LINE_SECONDS: Final = 10.0


class Meter:
    """Shows the progress of a command: what was read, the rate, and the time left. Use it as a context manager."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[read]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> Meter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, walked: Walked) -> None:
        """Show the progress of a walk."""
        self.show(walked.stage, walked.keys, walked.total, walked.documents + walked.entries)

    def show(self, stage: str, done: int, total: int, read: int | None) -> None:
        """Show that `done` of `total` is done, and that `read` documents and entries were read; None: this stage reads nothing."""
        now = time.monotonic()
        if stage != self._stage or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._stage, self._began, self._printed = stage, now, now
            self._task = self._bar.add_task(f"{self._command}: {stage}", total=max(total, 1), read="")
        seconds = now - self._began
        rate = read / seconds if read and seconds > 0 else 0.0
        text = "" if read is None else f"{read:,} read, {rate:,.0f}/s"
        total = max(total, done, 1)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, total=total, read=text)
        elif now - self._printed >= _LINE_SECONDS:
            self._printed = now
            left = f"{seconds * (total - done) / done:.0f} s left" if done else "time left unknown"
            percent = 100 * done // total
            line = ", ".join(part for part in (f"{self._command}: {stage} {percent}%", text, left) if part)
            self._console.print(line, highlight=False, soft_wrap=True)
