"""The background sweeper, in both flavours, and the sweeping by writes with or without a sweeper."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from keyweave.errors import ConfigurationError
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, harness, run, task
from tests.servers.running import server_url


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@contextmanager
def opened(flavour: str, name: str, **options: Any) -> Iterator[Harness]:
    """Three stores, an execution and a task `p` that stay; other tasks expire as soon as they are terminal."""
    with harness(
        flavour, f"{name}-{flavour}", count=3, retention={"TaskState": AT_ONCE}, **options
    ) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task("p")])
        yield stores


def add_dead(stores: Harness, count: int) -> None:
    add_tasks(stores, [task(f"dead{n}", "p" if n % 2 else None, status=Status.SUCCESS) for n in range(count)])


def unswept(stores: Harness) -> int:
    (number,) = stores.send(("ZCARD", stores.db.session.context.partition(TASK_STATE).expiry))
    return int(number)


def wait(stores: Harness, until: Callable[[], bool]) -> None:
    """Let the sweepers work until a condition holds."""
    limit = time.monotonic() + 30
    while not until():
        assert time.monotonic() < limit
        stores.do(asyncio.sleep(0.002)) if stores.flavour == "aio" else time.sleep(0.002)


@contextmanager
def sweeping(stores: Harness, *sweepers: Any) -> Iterator[None]:
    """Running sweepers, started and stopped as their flavour requires."""

    async def start() -> None:
        for sweeper in sweepers:
            sweeper.start()

    if stores.flavour == "sync":
        for sweeper in sweepers:
            sweeper.start()
    else:
        stores.do(start())
    try:
        yield
    finally:
        for sweeper in sweepers:
            stores.do(sweeper.stop())


def test_a_sweeper_leaves_nothing_of_dead_rows(flavour: str) -> None:
    with opened(flavour, "leaves") as stores:
        before = stores.contents()
        sweeper = stores.db.sweeper(interval=0.01, share=1.0)
        assert not sweeper.running
        with sweeping(stores, sweeper):
            assert sweeper.running
            for _ in range(2):
                add_dead(stores, 100)
                wait(stores, lambda: unswept(stores) == 0)
            wait(stores, lambda: sweeper.progress.swept == 200)
        assert not sweeper.running
        assert sweeper.progress.kept == sweeper.progress.failures == 0
        assert stores.contents() == before


def test_a_sweeper_is_a_context_manager(flavour: str) -> None:
    with opened(flavour, "manager") as stores:
        sweeper = stores.db.sweeper(interval=0.01)

        async def inside() -> None:
            async with sweeper as same:
                assert same is sweeper and sweeper.running

        if flavour == "aio":
            stores.do(inside())
        else:
            with sweeper as same:
                assert same is sweeper and sweeper.running
        assert not sweeper.running


def test_concurrent_sweepers_share_the_work(flavour: str) -> None:
    with opened(flavour, "share") as stores:
        before = stores.contents()
        add_dead(stores, 600)
        sweepers = [store.sweeper(interval=0.01, share=1.0) for store in stores.stores]
        with sweeping(stores, *sweepers):
            wait(stores, lambda: sum(sweeper.progress.swept for sweeper in sweepers) == 600)
        assert [sweeper.progress.failures for sweeper in sweepers] == [0, 0, 0]
        assert stores.contents() == before


def test_stopping_a_sweeper_does_not_wait_for_the_interval_and_it_can_be_restarted(flavour: str) -> None:
    with opened(flavour, "stop") as stores:
        sweeper = stores.db.sweeper(interval=3600)
        for turn in (1, 2):
            with sweeping(stores, sweeper):
                wait(stores, lambda turn=turn: sweeper.progress.rounds == turn)  # type: ignore[misc]
                started = time.monotonic()
            assert time.monotonic() - started < 60
            assert not sweeper.running


def test_closing_a_store_stops_its_sweepers(flavour: str) -> None:
    with opened(flavour, "close") as stores:
        store = stores.stores[2]
        sweepers = [store.sweeper(interval=3600), store.sweeper(interval=3600)]
        with sweeping(stores, *sweepers):
            stores.do(store.close())
            assert [sweeper.running for sweeper in sweepers] == [False, False]
        assert [sweeper.progress.failures for sweeper in sweepers] == [0, 0]


def test_a_sweeper_survives_a_keyspace_that_it_cannot_read(flavour: str) -> None:
    """The set of deadlines is damaged, then repaired: the sweeper fails, reports the error, and recovers."""
    with opened(flavour, "outlives") as stores:
        expiry = stores.db.session.context.partition(TASK_STATE).expiry
        sweeper = stores.db.sweeper(interval=0.01)
        stores.send(("SET", expiry, "damaged"))
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.failures > 0)
            assert "wrong" in str(sweeper.progress.error) or "another type" in str(sweeper.progress.error)
            assert sweeper.running
            stores.send(("DEL", expiry))
            add_dead(stores, 5)
            wait(stores, lambda: unswept(stores) == 0)
            wait(stores, lambda: sweeper.progress.failures == 0)


def test_one_unreadable_row_does_not_block_a_sweep(flavour: str) -> None:
    with opened(flavour, "unreadable") as stores:
        context = stores.db.session.context
        add_dead(stores, 40)
        place = context.partition(TASK_STATE).document("TaskState", "dead7")
        (document,) = stores.send(("GET", place))
        stores.send(("SET", place, document.replace(b'"status":"SUCCESS"', b'"status":"UNHEARD"')))
        sweeper = stores.db.sweeper(interval=0.01, share=1.0)
        with sweeping(stores, sweeper):
            wait(stores, lambda: unswept(stores) == 1 and sweeper.progress.kept == 1)
        assert sweeper.progress.swept == 39
        assert sweeper.progress.failures == 0


@pytest.mark.parametrize("pace", [{"interval": 0.0}, {"share": 0.0}, {"share": 1.5}])
def test_an_invalid_pace_is_refused(flavour: str, pace: dict[str, float]) -> None:
    with opened(flavour, "pace") as stores, pytest.raises(ConfigurationError):
        stores.db.sweeper(**pace)


def test_a_forked_child_sweeps_only_after_it_starts_a_sweeper() -> None:
    program = """
