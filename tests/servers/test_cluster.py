"""The cluster of the tests does what a cluster does, seen by redis-py alone."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from tests.servers.cluster import Cluster, share_of, shared_cluster, slot_of
from tests.servers.cluster_node import ClusterNode
from tests.servers.moving import Move
from tests.servers.running import chosen_server
from tests.waiting import wait_until

KEYS = [f"{{story}}:{number}" for number in range(6)]
SLOT = slot_of(KEYS[0])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[redis.RedisCluster]:
    with cluster.client() as opened:
        for number, key in enumerate(KEYS):
            opened.set(key, number)
        yield opened


def values(client: redis.RedisCluster) -> list[int]:
    return [int(client.get(key) or -1) for key in KEYS]


def held(node: ClusterNode) -> list[str]:
    found = node.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 100)
    return sorted(key.decode() for key in found)


def test_three_masters_serve_a_third_each_and_have_a_replica(cluster: Cluster) -> None:
    assert cluster.masters() == cluster.nodes[:3]
    for index, (master, replica) in enumerate(cluster.pairs):
        assert master.members()[master.id].slots == (share_of(index),)
        assert cluster.replica_of(master) is replica
        assert not replica.is_master and replica.follows
        assert cluster.owner(share_of(index)[0]) is cluster.owner(share_of(index)[1]) is master
    assert {node.info("server")["process_id"] for node in cluster.nodes} == {
        node.pid for node in cluster.nodes
    }
    valkey = "valkey_version" in cluster.nodes[0].info("server")
    assert valkey == (chosen_server() == "embedded")


def test_another_node_answers_moved(cluster: Cluster, client: redis.RedisCluster) -> None:
    owner = cluster.owner(SLOT)
    with pytest.raises(redis.exceptions.MovedError) as moved:
        cluster.other_master(owner).ask("GET", KEYS[0])
    assert (moved.value.slot_id, moved.value.port) == (SLOT, owner.port)
    with pytest.raises(redis.exceptions.MovedError):
        cluster.replica_of(owner).ask("SET", KEYS[0], 1)


def test_a_half_moved_slot_answers_ask_and_tryagain(cluster: Cluster, client: redis.RedisCluster) -> None:
    source = cluster.owner(SLOT)
    target = cluster.other_master(source)
    with cluster.moving(SLOT, target) as move:
        assert len(move.keys()) == 6
        move.carry(*KEYS[:3])
        assert (held(target), held(source)) == (KEYS[:3], KEYS[3:])
        with pytest.raises(redis.exceptions.AskError) as ask:
            source.ask("GET", KEYS[0])
        assert ask.value.port == target.port
        with pytest.raises(redis.exceptions.MovedError):
            target.ask("GET", KEYS[0])
        assert source.ask("GET", KEYS[5]) == b"5"
        with target.client(single_connection_client=True) as asking:
            asking.execute_command("ASKING")
            assert asking.get(KEYS[0]) == b"0"
            asking.execute_command("ASKING")
            with pytest.raises(redis.exceptions.TryAgainError):
                asking.mget(KEYS[0], KEYS[5])
        assert values(client) == [0, 1, 2, 3, 4, 5]
    assert cluster.owner(SLOT) is target
    assert (held(target), held(source)) == (KEYS, [])
    assert values(client) == [0, 1, 2, 3, 4, 5]


def test_a_test_can_talk_while_half_of_a_slot_has_moved(cluster: Cluster, client: redis.RedisCluster) -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def look(move: Move) -> None:
        seen.append((held(move.source), held(move.target)))
        client.set("{story}:new", "during")

    target = cluster.other_master(cluster.owner(SLOT))
    cluster.move_slot(SLOT, target, look)
    assert seen == [(KEYS[3:], KEYS[:3])]
    assert client.get("{story}:new") == b"during"
    assert held(target) == [*KEYS, "{story}:new"]


def test_a_move_that_fails_leaves_the_slot_where_it_was(cluster: Cluster, client: redis.RedisCluster) -> None:
    source = cluster.owner(SLOT)

    def fail(move: Move) -> None:
        assert held(move.target) == KEYS[:3]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cluster.move_slot(SLOT, cluster.other_master(source), fail)
    assert cluster.owner(SLOT) is source
    assert held(source) == KEYS
    assert [node.members()[node.id].moving for node in cluster.nodes[:3]] == [(), (), ()]
    assert values(client) == [0, 1, 2, 3, 4, 5]


def test_a_slot_moves_whole_where_the_server_can(cluster: Cluster, client: redis.RedisCluster) -> None:
    source = cluster.owner(SLOT)
    target = cluster.other_master(source)
    assert cluster.migrates_atomically == (chosen_server() == "embedded")
    if not cluster.migrates_atomically:
        with pytest.raises(NotImplementedError):
            cluster.migrate_slot(SLOT, target)
        return
    cluster.migrate_slot(SLOT, target)
    assert (held(target), held(source)) == (KEYS, [])
    with pytest.raises(redis.exceptions.MovedError):
        source.ask("GET", KEYS[0])
    assert values(client) == [0, 1, 2, 3, 4, 5]


def beyond(counted: list[int], floor: int) -> bool:
    return min(counted) > floor


@pytest.mark.parametrize("atomically", [False, True] if chosen_server() == "embedded" else [False])
def test_a_slot_moves_under_writers(cluster: Cluster, client: redis.RedisCluster, atomically: bool) -> None:
    """Back and forth, while threads count in keys of the slot: every increment is counted once, and old and new keys are found."""
    counted = [0] * 4
    ending = threading.Event()

    def count(writer: int) -> None:
        with cluster.client() as own:
            while not ending.is_set():
                own.incr(f"{{story}}:counter:{writer}")
                own.set(f"{{story}}:row:{writer}:{counted[writer]}", "value")
                counted[writer] += 1

    threads = [threading.Thread(target=count, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(functools.partial(beyond, counted, 20))
        for _ in range(2):
            target = cluster.other_master(cluster.owner(SLOT))
            move = cluster.migrate_slot if atomically else cluster.move_slot
            before = min(counted)
            move(SLOT, target)
            wait_until(functools.partial(beyond, counted, before + 5))
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    for writer, times in enumerate(counted):
        assert client.get(f"{{story}}:counter:{writer}") == b"%d" % times
        assert client.exists(*(f"{{story}}:row:{writer}:{number}" for number in range(times))) == times


def test_restore_gives_every_slot_back(cluster: Cluster, client: redis.RedisCluster) -> None:
    source = cluster.owner(SLOT)
    cluster.move_slot(SLOT, cluster.other_master(source))
    cluster.restore()
    assert cluster.owner(SLOT) is source
    assert [node.ask("DBSIZE") for node in cluster.nodes] == [0] * 6


def test_a_cluster_without_a_slot_is_down(cluster: Cluster) -> None:
    with cluster.without_slot(SLOT):
        for node in cluster.masters():
            with pytest.raises(redis.exceptions.ClusterDownError):
                node.ask("GET", KEYS[0])
        with pytest.raises(LookupError, match=f"no running node serves slot {SLOT}"):
            cluster.owner(SLOT)
    with cluster.client() as client:
        client.set(KEYS[0], "again")
    assert cluster.settled()


def test_a_replica_takes_the_place_of_a_killed_master(cluster: Cluster, client: redis.RedisCluster) -> None:
    master = cluster.owner(SLOT)
    cluster.wait_until_replicated()
    began = time.monotonic()
    promoted = cluster.kill(master)
    assert time.monotonic() - began < 20
    assert cluster.owner(SLOT) is promoted
    assert master not in cluster.running
    assert values(client) == [0, 1, 2, 3, 4, 5]
    cluster.revive(master)
    assert cluster.replica_of(promoted) is master
    cluster.restore()
    assert cluster.masters() == cluster.nodes[:3]


def test_a_failover_by_hand_loses_nothing(cluster: Cluster, client: redis.RedisCluster) -> None:
    master = cluster.owner(SLOT)
    replica = cluster.replica_of(master)
    cluster.fail_over(replica)
    assert cluster.owner(SLOT) is replica
    assert cluster.replica_of(replica) is master
    assert values(client) == [0, 1, 2, 3, 4, 5]


def test_clear_deletes_the_keys_of_every_node(cluster: Cluster, client: redis.RedisCluster) -> None:
    for number in range(30):
        client.set(f"spread:{number}", number)
    assert all(node.ask("DBSIZE") for node in cluster.masters())
    cluster.clear()
    assert [node.ask("DBSIZE") for node in cluster.nodes] == [0] * 6
