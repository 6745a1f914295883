"""The types of keys: a type checker accepts keys of several parts, in their order, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.generator.accepted.corpus import Corpus
from tests.generator.example import ROOT

CALLS = """\
from datetime import datetime
from typing import assert_type
from uuid import UUID

from keyweave.aio.rows import Rows as AsyncRows
from keyweave.query import one_of
from keyweave.sync.rows import Rows
from market_store import Fee, Market, Note, Stall, Weekday, aio
from market_store.sync import Store


def label_of(rows: Rows[Stall, tuple[int, str]]) -> str:
    return rows.one().label


def use(store: Store, stall: Stall, at: datetime) -> None:
    assert_type(store.stalls.get(1, "a"), Stall)
    assert_type(store.stalls.find(market=1, label="a"), Stall | None)
    assert_type(store.stalls.exists(1, "a"), bool)
    assert_type(store.stalls.get_for_update(1, "a", wait=0.5), Stall)
    assert_type(store.stalls.change(1, "a", lambda row: setattr(row, "visits", 2)), Stall)
    assert_type(store.stalls.update(1, "a", visits=3), Stall)
    assert_type(store.stalls.increment(1, "a", "visits", by=2), Stall)
    assert_type(store.stalls.merge_notes(1, "a", [Note(line=1)]), Stall)
    assert_type(store.stalls.touch_seen_at(1, "a", at), bool)
    assert_type(store.stalls.discard(1, "a"), bool)
    store.stalls.delete(1, "a")
    store.stalls.delete_many([(1, "a")])
    assert_type(store.stalls.get_many([(1, "a"), (2, "b")]), list[Stall | None])
    assert_type(store.stalls.by_market(1).reverse().keys(), list[tuple[int, str]])
    assert_type(store.fees.where(paid=True).keys(), list[tuple[Weekday, UUID, str, str, int]])
    assert_type(store.markets.by_size().keys(), list[int])
    assert_type(store.fees.get(Weekday.MON, UUID(int=1), "w", "f", 3), Fee)
    label_of(store.stalls.where(market=one_of(1, 2), label="a"))
    store.stalls.create(stall, if_none="by_market")
    store.markets.where().having(store.stalls.by_label("a"))
    for market, stalls in store.markets.with_stalls(store.markets.by_size()):
        assert_type((market, stalls), tuple[Market, list[Stall]])
    store.stalls.get("a")  # error
    store.stalls.get((1, "a"))  # error
    store.stalls.get("a", 1)  # error
    store.stalls.get_many([1])  # error
    store.stalls.get_many([("a", 1)])  # error
    store.stalls.delete_many([(1, "a", 2)])  # error
    store.stalls.update(1, "a", label="b")  # error
    store.stalls.increment(1, "a", "market")  # error
    store.stalls.change(lambda row: None)  # error
    store.fees.increment(Weekday.MON, UUID(int=1), "w", "f", 3, "paid")  # error
    label_of(store.markets.by_size())  # error


async def later(store: aio.Store) -> None:
    assert_type(await store.stalls.get(1, "a"), Stall)
    rows: AsyncRows[Stall, tuple[int, str]] = store.stalls.by_market(1)
    assert_type(await rows.keys(), list[tuple[int, str]])
    await store.stalls.get("a")  # error
"""


def test_a_type_checker_knows_the_parts_of_keys(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    folder = corpus.folder("market")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={tmp_path}"]
    found = subprocess.run(
        [*command, "calls.py", str(folder / "market_store")],
        env={**os.environ, "MYPYPATH": f"{ROOT / 'runtime'}:{folder}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in found.stdout.splitlines() if ": error:" in line]
    assert [line for line in errors if not line.startswith("calls.py")] == []
    wanted = [number for number, text in enumerate(CALLS.splitlines(), 1) if "# error" in text]
    assert sorted({int(line.split(":")[1]) for line in errors}) == wanted, found.stdout
