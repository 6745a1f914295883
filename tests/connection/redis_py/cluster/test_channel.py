"""Stores on a real cluster: by URL and over clients of redis-py, in both flavours."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio

from compozy_store import APIKey, Component, Role, Status, TaskState, User, WorkflowState, aio, sync
from keyweave.errors import (
    ConfigurationError,
    CrossPartitionError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from keyweave.exchange.deadline import server_time
from keyweave.transfer.clear import clear
from tests.harness import FLAVOURS
from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.cluster_node import ClusterNode
from tests.servers.running import configured_server, free_port, new_namespace
from tests.waiting import wait_until

WAYS = ("url", "client")


class Opened:
    """A store of either flavour on a cluster, which waits for its results."""

    def __init__(self, cluster: Cluster, flavour: str, way: str, **options: Any) -> None:
        self.flavour = flavour
        self.runner = asyncio.Runner()
        self.client: Any = None
        module = aio if flavour == "aio" else sync
        self.namespace = options.pop("namespace", None) or new_namespace("cluster")
        if way == "url":
            self.store = self.do(module.Store.open(cluster.url, namespace=self.namespace, **options))
        else:
            limit = options.pop("pool_size", 16)
            self.client = self.do(_client(cluster, flavour, limit))
            self.store = module.Store.over(self.client, namespace=self.namespace, **options)

    def do(self, result: Any) -> Any:
        return self.runner.run(_awaited(result)) if hasattr(result, "__await__") else result

    @property
    def slot(self) -> int:
        """The slot of the group of users."""
        context = self.store.session.context
        return slot_of(context.partition(context.package.entities["User"]).clock)

    def close(self) -> None:
        self.do(self.store.close())
        if self.client is not None:
            self.do(self.client.aclose() if self.flavour == "aio" else self.client.close())
        self.runner.close()


async def _awaited(result: Any) -> Any:
    return await result


def open_by_url(flavour: str, url: str, **options: Any) -> None:
    """Open a store by a URL, and close it."""
    if flavour == "sync":
        sync.Store.open(url, **options).close()
        return

    async def work() -> None:
        async with aio.Store.open(url, **options):
            pass

    asyncio.run(work())


def _client(cluster: Cluster, flavour: str, limit: int) -> Any:
    if flavour == "sync":
        return cluster.client(max_connections=limit)
    return _made(cluster, limit)


async def _made(cluster: Cluster, limit: int) -> Any:
    startup = [redis.asyncio.cluster.ClusterNode(*each) for each in cluster.addresses]
    return redis.asyncio.RedisCluster(startup_nodes=startup, max_connections=limit)


Open = Callable[..., Opened]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


@pytest.fixture
def opened(cluster: Cluster) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(flavour: str, way: str = "url", **options: Any) -> Opened:
            found = Opened(cluster, flavour, way, **options)
            stack.callback(found.close)
            return found

        yield open_one


def user(key: str = "u", email: str | None = None) -> User:
    return User(id=key, email=email or f"{key}@x", role=Role.USER)


def task(key: str, status: Status = Status.RUNNING) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.TASK,
        status=status,
    )


def execution() -> WorkflowState:
    return WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)


def calls(node: ClusterNode, command: str) -> int:
    """How often a node has been sent a command."""
    found = node.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(found["calls"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_exchange_with_several_masters_is_under_way_on_all_of_them_at_the_same_time(
    opened: Open, cluster: Cluster, flavour: str, way: str
) -> None:
    """Each master answers only once all of them wait: one after another, the first would end without a result."""
    each = opened(flavour, way)
    each.do(each.store.ready()) if way == "client" else None
    masters = cluster.masters()
    tags = {
        node: next(tag for tag in map("{{{}}}".format, range(999)) if cluster.owner(slot_of(tag)) is node)
        for node in masters
    }
    found: list[Any] = []
    commands = [("BLPOP", f"{tag}list", 4) for tag in tags.values()]
    caller = threading.Thread(
        target=lambda: found.append(each.do(each.store.session.shell.channel.exchange(commands)))
    )
    caller.start()
    try:
        wait_until(lambda: all(node.info("clients")["blocked_clients"] == 1 for node in masters))
    finally:
        for node, tag in tags.items():
            node.ask("LPUSH", f"{tag}list", node.name)
        caller.join()
    assert [name.decode() for _, name in found[0]] == [node.name for node in masters]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_works_on_a_cluster(opened: Open, flavour: str, way: str) -> None:
    each = opened(flavour, way)
    store, do = each.store, each.do
    do(store.ready()) if way == "client" else None
    do(store.users.create(user()))
    do(store.api_keys.create(APIKey(id="k", user_id="u", hash=b"h", fingerprint=b"f", prefix="p")))
    assert do(store.users.get("u")).email == "u@x"
    assert do(store.users.by_role(Role.USER).count()) == 1
    assert do(store.check()).documents == 2
    health = do(store.health())
    assert health.serving and health.clock_skew < 1
    do(store.users.delete("u"))
    assert do(store.api_keys.find("k")) is None
    assert do(store.check()).clean


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_groups_of_a_namespace_are_on_different_masters_and_what_scans_reaches_all(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    for attempt in range(50):
        with cluster.client() as client:
            context = sync.Store.over(client, namespace=f"spread-{attempt}").session.context
        partitions = context.keyspace.partitions()
        if len({cluster.owner(slot_of(partition.clock)).id for partition in partitions}) > 1:
            break
    each = opened(flavour, namespace=f"spread-{attempt}")
    store, do = each.store, each.do
    do(store.workflow_states.create(execution()))
    for number in range(30):
        do(store.users.create(user(f"u{number}")))
        do(store.task_states.create(task(f"t{number}")))
    report = do(store.check())
    assert (report.documents, report.clean) == (61, True)
    # A key of a group that this code does not know is found as well, on whichever master it is.
    prefix = context.keyspace.namespace.prefix()
    with cluster.client() as client:
        for number in range(8):
            client.set(f"{{{prefix}:old{number}:0}}:Old:1", "x")
        assert sum(do(store.check()).drift.values()) == 8
        assert do(store.session.run(clear(store.session.context))) > 60
        assert client.dbsize(target_nodes=redis.RedisCluster.PRIMARIES) == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_group_has_the_clock_of_its_master(opened: Open, flavour: str) -> None:
    """A store that believed in the clock of another master would send its first write too late, and would send it twice."""
    each = opened(flavour)
    store, do = each.store, each.do
    context = store.session.context
    clocks = {partition.tag: context.clock(partition) for partition in context.keyspace.partitions()}
    assert len(set(map(id, clocks.values()))) == 2
    assert all(abs(clock.now() / 1_000_000 - time.time()) < 5 for clock in clocks.values())
    do(store.users.create(user()))
    do(store.workflow_states.create(execution()))
    assert store.stats.retries == 0
    # What one master says leaves the other clock alone.
    users, states = (
        context.clock(context.partition(context.package.entities[name])) for name in ("User", "WorkflowState")
    )
    users.set(1)
    assert (
        do(
            store.session.run(
                server_time(context, context.partition(context.package.entities["WorkflowState"]))
            )
        )
        > 1
    )
    assert users.now() < 10**12 < states.now()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_slot_that_has_moved_is_found_and_the_scripts_are_sent_again(
    cluster: Cluster, opened: Open, flavour: str, way: str
) -> None:
    each = opened(flavour, way)
    store, do = each.store, each.do
    do(store.users.create(user("before")))
    target = cluster.other_master(cluster.owner(each.slot))
    target.ask("SCRIPT", "FLUSH")
    cluster.move_slot(each.slot, target)
    asked = sum(calls(node, "get") for node in cluster.nodes)
    assert do(store.users.get("before")).id == "before"
    assert sum(calls(node, "get") for node in cluster.nodes) == asked + 1  # what was refused is not counted
    do(store.users.create(user("after")))
    assert do(store.users.by_role(Role.USER).count()) == 2
    assert do(store.check()).clean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_durable_store_confirms_writes_by_the_replica_of_the_master_that_has_them(
    cluster: Cluster, opened: Open, flavour: str, way: str
) -> None:
    each = opened(flavour, way, durable="replicas:1")
    each.do(each.store.users.create(user("a", "a@b.c")))
    cluster.move_slot(each.slot, cluster.other_master(cluster.owner(each.slot)))
    each.do(each.store.users.create(user("b", "b@b.c")))
    assert each.do(each.store.users.get("b")).email == "b@b.c"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_while_a_slot_moves_callers_wait_for_keys_that_are_on_both_nodes(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    each = opened(flavour, deadline=0.3)
    store, do = each.store, each.do
    for key in ("a", "b"):
        do(store.users.create(user(key)))
    context = store.session.context
    entity = context.package.entities["User"]
    moved = context.partition(entity).document("User", "a")
    with cluster.moving(each.slot, cluster.other_master(cluster.owner(each.slot))) as move:
        move.carry(moved)
        assert do(store.users.get("a")).id == "a"  # by ASK
        assert do(store.users.get("b")).id == "b"
        for waiting in (
            lambda: store.users.get_many(["a", "b"]),
            lambda: store.users.create(user("c")),
            lambda: store.users.by_role(Role.USER).page(),
            store.check,
        ):
            with pytest.raises(StoreUnavailableError) as refused:
                do(waiting())
            assert refused.value.code == "TRYAGAIN" and not isinstance(refused.value, OutcomeUnknownError)
    assert [each.id for each in do(store.users.get_many(["a", "b"]))] == ["a", "b"]
    assert do(store.users.by_role(Role.USER).count()) == 2
    assert do(store.check()).clean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_after_a_killed_master_its_replica_is_found(
    cluster: Cluster, opened: Open, flavour: str, way: str
) -> None:
    each = opened(flavour, way)
    store, do = each.store, each.do
    do(store.users.create(user("before")))
    cluster.wait_until_replicated()
    cluster.kill(cluster.owner(each.slot))
    assert do(store.users.get("before")).id == "before"
    do(store.users.create(user("after")))
    assert do(store.check()).clean


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_master_that_hands_over_is_left_without_an_error(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    each = opened(flavour)
    store, do = each.store, each.do
    do(store.users.create(user("before")))
    cluster.fail_over(cluster.replica_of(cluster.owner(each.slot)))
    do(store.users.create(user("after")))
    assert do(store.users.get("before")).id == "before"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_slot_without_an_owner_is_waited_for_until_the_deadline(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    each = opened(flavour, deadline=0.3)
    store, do = each.store, each.do
    do(store.users.create(user()))
    with cluster.without_slot(each.slot):
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError) as refused:
            do(store.users.create(user("late")))
        assert time.monotonic() - started < 2
        assert refused.value.code == "CLUSTERDOWN" and not isinstance(refused.value, OutcomeUnknownError)
    assert do(store.users.find("late")) is None
    assert do(store.users.get("u")).id == "u"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_cluster_that_is_down_is_a_typed_error(flavour: str) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailableError, match="cannot connect"):
        open_by_url(flavour, url, deadline=0.3)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_pool_of_one_connection_for_each_node_serves_many_callers(opened: Open, flavour: str) -> None:
    each = opened(flavour, "client", pool_size=1)
    store = each.store
    each.do(store.ready())
    if flavour == "aio":

        async def all_at_once() -> None:
            await asyncio.gather(*(store.users.find(f"u{number}") for number in range(50)))

        each.runner.run(all_at_once())
    else:
        for number in range(50):
            store.users.find(f"u{number}")
    state = store.session.shell.pool_state()
    assert state.idle == state.open <= 3 and state.waiting == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_clients_of_a_cluster_that_a_store_cannot_use_are_refused(cluster: Cluster, flavour: str) -> None:
    node, asked = cluster.addresses[0]
    startup = [redis.asyncio.cluster.ClusterNode(node, asked)]
    store = (aio if flavour == "aio" else sync).Store
    with cluster.client(decode_responses=True) as text, cluster.client() as blocking:
        waiting = redis.asyncio.RedisCluster(startup_nodes=startup)
        shown = redis.asyncio.RedisCluster(startup_nodes=startup, decode_responses=True)
        clients: dict[str, Any] = {
            "decode_responses=True": shown if flavour == "aio" else text,
            "store needs a client of redis": blocking if flavour == "aio" else waiting,
        }
        if flavour == "sync":
            clients["caches replies"] = caching = cluster.client()
            manager: Any = caching.nodes_manager
            manager._cache = object()  # redis-py makes one with a Redis, not with a Valkey
        for message, client in clients.items():
            with pytest.raises(ConfigurationError, match=message):
                store.over(client)
        if flavour == "sync":
            caching.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_transaction_over_two_groups_is_refused_before_anything_is_sent(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    each = opened(flavour)
    before = sum(calls(node, "evalsha") + calls(node, "eval") for node in cluster.nodes)

    def both(tx: Any) -> None:
        tx.users.create(user())
        tx.task_states.create(task("t"))

    async def both_awaited(tx: Any) -> None:
        await tx.users.create(user())
        await tx.task_states.create(task("t"))

    with pytest.raises(CrossPartitionError):
        each.do(each.store.transact(both_awaited if flavour == "aio" else both))
    assert sum(calls(node, "evalsha") + calls(node, "eval") for node in cluster.nodes) == before


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_url_of_a_cluster_that_leads_to_one_server_is_refused(flavour: str) -> None:
    port = free_port()
    mistake = pytest.raises(ConfigurationError, match="no node of a Redis Cluster")
    with configured_server(port=str(port)), mistake:
        open_by_url(flavour, f"redis+cluster://127.0.0.1:{port}")


def test_a_url_of_one_server_that_leads_to_a_cluster_says_what_to_write(cluster: Cluster) -> None:
    with cluster.client() as client:
        context = sync.Store.over(client, namespace="elsewhere").session.context
    owner = cluster.owner(slot_of(context.keyspace.partitions()[0].clock))
    with pytest.raises(StoreUnavailableError, match=r"redis\+cluster://"):
        open_by_url("sync", f"redis://{cluster.other_master(owner).name}", namespace="elsewhere")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_key_that_moves_under_a_script_that_finds_it_in_an_index_is_waited_for(
    cluster: Cluster, opened: Open, flavour: str
) -> None:
    """The view is on the source and a row of it on the target: the server refuses the script with a plain ERR."""
    each = opened(flavour, deadline=0.3)
    store, do = each.store, each.do
    do(store.users.create(user("a")))
    context = store.session.context
    partition = context.partition(context.package.entities["User"])
    with cluster.moving(each.slot, cluster.other_master(cluster.owner(each.slot))) as move:
        move.carry(partition.document("User", "a"))
        with pytest.raises(StoreUnavailableError) as refused:
            do(store.users.by_role(Role.USER).page())
        assert refused.value.code == "TRYAGAIN"
    assert len(do(store.users.by_role(Role.USER).page())) == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_write_is_whole_while_its_slot_moves(cluster: Cluster, opened: Open, flavour: str) -> None:
    """A script cannot write a key again that it has emptied, while the slot moves, and would end in the middle of a plan."""
    each = opened(flavour, deadline=0.3, retention={"TaskState": timedelta(days=1)})
    store, do = each.store, each.do
    do(store.workflow_states.create(execution()))
    for key, status in (("a", Status.RUNNING), ("b", Status.PENDING), ("over", Status.SUCCESS)):
        do(store.task_states.create(task(key, status)))

    def swap(tx: Any) -> None:
        tx.task_states.update("a", status=Status.PENDING)
        tx.task_states.update("b", status=Status.RUNNING)

    async def swap_awaited(tx: Any) -> None:
        await tx.task_states.update("a", status=Status.PENDING)
        await tx.task_states.update("b", status=Status.RUNNING)

    def write() -> Any:
        return do(store.transact(swap_awaited if flavour == "aio" else swap))

    context = store.session.context
    slot = slot_of(context.partition(context.package.entities["TaskState"]).clock)
    with cluster.moving(slot, cluster.other_master(cluster.owner(slot))):
        with pytest.raises(StoreUnavailableError) as refused:
            write()
        assert refused.value.code == "TRYAGAIN"
    assert do(store.check()).clean
    statuses = [do(store.task_states.get(key)).status for key in ("a", "b")]
    assert statuses == [Status.RUNNING, Status.PENDING]
    write()
    assert do(store.check()).clean
    assert do(store.task_states.get("b")).status is Status.RUNNING
