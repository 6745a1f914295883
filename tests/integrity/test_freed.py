"""Rows that their native TTL freed before any sweep: they wait for a sweep, and are no drift."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.harness import AT_ONCE
from tests.integrity.site import Site, healthy
from tests.integrity.test_admin import keyweave


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A healthy store with four rows that the server has freed."""
    retention = {"TaskState": AT_ONCE}
    with healthy(request.node.name[:40], retention=retention, grace_ms=1, sweep_every=0) as opened:
        ended = [opened.document("TaskState", key) for key in ("second", "d0", "d1", "d2")]
        limit = time.monotonic() + 10
        while opened.send(("EXISTS", *ended)) != [0]:
            assert time.monotonic() < limit
            time.sleep(0.001)
        yield opened


def test_a_freed_row_is_counted_and_is_no_drift(site: Site) -> None:
    report, found = site.check()
    assert (found, report.clean, report.unswept) == ([], True, 4)


def test_a_sweep_removes_a_freed_row(site: Site) -> None:
    assert site.store.sweep() == 4
    report, _ = site.check()
    assert (report.clean, report.unswept) == (True, 0)


def test_a_repair_removes_a_freed_row(site: Site) -> None:
    repairs = site.reindex()
    assert (repairs.forgotten, repairs.mended.total(), repairs.report.unswept) == (4, 0, 0)
    report, _ = site.check()
    assert (report.clean, report.unswept) == (True, 0)


def test_a_freed_row_without_its_deadline_entry_is_drift(site: Site) -> None:
    site.send(("ZREM", site.execution.expiry, "TaskState:d0"))
    report, _ = site.check()
    assert not report.clean
    assert report.unswept == 3


def test_the_commands_print_the_number_of_freed_rows(site: Site) -> None:
    grace = ("--grace", "0.001")
    assert (
        "4 rows were freed by their native TTL and wait for a sweep" in keyweave(site, "check", *grace).stdout
    )
    assert json.loads(keyweave(site, "check", "--format", "json", *grace).stdout)["unswept"] == 4
    planned = keyweave(site, "reindex", "--dry-run", *grace)
    assert (planned.exit_code, "would remove the entries of 4 rows" in planned.stdout) == (1, True)
    done = keyweave(site, "reindex", *grace)
    assert (done.exit_code, "removed the entries of 4 rows" in done.stdout) == (0, True)
    assert "clean: there is nothing to do" in keyweave(site, "reindex", *grace).stdout
