"""`make bench-core` in short: every call and its bare counterpart do their work, round after round."""

from __future__ import annotations

import asyncio

import pytest

from compozy_store import sync
from tools.bench import core, core_handles


def test_calls_and_their_bare_counterparts_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "ROUNDS", 5)
    monkeypatch.setattr(core, "PAGE_ROUNDS", 5)
    monkeypatch.setattr(core, "MANY", 20)
    monkeypatch.setattr(core, "MANY_ROUNDS", 1)
    with sync.Store.open("embedded:", namespace="another"):  # keeps the data from ending in between
        rows = [*core.blocking(), *asyncio.run(core.waiting())]
    bulk = ["create_many of 20", "upsert_many of 20", "delete_many of 20"]
    one = ["get", "page of 50", "save of a status change"]
    assert [row[0].partition(",")[0] for row in rows] == 2 * [*one, *one, "bytes of a page", *bulk]


def test_pages_of_handles_are_compared_with_a_page_of_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_handles, "PAGE_ROUNDS", 3)
    monkeypatch.setattr(core_handles, "MADE", 100)
    with sync.Store.open("embedded:", namespace="another"):
        rows = core_handles.handles(core.compare, core.task, "bench-handles")
    assert [row[0].partition(" ")[0] for row in rows] == ["page", "page", "page", "making", "page", "page"]
