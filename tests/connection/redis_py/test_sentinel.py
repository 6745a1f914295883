"""A store that Sentinels lead to the master: real servers, a real Sentinel, and failovers."""

from __future__ import annotations

import asyncio
import inspect
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel

from compozy_store import Role, User, aio, sync
from keyweave.errors import StoreUnavailableError
from tests.harness import FLAVOURS
from tests.servers.running import (
    Running,
    configured_server,
    embedded_binary,
    free_port,
    new_namespace,
    running_command,
)

SERVICE = "mymaster"


def _sentinel(module: Any) -> Any:
    return module.Sentinel


class Watched:
    """A master with a replica, and a Sentinel that watches them."""

    def __init__(self, servers: dict[int, Running], sentinel: int) -> None:
        self.servers = servers
        self.sentinel = sentinel
        self.dead = free_port()
        self._asked: Any = _sentinel(redis.sentinel)([("127.0.0.1", sentinel)])

    @property
    def url(self) -> str:
        """The first Sentinel is down."""
        return f"redis+sentinel://127.0.0.1:{self.dead},127.0.0.1:{self.sentinel}/{SERVICE}"

    @property
    def master(self) -> int:
        """The port of the master that the Sentinel names."""
        return int(self._asked.discover_master(SERVICE)[1])

    def replicas_are_known(self) -> bool:
        return len(self._asked.discover_slaves(SERVICE)) == 1

    def fail_over(self) -> None:
        """Let the Sentinel promote the replica, once it knows that it can; the old master lives on as a replica."""
        asked = self._asked.sentinels[0]
        until(lambda: asked.execute_command("SENTINEL", "FAILOVER", SERVICE) is not None)

    def close(self) -> None:
        self._asked.close()


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not _holds(holds):
        assert time.monotonic() < limit
        time.sleep(0.02)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except redis.RedisError:
        return False


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        first, second, port = free_port(), free_port(), free_port()
        options = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        servers = {
            first: stack.enter_context(configured_server(port=str(first), **options)),
            second: stack.enter_context(
                configured_server(port=str(second), replicaof=f"127.0.0.1 {first}", **options)
            ),
        }
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 2000\n"
        )
        command = [embedded_binary(), str(config), "--sentinel"]
        stack.enter_context(running_command(command, {"port": str(port)}))
        found = Watched(servers, port)
        stack.callback(found.close)
        until(found.replicas_are_known)
        with servers[second].client() as replica:
            until(lambda: replica.info("replication")["master_link_status"] == "up")
        yield found


class Store:
    """A store of either flavour, which waits for its results."""

    def __init__(self, flavour: str) -> None:
        self.runner = asyncio.Runner()
        self.flavour = flavour
        self.store: Any = None
        self.then: Callable[[], Any] = lambda: None

    def open(self, url: str, **options: Any) -> None:
        module = aio if self.flavour == "aio" else sync
        self.store = self.do(module.Store.open(url, namespace=new_namespace("sentinel"), **options))

    def over_master(self, sentinel: int, **options: Any) -> None:
        """Open the store over the client of an application's own Sentinel."""
        if self.flavour == "aio":
            own = _sentinel(redis.asyncio.sentinel)([("127.0.0.1", sentinel)])
            store: Any = aio.Store
        else:
            own, store = _sentinel(redis.sentinel)([("127.0.0.1", sentinel)]), sync.Store
        client = own.master_for(SERVICE)

        def close() -> None:
            for each in (client, *own.sentinels):
                self.do(each.aclose() if self.flavour == "aio" else each.close())

        self.then = close
        self.store = store.over(client, namespace=new_namespace("sentinel"), **options)

    def do(self, outcome: Any) -> Any:
        return self.runner.run(_awaited(outcome)) if inspect.isawaitable(outcome) else outcome

    def create(self, key: str) -> None:
        self.do(self.store.users.create(User(id=key, email=f"{key}@x", role=Role.USER)))

    def close(self) -> None:
        if self.store is not None:
            self.do(self.store.close())
        self.then()
        self.runner.close()


async def _awaited(outcome: Any) -> Any:
    return await outcome


@pytest.fixture(params=FLAVOURS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = Store(str(request.param))
    yield opened
    opened.close()


def test_the_tenants_of_a_store_go_on_through_a_failover(watched: Watched) -> None:
    with sync.Store.open(watched.url, namespace=new_namespace("tenants"), deadline=25) as opened:
        tenants = [opened.tenant(new_namespace(name)) for name in "ab"]
        for tenant in tenants:
            tenant.users.create(User(id="before", email="x@y", role=Role.USER))
        watched.fail_over()
        for tenant in (*tenants, opened.tenant(new_namespace("new"))):
            tenant.users.create(User(id="after", email="z@y", role=Role.USER))
        assert [tenant.users.all().count() for tenant in tenants] == [2, 2]


def test_writers_go_on_through_a_failover_and_the_death_of_a_master(store: Store, watched: Watched) -> None:
    store.open(watched.url, deadline=25)
    old = watched.master
    store.create("before")
    watched.fail_over()
    created = ["before"]
    until(lambda: watched.master != old)
    for number in range(20):
        created.append(f"u{number}")
        store.create(created[-1])
    assert {row.id for row in store.do(store.store.users.get_many(created)) if row} >= set(created[1:])
    new = watched.master
    with watched.servers[old].client() as other:
        until(lambda: other.info("replication").get("master_link_status") == "up")
        assert other.info("replication")["role"] == "slave"
    until(watched.replicas_are_known)
    watched.servers[new].process.send_signal(signal.SIGKILL)
    store.create("after")
    assert watched.master == old
    assert store.do(store.store.users.get("after")).email == "after@x"
    assert store.do(store.store.check()).clean


def test_a_master_that_became_a_replica_is_left(store: Store, watched: Watched) -> None:
    """The connection outlives the failover, and the old master answers a write with READONLY."""
    store.over_master(watched.sentinel, deadline=25)
    store.create("before")
    old = watched.master
    watched.fail_over()
    until(lambda: watched.master != old)
    with watched.servers[old].client() as other:
        until(lambda: other.info("replication")["role"] == "slave")
    store.create("after")
    with watched.servers[watched.master].client() as new:
        assert new.keys("*after*")


def test_without_a_sentinel_the_error_is_typed_and_in_time(store: Store) -> None:
    ports = [free_port(), free_port()]
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=f"mymaster of 127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"):
        store.open(
            "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in ports) + "/mymaster", deadline=1
        )
    assert time.monotonic() - started < 5


def test_a_service_that_the_sentinels_do_not_know_is_reported(store: Store, watched: Watched) -> None:
    with pytest.raises(StoreUnavailableError, match="No master found for 'other'"):
        store.open(watched.url.replace(SERVICE, "other"), deadline=1)