import os
import time
from compozy_store.sync import Store

def until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)

with Store.open(URL, namespace="fork") as store, store.sweeper(interval=0.01) as sweeper:
    state = store.session.context.state
    until(lambda: state.sweepers == 1)
    child = os.fork()
    if child == 0:
        assert not sweeper.running and state.sweepers == 0
        sweeper.stop()
        with sweeper:
            assert sweeper.running
            until(lambda: state.sweepers == 1)
        assert not sweeper.running and state.sweepers == 0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert sweeper.running and state.sweepers == 1
print("ok")
"""
    url = server_url()
    command = [sys.executable, "-c", program.replace("URL", repr(url))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ok\n", done.stderr


def later(stores: Harness) -> None:
    """Advance this client's clock by two seconds, because writes sweep only rows that have been dead for a while."""
    clock = stores.db.session.context.state.clock
    clock.set(clock.now() + 2_000_000)


def test_writes_sweep_a_store_without_a_sweeper(flavour: str) -> None:
    with opened(flavour, "tidy", sweep_every=4, sweep_rows=10) as stores:
        before = stores.contents()
        add_dead(stores, 50)
        left = []
        for _ in range(32):
            later(stores)
            stores.do(stores.db.workflow_states.change("w", lambda row: setattr(row, "output", 1)))
            left.append(unswept(stores))
        steps = [earlier - after for earlier, after in zip([50, *left], left, strict=False)]
        assert left[-1] == 0
        assert max(steps) == 10, "no write does more than its share"
        assert sum(step > 0 for step in steps) == 5
        after = stores.contents()
        assert {key for key in after if "WorkflowState" not in key} == {
            key for key in before if "WorkflowState" not in key
        }


@pytest.mark.parametrize("remembered", [0, 1024])
def test_deletes_sweep_as_other_writes_do(flavour: str, remembered: int) -> None:
    """Of a row that this process remembers or has to read, with its referrers or alone, and in a transaction."""

    def in_transaction(tx: Any) -> Any:
        yield tx.task_states.delete("p3")

    with opened(flavour, "delete", sweep_every=1, sweep_rows=1, remembered=remembered) as stores:
        db = stores.db
        stores.do(db.workflow_states.create(run("v")))
        add_tasks(stores, [task("p1"), task("p2"), task("p3"), task("child", "p2")])
        add_dead(stores, 8)
        calls: list[Callable[[], Any]] = [
            lambda: stores.do(db.task_states.delete("p1")),
            lambda: stores.do(db.task_states.delete("p2")),
            lambda: stores.do(db.workflow_states.discard("v")),
            lambda: stores.transact(in_transaction),
        ]
        left = [unswept(stores)]
        for call in calls:
            later(stores)
            call()
            left.append(unswept(stores))
        assert [before - after for before, after in pairwise(left)] == [1, 1, 1, 1]


def write(stores: Harness, times: int = 1) -> None:
    """Make writes, with the clock advanced so that some of them may sweep."""
    for _ in range(times):
        later(stores)
        stores.do(stores.db.workflow_states.upsert(run()))


def test_writes_leave_a_small_backlog_to_the_sweeper_of_their_store(flavour: str) -> None:
    with opened(flavour, "leave", sweep_every=1) as stores:
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.rounds == 1)
            add_dead(stores, 64)
            write(stores, 3)
            assert unswept(stores) == 64
        write(stores)
        assert unswept(stores) == 0


def test_writes_sweep_a_large_backlog_although_a_sweeper_runs(flavour: str) -> None:
    """The sweeper waits for its next round, so rows that are removed meanwhile were swept by writes."""
    with opened(flavour, "pile", sweep_every=4, sweep_rows=50) as stores:
        before = stores.contents()
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.rounds == 1)
            add_dead(stores, 200)
            left = []
            for _ in range(20):
                write(stores)
                left.append(unswept(stores))
            assert sweeper.progress.swept == 0
            steps = [earlier - after for earlier, after in zip([200, *left], left, strict=False)]
            assert [step for step in steps if step] == [50, 50, 50], "until nothing piles up any more"
            assert stores.db.session.context.state.swept_by_writes == 150
        write(stores, 8)
        after = stores.contents()
        assert {key for key in after if "WorkflowState" not in key} == {
            key for key in before if "WorkflowState" not in key
        }


def test_unsweepable_rows_do_not_count_as_backlog(flavour: str) -> None:
    """A sweeper has found 70 rows of an entity that is not in this schema. Writes do not read them again."""
    with opened(flavour, "kept", sweep_every=1) as stores:
        expiry = stores.db.session.context.partition(TASK_STATE).expiry
        stores.send(("ZADD", expiry, *(word for n in range(70) for word in (n + 1, f"Forgotten:{n}"))))
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.kept == 70)
            add_dead(stores, 64)
            write(stores, 2)
            assert unswept(stores) == 134
            add_dead(stores, 65)
            write(stores, 10)
            assert unswept(stores) <= 134


def test_sweeping_by_writes_can_be_disabled(flavour: str) -> None:
    with opened(flavour, "never", sweep_every=0) as stores:
        add_dead(stores, 5)
        for _ in range(70):
            later(stores)
            stores.do(stores.db.workflow_states.upsert(run()))
        assert unswept(stores) == 5
