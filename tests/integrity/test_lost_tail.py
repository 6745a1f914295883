"""A server that lost the end of its append-only file has whole rows, or none: indexes agree after the restart."""

from __future__ import annotations

import random
from pathlib import Path

from compozy_store.sync import Store
from tests.harness import run, user
from tests.integrity.test_beside_writers import write_something

CUTS = 6


def test_every_cut_of_the_append_only_file_leaves_agreeing_indexes(tmp_path: Path) -> None:
    """A plan is one transaction in the file, so a cut in the middle of one takes all of it away."""
    chance = random.Random(11)
    url = f"embedded:{tmp_path / 'data'}"
    with Store.open(url) as store:
        store.workflow_states.create(run())
        for number in range(20):
            store.users.create(user(f"u{number}"))
        for _ in range(200):
            write_something(store, chance)
    (log,) = (tmp_path / "data" / "appendonlydir").glob("*.incr.aof")
    documents = []
    for _ in range(CUTS):
        with log.open("r+b") as file:
            file.truncate(max(1, log.stat().st_size - chance.randrange(1, 6000)))
        with Store.open(url, moment=0.001) as store:
            report = store.check()
            assert report.clean, report.drift
            documents.append(report.documents)
    assert len(set(documents)) > 1  # the cuts took rows away, and brought deleted ones back
