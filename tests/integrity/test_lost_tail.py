"""A server that lost the end of its append-only file has whole rows, or none: indexes agree after the restart."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compozy_store.sync import Store
from keyweave.effects import Flow, Send
from keyweave.integrity import check as check_flows
from keyweave.integrity.drift import Kind
from tests.harness import run, user
from tests.integrity.site import Site, healthy
from tests.integrity.test_beside_writers import one, write_something

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


def restored(site: Site, flow: Flow[Any], number: int, restore: Callable[[], None]) -> tuple[Any, bool]:
    """Run a flow, and restore older data before its exchange with this number. Returns whether there was one."""
    answer: object = None
    exchanges = 0
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as done:
            return done.value, exchanges >= number
        if isinstance(effect, Send):
            exchanges += 1
            if exchanges == number:
                restore()
        answer = site.store.session.run(one(effect))


def test_a_tail_that_is_lost_during_a_check_is_no_drift() -> None:
    """The check has read revisions that the restarted server never issued."""
    with healthy("lost") as site:
        older = {key: site.send(("DUMP", key), ("PEXPIRETIME", key)) for key in site.names()}

        def restore() -> None:
            site.send(("DEL", *site.names()))
            for key, (value, ends) in older.items():
                site.send(("RESTORE", key, max(ends, 0), value, "ABSTTL"))

        for number in itertools.count(1):
            site.store.users.create(user(f"lost{number}"))
            site.store.task_states.change("root", lambda row: setattr(row, "task_id", "lost"))
            report, found = restored(site, check_flows.check(site.context), number, restore)
            assert report.clean, (number, report.drift)
            restore()
            if not found:
                break
        assert number > 5


def test_a_clock_behind_a_document_that_is_still_there_is_drift() -> None:
    with healthy("behind") as site:
        site.send(("SET", site.auth.clock, "1700000000000000"))
        assert site.kinds() == {Kind.CLOCK_BEHIND}
