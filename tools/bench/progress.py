"""The progress of a run, on stderr."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """The steps of a run, each with a bar. Shows nothing where stderr is no terminal and nothing was asked for."""

    def __init__(self, *, silent: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=silent,
        )

    def begin(self, name: str, total: int) -> Callable[[int], None]:
        """Begin a step of `total` parts; return a function that is called with the number of parts done since the last call."""
        bar = self._progress.add_task(name, total=total)

        def advance(parts: int) -> None:
            self._progress.advance(bar, parts)

        return advance

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
