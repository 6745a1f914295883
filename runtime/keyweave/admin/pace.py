"""Bounded load: a walk that waits when it is ahead of the rate that was asked for."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from keyweave.integrity.survey import Observer, Progress

RateOption = Annotated[
    int,
    typer.Option("--rate", min=0, help="Most documents and entries to read in a second; 0 for no limit."),
]


class Paced:
    """Passes progress on, and pauses so that no more than `rate` documents and entries are read in a second."""

    def __init__(self, observe: Observer, rate: int) -> None:
        self._observe: Final = observe
        self._rate: Final = rate
        self._stage = ""
        self._began = 0.0

    def __call__(self, progress: Progress) -> None:
        """Show progress, and wait if it was too quick."""
        self._observe(progress)
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began = progress.stage, now
        if self._rate:
            due = self._began + (progress.documents + progress.entries) / self._rate
            if due > now:
                time.sleep(due - now)
