"""Gauges show the pool and the server as they are when an SDK collects, for as long as a store is open."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from compozy_store import aio
from keyweave.effects import ServerError
from keyweave.errors import StoreUnavailableError
from keyweave.health.measure import ServerState, measure
from tests.connection.holding import drop_idle, hold
from tests.harness import FLAVOURS, harness, user
from tests.scripted import LOST, Scripted
from tests.servers.running import new_namespace, server_url
from tests.telemetry.recording import Recording


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_server_that_answers_is_up_and_described(flavour: str, recording: Recording) -> None:
    with harness(flavour, "up", **recording.metrics_only) as stores:
        stores.do(stores.db.users.create(user("u")))
        assert recording.total("keyweave.server.up") == 1
        assert recording.total("keyweave.server.memory.used") > 100_000
        assert recording.total("keyweave.server.clients") >= 1
        assert recording.total("keyweave.server.durable") in (0, 1)
        assert recording.points("keyweave.server.evicted")
    assert recording.points("keyweave.server.up") == [], "a closed store reports nothing"


def test_a_server_that_stopped_is_down_at_the_next_collection(recording: Recording) -> None:
    with harness("sync", "down", **recording.metrics_only) as stores:
        assert recording.total("keyweave.server.up") == 1
        shell = stores.db.session.shell
        working = shell.channel._connect
        drop_idle(stores)
        shell.channel._connect = lambda *_: (_ for _ in ()).throw(StoreUnavailableError("gone"))
        assert [point.value for point in recording.points("keyweave.server.up")] == [0]
        assert recording.points("keyweave.server.memory.used") == []
        shell.channel._connect = working
        assert recording.total("keyweave.server.up") == 1


def test_an_asyncio_store_measures_the_server_in_its_own_loop(recording: Recording) -> None:
    """The collecting thread never waits for the loop: a collection shows what the last one asked for."""

    async def main() -> None:
        async with aio.Store.open(
            server_url(), namespace=new_namespace("loop"), **recording.metrics_only
        ) as store:
            collected = await asyncio.to_thread(recording.total, "keyweave.server.keys")
            await store.users.create(user("u"))
            deadline = time.monotonic() + 20
            while await asyncio.to_thread(recording.total, "keyweave.server.keys") <= collected:
                assert time.monotonic() < deadline
            # In the loop's own thread it must not wait for itself either.
            assert recording.total("keyweave.server.up") == 1

    asyncio.run(main())


def test_pools_are_counted_by_state(recording: Recording) -> None:
    with harness("sync", "pool", pool_size=2, **recording.metrics_only) as stores:
        give_back = hold(stores)
        # Measuring the server uses the second connection for a moment; it is idle again when pools are counted.
        counts = {
            point.attributes["db.client.connection.state"]: point.value
            for point in recording.points("db.client.connection.count")
        }
        assert counts == {"idle": 1, "used": 1}
        assert recording.total("db.client.connection.max") == 2
        assert recording.total("db.client.connection.pending_requests") == 0
        give_back()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_waiting_for_a_connection_is_timed(flavour: str, recording: Recording) -> None:
    options = {
        "pool_size": 1,
        "pipelining": 1,
        "pool_timeout": 0.02,
        "deadline": 0.05,
        **recording.metrics_only,
    }
    with harness(flavour, "wait", **options) as stores:
        give_back = hold(stores)
        with pytest.raises(StoreUnavailableError):
            stores.do(stores.db.users.find("u"))
        give_back()
        assert stores.do(stores.db.users.find("u")) is None
        assert recording.total("db.client.connection.timeouts") >= 1
        (waited,) = recording.points("keyweave.connection.wait_time")
        assert waited.count >= 1
        assert waited.value >= 0.02


def test_stores_on_one_server_are_one_server(recording: Recording) -> None:
    with (
        harness("sync", "one", pool_size=3, **recording.metrics_only) as first,
        harness("sync", first, pool_size=4, **recording.metrics_only),
    ):
        assert [point.value for point in recording.points("keyweave.server.up")] == [1]
        assert [point.value for point in recording.points("db.client.connection.max")] == [7]


def test_facts_that_a_user_may_not_read_are_left_out() -> None:
    scripted = Scripted()
    refused = ServerError("NOPERM", "NOPERM this user has no permissions")
    state = scripted.run(measure(scripted.context), [[refused] * len(scripted_commands())])
    assert state == ServerState(up=True)


def test_a_server_that_does_not_answer_is_asked_once() -> None:
    scripted = Scripted()
    assert scripted.run(measure(scripted.context), [LOST]) == ServerState(up=False)


def scripted_commands() -> list[Any]:
    """What `measure` sends."""
    scripted = Scripted()
    scripted.run(measure(scripted.context), [LOST])
    return scripted.sent()
