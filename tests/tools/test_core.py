"""`make bench-core` in short: every call and its bare counterpart do their work, round after round."""

from __future__ import annotations

import asyncio

import pytest

from compozy_store import sync
from tools.bench import core


def test_calls_and_their_bare_counterparts_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "ROUNDS", 5)
    monkeypatch.setattr(core, "PAGE_ROUNDS", 5)
    monkeypatch.setattr(core, "MANY", 20)
    monkeypatch.setattr(core, "MANY_ROUNDS", 1)
    with sync.Store.open("embedded:", namespace="another"):  # keeps the data from ending in between
        rows = [*core.blocking(), *asyncio.run(core.waiting())]
    bulk = ["create_many of 20", "upsert_many of 20", "delete_many of 20"]
    one = ["get", "page of 50", "save of a status change"]
    assert [row[0].partition(",")[0] for row in rows] == 2 * [*one, *bulk]
