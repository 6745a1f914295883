"""One round: rows, writers, faults, a calm end, and the evidence for the judge."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.faults.history import Act
from tools.faults.judge.evidence import Evidence, Report
from tools.faults.judge.judge import judge
from tools.faults.kinds.fault import Fault
from tools.faults.pulse import Pulse
from tools.faults.rows import ENTITIES, opened, rows_of, write_rows
from tools.faults.settings import Settings
from tools.faults.site.proxy import url_of
from tools.faults.site.server import PASSWORD, WRITER
from tools.faults.site.site import Site
from tools.faults.site.way import CALM
from tools.faults.writers.crew import Crew
from tools.faults.writers.messages import Begin

_CALM: Final = 0.3
_PAUSE: Final = 0.3
_STUCK: Final = 3.0
"""Seconds after its bound for which a call that has not returned is waited for."""

_SETTLE: Final = 5.0


def play(
    settings: Settings, command: Sequence[str], folder: Path, package: Path, crews: Sequence[Crew]
) -> Evidence:
    """Play a round and judge it.

    Args:
        command: the words that start a server.
        folder: a new one, for the data of the servers.
        package: the folder with the generated package.
        crews: the processes of writers.

    Raises:
        RuntimeError: the campaign itself failed, for example because a server did not start.
    """
    site = Site(command, folder, settings, crews)
    pulse = Pulse()
    pulse.start()
    try:
        write_rows(site, settings, package)
        began = time.monotonic()
        _begin(site, settings, package)
        _strike(site, settings)
        site.proxy.change(CALM)
        time.sleep(_CALM)
        acts, reports = _finish(crews, settings)
        _settle(site)
        evidence = _collect(site, settings, package, acts, reports, began, pulse)
    finally:
        pulse.stop()
        site.close()
    judge(evidence)
    return evidence


def _begin(site: Site, settings: Settings, package: Path) -> None:
    share = settings.writers // len(site.crews)
    url = url_of(site.proxy, WRITER, PASSWORD)
    for number, crew in enumerate(site.crews):
        crew.begin(
            Begin(
                url=url,
                package=str(package),
                seed=settings.seed,
                first=number * share,
                writers=share,
                options=settings.options,
                pause=settings.pause,
            )
        )
    for crew in site.crews:
        crew.ready()


def _strike(site: Site, settings: Settings) -> None:
    """Let the faults of every lane happen, for the time of the round at least.

    Raises:
        RuntimeError: the campaign could not do what a fault does.
    """
    failures: list[str] = []
    until = time.monotonic() + settings.seconds

    def follow(lane: tuple[Fault, ...]) -> None:
        site.enter_lane(lane[0].lane)
        try:
            for fault in lane:
                site.rest(0.0, _PAUSE)
                if time.monotonic() >= until and fault is not lane[0]:
                    return
                site.struck[fault.name] += 1
                fault.strike(site)
        except Exception:  # noqa: BLE001 - raised in the thread of the campaign
            failures.append(traceback.format_exc())

    lanes = [threading.Thread(target=follow, args=(lane,), daemon=True) for lane in settings.lanes]
    try:
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        time.sleep(max(0.0, until - time.monotonic()))
    except BaseException:
        site.end()
        for lane in lanes:
            lane.join(_SETTLE)
        raise
    if failures:
        raise RuntimeError(f"faults: a fault failed:\n{failures[0]}")


def _finish(crews: Sequence[Crew], settings: Settings) -> tuple[list[Act], list[Report]]:
    """End the writers. A process with a call that does not return is replaced."""
    acts: list[Act] = []
    reports: list[Report] = []
    for crew in crews:
        crew.finish(settings.bound + _STUCK)
    for crew in crews:
        found = crew.finished()
        acts += found.acts
        reports.append(Report(crew.flavour, found.pool, found.interrupted, found.recovery))
        if found.pool is None:
            crew.restart()
    return acts, reports


def _settle(site: Site) -> None:
    """Wait until every request has arrived: one that comes late must not come after the judge."""
    until = time.monotonic() + _SETTLE
    while not site.proxy.settle() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.05)


def _collect(
    site: Site,
    settings: Settings,
    package: Path,
    acts: Sequence[Act],
    reports: Sequence[Report],
    began: float,
    pulse: Pulse,
) -> Evidence:
    with opened(site.server, package) as store:
        report = store.check()
        rows = {name: rows_of(site.server, store, name) for name in ENTITIES}
    return Evidence(
        settings,
        acts,
        sorted(site.losses),
        rows,
        {str(group): number for group, number in report.drift.items()},
        reports,
        site.struck,
        sorted(site.happenings),
        began,
        tuple(pulse.stalls),
    )
