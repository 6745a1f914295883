"""Limits the load of a walk: it waits while it is ahead of the requested rate."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from keyweave.exchange.by_partition import AT_ONCE
from keyweave.integrity.survey import Observer, Progress

RateOption = Annotated[
    int,
    typer.Option("--rate", min=0, help="The most documents and entries to read per second; 0 for no limit."),
]


def paced_partitions(rate: int) -> int:
    """Return the most partitions of one master that are worked on at the same time: with a rate one, so that each pause is short."""
    return 1 if rate else AT_ONCE


class Paced:
    """Passes progress to an observer, and pauses so that at most `rate` documents and entries are read per second."""

    def __init__(self, observe: Observer, rate: int) -> None:
        self._observe: Final = observe
        self._rate: Final = rate
        self._stage = ""
        self._began = 0.0

    def __call__(self, progress: Progress) -> None:
        """Pass the progress to the observer, and wait while the walk is ahead of the rate."""
        self._observe(progress)
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began = progress.stage, now
        if self._rate:
            due = self._began + (progress.documents + progress.entries) / self._rate
            if due > now:
                time.sleep(due - now)
