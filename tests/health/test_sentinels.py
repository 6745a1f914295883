"""What an examination says about the Sentinels of a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy_store.package import PACKAGE
from keyweave.admin.probe import probed, run
from keyweave.errors import StoreUnavailableError
from keyweave.health.report import Health, Severity
from tests.servers.node import await_until
from tests.servers.sentinels import SERVICE, Sentinels

FINDING = "sentinel-quorum"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Sentinels]:
    started = Sentinels(tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.close()


def examined(group: Sentinels) -> Health:
    return probed(PACKAGE, group.url, "sentinels", None, None)


def severities(health: Health) -> list[Severity]:
    return [finding.severity for finding in health.findings if finding.id == FINDING]


def test_sentinels_without_a_quorum_are_critical_although_the_master_serves(
    group: Sentinels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert severities(examined(group)) == []
    group.sentinels[0].kill()
    await_until(lambda: group.sentinels[1].knows()[0] == 1, "the others notice it")
    assert severities(examined(group)) == [Severity.WARNING]
    group.sentinels[1].kill()
    await_until(lambda: not group.sentinels[2].reaches_quorum(), "no quorum")
    health = examined(group)
    assert health.serving
    (finding,) = [each for each in health.findings if each.id == FINDING]
    assert finding.severity is Severity.CRITICAL
    assert "NOQUORUM" in finding.what and finding.command.endswith(f"SENTINEL CKQUORUM {SERVICE}")
    url = ["--url", group.url, "--package", "compozy_store"]
    assert run([*url, "--format", "json"], {}) == 0
    assert len(json.loads(capsys.readouterr().out)["sentinels"]) == 3


def test_a_store_without_a_master_says_that_the_sentinels_cannot_replace_it(group: Sentinels) -> None:
    for node in group.sentinels[:2]:
        node.kill()
    await_until(lambda: not group.sentinels[2].reaches_quorum(), "no quorum")
    group.servers[0].kill()
    with pytest.raises(StoreUnavailableError, match="cannot replace it"):
        examined(group)
