"""Faults of redis-py that the channel over it must not inherit, each reproduced with redis-py alone.

A test of a fault that the installed version still has fails when a later version does not have it any more. A test of a fault that is
gone holds that it stays gone.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

import pytest
import redis
from redis.asyncio.cluster import ClusterNode as AioNode
from redis.asyncio.cluster import PipelineCommand
from redis.asyncio.cluster import RedisCluster as AioCluster
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.cluster_node import ClusterNode
from tests.servers.node import HOST
from tests.waiting import until, wait_until

KEY = "{fault}"
SLOT = slot_of(KEY)
SCRIPT = "return redis.call('INCR', KEYS[1])"
DIGEST = sha1(SCRIPT.encode()).hexdigest()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    for node in shared.nodes:
        node.ask("SCRIPT", "FLUSH")
    yield shared
    shared.restore()


def with_client(cluster: Cluster, work: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Run asyncio code with a client of the cluster, which learns the topology from a node that does not serve the key."""

    async def run() -> None:
        startup = [AioNode(HOST, cluster.other_master(cluster.owner(SLOT)).port)]
        async with AioCluster(startup_nodes=startup, **options) as client:
            await work(client)

    asyncio.run(run())


def moved_replies(cluster: Cluster) -> int:
    """How often a node has answered MOVED."""
    found = [node.info("errorstats").get("errorstat_MOVED", {"count": 0}) for node in cluster.nodes]
    return sum(int(each["count"]) for each in found)


@contextmanager
def unclosed() -> Iterator[None]:
    """Inside, a client may leave sockets open: one that closes itself after a MOVED does not always close what it opens afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


async def answered_moved(cluster: Cluster, client: Any) -> int:
    """Move the slot, read the key, and return how many MOVED the client got."""
    before = await asyncio.to_thread(moved_replies, cluster)
    await asyncio.to_thread(cluster.move_slot, SLOT, cluster.other_master(cluster.owner(SLOT)))
    try:
        assert await client.get(KEY) == b"value"
    finally:
        count = await asyncio.to_thread(moved_replies, cluster) - before
    return count


def test_4322_asyncio_retries_moved_on_stale_slots(cluster: Cluster) -> None:
    """In 8.1.0: at every `reinitialize_steps`-th MOVED the client should read the slots again, and tries once more without that.

    If that is every MOVED, it asks the same node until it gives up, and the caller gets an error although all nodes know the owner.
    """

    async def work(client: Any) -> None:
        await client.set(KEY, "value")
        before = await asyncio.to_thread(moved_replies, cluster)
        with pytest.raises(redis.exceptions.ClusterError, match="TTL exhausted"):
            await answered_moved(cluster, client)
        assert await asyncio.to_thread(moved_replies, cluster) - before == client.RedisClusterRequestTTL
        assert await client.get(KEY) == b"value"

    with unclosed():
        with_client(cluster, work, reinitialize_steps=1)


def test_4322_by_default_every_fifth_moved_is_answered_twice(cluster: Cluster) -> None:
    """In 8.1.0: at the fifth, the client closes every connection and asks the same node again."""

    async def work(client: Any) -> None:
        await client.set(KEY, "value")
        assert [await answered_moved(cluster, client) for _ in range(5)] == [1, 1, 1, 1, 2]

    with unclosed():
        with_client(cluster, work)


def test_4322_blocking(cluster: Cluster) -> None:
    """The blocking client reads the slots at once."""
    with cluster.client(reinitialize_steps=1, retry=Retry(NoBackoff(), 0)) as client:
        client.set(KEY, "value")
        cluster.move_slot(SLOT, cluster.other_master(cluster.owner(SLOT)))
        before = moved_replies(cluster)
        assert client.get(KEY) == b"value"
        assert moved_replies(cluster) - before == 1


def test_4322_does_not_happen_while_moved_patches_one_slot(cluster: Cluster) -> None:
    """With `reinitialize_steps=0` the client never reads the slots because of a MOVED, and takes the new owner from it."""

    async def work(client: Any) -> None:
        await client.set(KEY, "value")
        await asyncio.to_thread(cluster.move_slot, SLOT, cluster.other_master(cluster.owner(SLOT)))
        assert await client.get(KEY) == b"value"

    with_client(cluster, work, reinitialize_steps=0)


@pytest.mark.parametrize("pipeline", [False, True])
def test_4110_a_write_error_keeps_no_connection(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, pipeline: bool
) -> None:
    """Gone in 8.1.0. Before, each error while a command was written took a connection out of the pool of its node for ever."""
    whole = AbstractConnection.send_packed_command
    broken = False

    async def send(self: Any, *words: Any, **options: Any) -> None:
        if broken:
            raise redis.ConnectionError("broken pipe")
        await whole(self, *words, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", send)

    async def read(node: Any) -> None:
        if pipeline:
            await node.execute_pipeline([PipelineCommand(0, "GET", KEY)])
        else:
            await node.execute_command("GET", KEY)

    async def work(client: Any) -> None:
        nonlocal broken
        await client.set(KEY, "value")
        node = client.get_node_from_key(KEY)
        for _ in range(5):
            broken = True
            with pytest.raises(redis.ConnectionError, match="broken pipe"):
                await read(node)
            broken = False
        assert await node.execute_command("GET", KEY) == b"value"

    with_client(cluster, work, max_connections=1)


def named(node: ClusterNode, name: str) -> list[bytes]:
    """The connections that a server has from clients of this name."""
    lines: list[bytes] = node.ask("CLIENT", "LIST").splitlines()
    return [line for line in lines if f" name={name} ".encode() in line]


def connections(cluster: Cluster, name: str) -> int:
    """The number of connections that all servers have from clients of this name."""
    return sum(len(named(node, name)) for node in cluster.running)


def test_4057_a_refresh_of_the_topology_leaves_no_sockets(cluster: Cluster) -> None:
    """Gone in 8.1.0. Before, asyncio's client made new pools for the nodes at a refresh, and the old ones kept their sockets."""
    most = 2 * len(cluster.nodes)

    async def work(client: Any) -> None:
        for _ in range(2 * most):
            for number in range(10):
                await client.get(f"key:{number}")
            await client.nodes_manager.initialize()
        assert await asyncio.to_thread(connections, cluster, "refreshing") >= 3
        await until(lambda: connections(cluster, "refreshing") <= most)

    with_client(cluster, work, client_name="refreshing")
    wait_until(lambda: connections(cluster, "refreshing") == 0)


