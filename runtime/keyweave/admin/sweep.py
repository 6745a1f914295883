"""`keyweave sweep`: removes rows past their deadline, once or continuously."""

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

from keyweave.admin.progress import Meter
from keyweave.admin.result import Result
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)
from keyweave.admin.tenants import EPILOG as TENANTS
from keyweave.admin.tenants import AllTenantsOption, Outcomes, refuse_namespace, tenants_of
from keyweave.errors import ConfigurationError, KeyweaveError, StoreUnavailableError
from keyweave.expiry.tend import Pace, SweepProgress, tend, tend_once
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave sweep --url redis://localhost:6379        remove every row that is due now

  keyweave sweep --url redis://localhost:6379 --share 1  as fast as possible, without pauses for other clients

  keyweave sweep --watch --interval 60               keep running and sweep every minute; Ctrl-C ends it

  keyweave sweep --all-tenants --watch               sweep every tenant of the application, and look for new ones each time

Reads never return a row past its deadline; sweeping frees its memory. Several sweeps at the same time share the work.

Exit status: 0 no due row is left (or --limit was reached), 1 some rows could not be removed, because this schema lacks
their entity, they cannot be read, or a reference to them forbids their deletion; 2 could not run.
"""
EPILOG += TENANTS

_ALL = 1_000_000_000

_PROGRESS_INTERVAL = 1.0
"""Seconds between two lines of progress."""


def sweep(
    command: typer.Context,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="The most rows to remove; not used with --watch.")
    ] = _ALL,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep running until Ctrl-C or SIGTERM.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between two sweeps, with --watch.", show_default=True)
    ] = 30.0,
    share: Annotated[
        float,
        typer.Option("--share", help="The share of time spent sweeping, at most 1; it pauses for the rest."),
    ] = 0.02,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Remove rows past their deadline, each with all of its index entries in one atomic step."""
    refuse_namespace(command, all_tenants=all_tenants)
    if all_tenants:
        _sweep_tenants(package, url, environment, interval, share, None if watch else limit, format)
        return
    progress = SweepProgress()
    with opened(package, url, namespace, environment) as session, _stopped_by_signals() as stopping:
        try:
            _run(session, Pace(interval, share), progress, None if watch else limit, stopping)
        except _Stopped:
            typer.echo("keyweave: stopped", err=True)
        except KeyweaveError:
            if progress.swept:
                typer.echo(f"keyweave: swept {progress.swept:,} rows before an error", err=True)
            raise
    if format is Format.JSON:
        typer.echo(json.dumps({"swept": progress.swept, "kept": progress.kept}))
    else:
        left = f", {progress.kept} could not be removed" if progress.kept else ""
        typer.echo(f"swept {progress.swept} rows{left}")
    if progress.kept:
        raise typer.Exit(FOUND)


def _sweep_tenants(
    package: str | None,
    url: str | None,
    environment: str | None,
    interval: float,
    share: float,
    limit: int | None,
    format_: Format,
) -> None:
    """Sweep every tenant, once with a limit for all of them together, or in rounds that begin with a search for tenants."""
    totals: dict[str, SweepProgress] = {}
    outcomes = Outcomes()
    with tenants_of(package, url, environment) as tenants, _stopped_by_signals() as stopping:
        try:
            pace = Pace(interval, share)
        except ConfigurationError as error:
            fail(str(error))
        left = limit

        def work(session: Session) -> Result:
            nonlocal left
            tenants.open(session)
            progress = totals.setdefault(session.context.keyspace.namespace.tenant, SweepProgress())
            before = progress.swept
            if left is None or left > 0:
                _run(session, pace, progress, left if left is not None else _ALL, stopping)
            if left is not None:
                left -= progress.swept - before
            return _result(progress)

        try:
            while True:
                outcomes = Outcomes()
                try:
                    with Meter("sweep") as meter:
                        names = sorted(tenants.count(meter))
                    tenants.each_of(names, work, outcomes)
                except StoreUnavailableError as error:
                    if limit is not None:
                        raise
                    typer.echo(f"keyweave: {error}; trying again", err=True)
                if limit is not None or stopping.wait(interval):
                    break
        except _Stopped:
            typer.echo("keyweave: stopped", err=True)
            done = {tenant for tenant, _, _ in outcomes.rows}
            for tenant in sorted(totals.keys() - done):
                outcomes.add(tenant, _result(totals[tenant]))
    outcomes.finish(format_)


def _result(progress: SweepProgress) -> Result:
    left = f", {progress.kept:,} could not be removed" if progress.kept else ""
    shape: dict[str, object] = {"swept": progress.swept, "kept": progress.kept}
    return Result(bool(progress.kept), shape, [f"swept {progress.swept:,} rows{left}"])


def _run(
    session: Session, pace: Pace, progress: SweepProgress, limit: int | None, stopping: threading.Event
) -> None:
    """Sweep until all is done or `stopping` is set. Prints progress on standard error."""
    started = printed = time.monotonic()
    reported = 0

    def sleep(seconds: float) -> None:
        nonlocal printed, reported
        now = time.monotonic()
        if progress.swept > reported and now - printed >= _PROGRESS_INTERVAL:
            rate = progress.swept / (now - started)
            typer.echo(f"keyweave: swept {progress.swept} rows, {rate:.0f} per second", err=True)
            printed, reported = now, progress.swept
        if stopping.wait(seconds):
            raise _Stopped

    flow = (
        tend(session.context, pace, progress)
        if limit is None
        else tend_once(session.context, pace, progress, limit=limit)
    )
    session.shell.run(flow, sleep=sleep)


class _Stopped(Exception):
    """Thrown into the flow at a sleep, so that the current step is completed and counted."""


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set. A second signal interrupts the current step."""
    stopping = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
