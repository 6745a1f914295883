"""What cleaning costs the caller of a write or a count: a bounded number of rows, exchanges and seconds."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import Any

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from keyweave.commit.allowance import Allowance
from keyweave.expiry.sweep import Unsweepable, sweep_step
from tests.depot import depot
from tests.expiry.test_sweep_by_writes import later
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, exchanges, harness, run, task, until_freed
from tests.scripted import Time
from tests.servers.running import Running, configured_server

MOST_EXCHANGES = 60
"""Of one upsert that sweeps: those of the write, of a part of a search, and of the plans that remove rows."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server that holds nothing else, because a search goes through all keys of a server."""
    with configured_server() as running:
        yield running


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def upsert(stores: Harness) -> None:
    later(stores)
    stores.do(stores.db.workflow_states.upsert(run("other")))


def unswept(stores: Harness) -> int:
    partition = stores.db.session.context.partition(TASK_STATE)
    number: int = stores.send(("ZCARD", partition.expiry))[0]
    return number


def test_freed_rows_of_others_cost_a_write_a_part_of_the_search(server: Running, flavour: str) -> None:
    """Each row has views of its own, which only the search finds."""
    freed = 600
    options: dict[str, Any] = {"grace_ms": 1, "sweep_every": 1, "sweep_rows": 64}
    with harness(flavour, "others", url=server.url, **options) as stores:
        ending: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.workflow_states.create(run("other")))
        add_tasks(stores, [task(f"stays{n}", name=f"s{n}") for n in range(freed)])
        before = stores.do(stores.db.task_states.by_workflow("w").count())
        with harness(flavour, stores, url=server.url, **ending) as others:
            add_tasks(others, [task(f"e{n}", name=f"n{n}", status=Status.SUCCESS) for n in range(freed)])
        until_freed(stores, TASK_STATE, [f"e{n}" for n in range(freed)])
        writes = 0
        with exchanges(stores) as sent:
            while unswept(stores):
                sent.clear()
                upsert(stores)
                assert len(sent) <= MOST_EXCHANGES
                writes += 1
                assert writes < 2000, "writes alone have to remove all of them"
        assert writes > freed / 64, "no write does more than its share"
        assert stores.do(stores.db.task_states.by_workflow("w").count()) == before
        assert stores.clean()


def test_a_freed_row_in_the_way_of_its_successor_is_removed_alone(server: Running, flavour: str) -> None:
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}
    with harness(flavour, "own", url=server.url, **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task(f"e{n}", name=f"n{n}", status=Status.SUCCESS) for n in range(300)])
        until_freed(stores, TASK_STATE, [f"e{n}" for n in range(300)])
        with exchanges(stores) as sent:
            stores.do(stores.db.task_states.create(task("e7")))
        assert len(sent) <= 100
        assert unswept(stores) == 299
        assert stores.do(stores.db.task_states.by_task_id("n7").page()).rows == []
        assert stores.do(stores.db.sweep()) == 299
        assert stores.clean()


def test_a_write_counts_the_rows_that_go_with_a_swept_one(flavour: str) -> None:
    children = 700
    options: dict[str, Any] = {"sweep_every": 1, "sweep_rows": 64}
    with harness(flavour, "cascade", **options) as stores:
        ending: dict[str, Any] = {"retention": {"WorkflowState": AT_ONCE}, "sweep_every": 0}
        stores.do(stores.db.workflow_states.create(run("other")))
        with harness(flavour, stores, **ending) as others:
            others.do(others.db.workflow_states.create(run()))
            add_tasks(others, [task(f"c{n}") for n in range(children)])
            others.do(others.db.workflow_states.upsert(run(status=Status.SUCCESS)))
        left = [children]
        for _ in range(40):
            upsert(stores)
            left.append(stores.do(stores.db.task_states.by_workflow("w").count()))
        steps = [before - after for before, after in pairwise(left)]
        assert max(steps) <= 64
        assert left[-1] == 0 and unswept(stores) == 0
        assert stores.clean()


def test_a_sweep_with_a_limit_counts_them_too(flavour: str) -> None:
    options: dict[str, Any] = {"retention": {"WorkflowState": AT_ONCE}, "sweep_every": 0}
    with harness(flavour, "limit", **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task(f"c{n}") for n in range(25)])
        stores.do(stores.db.workflow_states.upsert(run(status=Status.SUCCESS)))
        assert [stores.do(stores.db.sweep(limit=10)) for _ in range(4)] == [10, 10, 6, 0]
        assert stores.clean()


def test_a_family_that_may_be_restricted_is_removed_whole_or_not_at_all(flavour: str) -> None:
    """A live seal forbids the removal of the last box, so no box of the shelf goes, however small the steps are."""
    package = depot()
    with harness(flavour, "restricted", module=package, sweep_every=0) as stores:
        db = stores.db
        stores.do(db.shelfs.create(package.Shelf(id="s")))

        def steps(tx: Any) -> Generator[Any, Any, None]:
            for number in range(40):
                yield tx.boxes.create(package.Box(id=f"b{number}", shelf_id="s"))
            yield tx.seals.create(package.Seal(id="seal", box_id="b39"))

        stores.transact(steps)
        context = db.session.context
        partition = context.keyspace.partition("goods")
        (document,) = stores.send(("GET", partition.document("Shelf", "s")))
        ended = document.replace(b'"expires":0', b'"expires":1700000000000000')
        stores.send(
            ("SET", partition.document("Shelf", "s"), ended),
            ("ZADD", partition.expiry, 1700000000000000, "Shelf:s"),
        )
        for seconds in (None, 10.0):
            allowance = Allowance(context.monotonic, 4, seconds)
            step = stores.do(db.session.run(sweep_step(context, partition, 4, Unsweepable(), allowance)))
            assert (step.removed, allowance.used) == (0, 0)
            assert stores.do(db.boxes.by_shelf("s").count()) == 40
        stores.do(db.seals.delete("seal"))
        assert stores.do(db.sweep()) == 41


def test_a_count_sweeps_a_bounded_number_and_looks_up_the_rest(
    flavour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyweave.read.count.LOOKUPS", 10)
    monkeypatch.setattr("keyweave.read.count._SWEPT", 100)
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "sweep_every": 0}
    with harness(flavour, "count", **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("live")))
        add_tasks(stores, [task(f"e{n}", status=Status.SUCCESS) for n in range(400)])
        assert stores.do(stores.db.task_states.by_workflow("w").count()) == 1
        assert unswept(stores) == 300


def test_an_allowance_ends_with_its_rows_or_its_time() -> None:
    time = Time()
    allowance = Allowance(time, 10, 0.5)
    allowance.charge(4)
    assert (allowance.rows, allowance.used, allowance.spent) == (6, 4, False)
    time.now += 0.5
    assert allowance.spent
    unhurried = Allowance(time, 10)
    time.now += 1e6
    assert not unhurried.spent
    unhurried.charge(11)
    assert (unhurried.rows, unhurried.used, unhurried.spent) == (0, 11, True)