def test_4057_a_removed_node_keeps_no_sockets(cluster: Cluster) -> None:
    """Gone in 8.1.0. Before, a connection that was busy while its node left the cluster stayed open when its command had ended."""

    async def work(client: Any) -> None:
        node = client.get_node_from_key(KEY)
        server = cluster.owner(SLOT)
        busy = asyncio.create_task(client.blpop(KEY, 30))
        await until(lambda: b" cmd=blpop " in server.ask("CLIENT", "LIST"))
        others = {name: each for name, each in client.nodes_manager.nodes_cache.items() if each is not node}
        client.nodes_manager.set_nodes(client.nodes_manager.nodes_cache, others, remove_old=True)
        assert server.ask("RPUSH", KEY, "value") == 1
        assert await busy == (KEY.encode(), b"value")
        address = f":{server.port} ".encode()
        await until(lambda: not [line for line in named(server, "removing") if address in line])

    with_client(cluster, work, client_name="removing")


def test_4057_blocking(cluster: Cluster) -> None:
    """The blocking client keeps the pools of the nodes that stay."""
    most = 2 * len(cluster.nodes)
    with cluster.client(client_name="blocking") as client:
        for _ in range(2 * most):
            for number in range(10):
                client.get(f"key:{number}")
            client.nodes_manager.initialize()
        wait_until(lambda: connections(cluster, "blocking") <= most)


def test_4206_a_cluster_pipeline_refuses_scripts(cluster: Cluster) -> None:
    """In 8.1.0 the blocking pipeline refuses EVALSHA and EVAL. Later versions send EVALSHA, and do not repair NOSCRIPT."""
    with cluster.client() as client:
        with pytest.raises(redis.exceptions.RedisClusterException, match="evalsha is blocked"):
            client.pipeline().evalsha(DIGEST, 1, KEY)
        with pytest.raises(redis.exceptions.RedisClusterException, match=r"eval\(\) is not implemented"):
            client.pipeline().eval()


def test_4206_noscript_is_not_repaired(cluster: Cluster) -> None:
    """Scripts are known per node: where a slot moves, or a replica takes over, its scripts do not go, and EVALSHA is refused."""
    source = cluster.owner(SLOT)
    with cluster.client() as client:
        client.set(KEY, 0)
        source.ask("SCRIPT", "LOAD", SCRIPT)
        assert client.evalsha(DIGEST, 1, KEY) == 1
        cluster.move_slot(SLOT, cluster.other_master(source))
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha(DIGEST, 1, KEY)
        with pytest.raises(redis.exceptions.NoScriptError):
            client.execute_command("EVALSHA", DIGEST, 1, KEY)
        replies = client.get_redis_connection(client.get_node_from_key(KEY)).pipeline(transaction=False)
        replies.evalsha(DIGEST, 1, KEY)
        assert isinstance(replies.execute(raise_on_error=False)[0], redis.exceptions.NoScriptError)
        assert client.get(KEY) == b"1"


def test_4206_asyncio(cluster: Cluster) -> None:
    """Asyncio's pipeline sends EVALSHA in 8.1.0, and does not repair NOSCRIPT."""

    async def work(client: Any) -> None:
        pipeline = client.pipeline()
        pipeline.execute_command("EVALSHA", DIGEST, 1, KEY)
        pipeline.set(KEY, "written")
        replies = await pipeline.execute(raise_on_error=False)
        assert isinstance(replies[0], redis.exceptions.NoScriptError)
        assert await client.get(KEY) == b"written"

    with_client(cluster, work)
