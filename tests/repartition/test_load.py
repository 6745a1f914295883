"""The short form of `make repartition-load`: on one server."""

from __future__ import annotations

import pytest

from keyweave.exchange import lease
from keyweave.store import doubling
from tests.repartition.load import play


def test_workers_go_on_while_partitions_are_doubled_and_the_command_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doubling, "LEASE", 1.0)
    monkeypatch.setattr(lease, "may_outlast", lambda *_: False)
    operations, rows, _ = play(1)
    assert operations > 100
    assert rows > 10
