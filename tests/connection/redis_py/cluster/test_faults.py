"""Faults of redis-py's cluster clients that a store over them does not have. `tests.servers.test_redis_py_faults` shows them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from typer.testing import CliRunner

from compozy_store import Role, User, aio, sync
from keyweave.admin.app import app
from tests.harness import FLAVOURS
from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.running import new_namespace
from tests.waiting import wait_until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


class Over:
    """A store over a client of redis-py, which waits for its results."""

    def __init__(self, cluster: Cluster, flavour: str, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.flavour = flavour
        if flavour == "aio":
            self.client: Any = self.runner.run(_made(cluster, options))
        else:
            self.client = cluster.client(**options)
        self.store = (aio if flavour == "aio" else sync).Store.over(
            self.client, namespace=new_namespace("faults")
        )
        context = self.store.session.context
        self.slot = slot_of(context.partition(context.package.entities["User"]).clock)

    def __enter__(self) -> Over:
        self.do(self.store.ready())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.store.close())
        self.do(self.client.aclose() if self.flavour == "aio" else self.client.close())
        self.runner.close()

    def do(self, result: Any) -> Any:
        return self.runner.run(_awaited(result)) if hasattr(result, "__await__") else result


async def _made(cluster: Cluster, options: dict[str, Any]) -> Any:
    startup = [redis.asyncio.cluster.ClusterNode(*each) for each in cluster.addresses]
    return redis.asyncio.RedisCluster(startup_nodes=startup, **options)


async def _awaited(result: Any) -> Any:
    return await result


def moved_replies(cluster: Cluster) -> int:
    found = [node.info("errorstats").get("errorstat_MOVED", {"count": 0}) for node in cluster.nodes]
    return sum(int(each["count"]) for each in found)


def connections(cluster: Cluster, name: str) -> int:
    lines = [line for node in cluster.running for line in node.ask("CLIENT", "LIST").splitlines()]
    return sum(f" name={name} ".encode() in line for line in lines)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_4322_a_moved_is_answered_once(cluster: Cluster, flavour: str) -> None:
    with Over(cluster, flavour, reinitialize_steps=1) as over:
        for number in range(6):
            cluster.move_slot(over.slot, cluster.other_master(cluster.owner(over.slot)))
            before = moved_replies(cluster)
            over.do(over.store.users.create(User(id=f"u{number}", email=f"{number}@x", role=Role.USER)))
            assert moved_replies(cluster) - before == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_4110_a_broken_connection_goes_back_to_its_pool(cluster: Cluster, flavour: str) -> None:
    with Over(cluster, flavour, max_connections=1) as over:
        for number in range(5):
            over.do(over.store.users.create(User(id=f"u{number}", email=f"{number}@x", role=Role.USER)))
            for node in cluster.masters():
                node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert over.do(over.store.users.by_role(Role.USER).count()) == 5
        state = over.store.session.shell.pool_state()
        assert state.open == state.idle <= len(cluster.masters())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_4057_reading_the_slots_again_leaves_no_sockets(cluster: Cluster, flavour: str) -> None:
    name = new_namespace("sockets")
    with Over(cluster, flavour, client_name=name) as over:
        for _ in range(8):
            cluster.move_slot(over.slot, cluster.other_master(cluster.owner(over.slot)))
            assert over.do(over.store.users.find("nobody")) is None
            over.do(_refreshed(over.client)) if flavour == "aio" else over.client.nodes_manager.initialize()
            assert over.do(over.store.users.find("nobody")) is None
        wait_until(lambda: connections(cluster, name) <= 2 * len(cluster.nodes))
    wait_until(lambda: connections(cluster, name) == 0)


async def _refreshed(client: Any) -> None:
    await client.nodes_manager.initialize()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_4206_scripts_are_sent_to_a_node_that_does_not_know_them(cluster: Cluster, flavour: str) -> None:
    with Over(cluster, flavour) as over:
        for number in range(3):
            for node in cluster.nodes:
                node.ask("SCRIPT", "FLUSH")
            over.do(over.store.users.create(User(id=f"u{number}", email=f"{number}@x", role=Role.USER)))
        assert over.store.stats.retries == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_printed_rule_permits_what_a_store_sends_to_a_cluster(cluster: Cluster, flavour: str) -> None:
    tenant = new_namespace("rule")
    words = ["acl", "-p", "compozy_store", "-n", tenant, "--url", cluster.url, "--for", "application"]
    printed = CliRunner().invoke(app, [*words, "--user", tenant, "--format", "json"])
    (rule,) = json.loads(printed.stdout).values()
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", *rule, ">word")
    url = cluster.url.replace("://", f"://{tenant}:word@")
    try:
        with asyncio.Runner() as runner:

            def do(result: Any) -> Any:
                return runner.run(_awaited(result)) if hasattr(result, "__await__") else result

            store = do((aio if flavour == "aio" else sync).Store.open(url, namespace=tenant))
            do(store.users.create(User(id="u", email="u@x", role=Role.USER)))
            context = store.session.context
            partition = context.partition(context.package.entities["User"])
            slot = slot_of(partition.clock)
            with cluster.moving(slot, cluster.other_master(cluster.owner(slot))) as move:
                move.carry(partition.document("User", "u"))
                assert do(store.users.get("u")).id == "u"
            do(store.users.delete("u"))
            do(store.close())
    finally:
        for node in cluster.nodes:
            node.ask("ACL", "DELUSER", tenant)
