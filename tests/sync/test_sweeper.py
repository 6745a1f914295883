"""The background sweeper of both flavours: it removes expired rows, survives errors, and stops with its store."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from compozy_store.entities import TASK_STATE
from keyweave.errors import ConfigurationError
from tests.harness import FLAVOURS
from tests.servers.running import server_url
from tests.sweeping import add_dead, opened, sweeping, unswept, wait


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


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
