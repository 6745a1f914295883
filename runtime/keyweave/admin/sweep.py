"""`keyweave sweep`: remove rows that are past their deadline, once or for as long as it runs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    opened,
)
from keyweave.expiry.tend import Pace, SweepProgress, tend, tend_once
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave sweep --url redis://localhost:6379        remove what is due now

  keyweave sweep --url redis://localhost:6379 --share 1  as fast as it goes, whoever else waits

  keyweave sweep --watch --interval 60               stay, and look every minute; Ctrl-C ends it

Reads never see a row that is past its deadline; sweeping gives its memory back. Several sweeps at once share the work.

Exit status: 0 when nothing that is due is left (or --limit was reached), 1 when rows could not be removed, because
this schema lacks their entity, they cannot be read, or something forbids to delete them; 2 when it could not run.
"""

_EVERY = 1.0
"""Seconds between two lines of progress."""


def sweep(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Most rows to remove; not with --watch.")
    ] = 1_000_000_000,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C or SIGTERM.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between looks, with --watch.", show_default=True)
    ] = 30.0,
    share: Annotated[
        float,
        typer.Option("--share", help="Most of its time that it spends sweeping; the rest is left to others."),
    ] = 0.02,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Remove rows that are past their deadline, each with all of its index entries in one atomic step."""
    progress = SweepProgress()
    with opened(package, url, namespace, environment) as session, _ended_by_signals() as ending:
        try:
            _run(session, Pace(interval, share), progress, None if watch else limit, ending)
        except _Ended:
            typer.echo("keyweave: stopped", err=True)
    if format is Format.JSON:
        typer.echo(json.dumps({"swept": progress.swept, "kept": progress.kept}))
    else:
        left = f", {progress.kept} could not be removed" if progress.kept else ""
        typer.echo(f"swept {progress.swept} rows{left}")
    if progress.kept:
        raise typer.Exit(FOUND)


def _run(
    session: Session, pace: Pace, progress: SweepProgress, limit: int | None, ending: threading.Event
) -> None:
    """Sweep until it is done or told to end, saying on standard error how far it is."""
    started = shown = time.monotonic()
    told = 0

    def sleep(seconds: float) -> None:
        nonlocal shown, told
        now = time.monotonic()
        if progress.swept > told and now - shown >= _EVERY:
            rate = progress.swept / (now - started)
            typer.echo(f"keyweave: swept {progress.swept} rows, {rate:.0f} a second", err=True)
            shown, told = now, progress.swept
        if ending.wait(seconds):
            raise _Ended

    flow = (
        tend(session.context, pace, progress)
        if limit is None
        else tend_once(session.context, pace, progress, limit=limit)
    )
    session.shell.run(flow, sleep=sleep)


class _Ended(Exception):
    """Thrown into the flow where it sleeps, so that the step at hand is finished and counted."""


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set. A second signal does not wait for the step at hand."""
    ending = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
        if ending.is_set():
            raise KeyboardInterrupt
        ending.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
