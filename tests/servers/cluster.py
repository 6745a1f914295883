"""A real cluster of three masters and three replicas, of the kind of server under test.

`shared_cluster` returns the one of this process, which is started when it is first asked for; `running_cluster` starts one for
a test alone. `Cluster` holds what tests do to it. `Cluster.restore` brings the cluster back to where it began, whatever a test did.
"""

from __future__ import annotations

import atexit
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import redis
from redis.crc import key_slot

from tests.servers.cluster_node import CALM, ClusterNode
from tests.servers.guarded import guarded
from tests.servers.members import Member
from tests.servers.moving import Move, migrate_slots, migrates_atomically
from tests.servers.node import HOST, await_until

SLOTS: Final = 16_384
MASTERS: Final = 3

_ALERT: Final = 800
"""Milliseconds without an answer after which a node counts as failed while a test waits for a failover."""

_ELECTION: Final = 8.0
"""Seconds after which the replica of a killed master that was not elected is asked to stand for election."""

_AGAIN: Final = 2.0
"""Seconds after which a failover that did not happen is asked for again."""


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key."""
    slot: int = key_slot(key.encode() if isinstance(key, str) else key)
    return slot


def share_of(index: int) -> tuple[int, int]:
    """Return the first and the last slot of a third of them, numbered from 0."""
    return SLOTS * index // MASTERS, SLOTS * (index + 1) // MASTERS - 1


class Cluster:
    """Three masters with a third of the slots each, and a replica of each. It is not started yet.

    Args:
        folder: for the data of the nodes.
        kind: makes each node.
        options: settings of every node.

    Attributes:
        nodes: the masters of the beginning, then their replicas in the same order.
    """

    def __init__(
        self,
        folder: Path,
        kind: Callable[[Path, dict[str, str]], ClusterNode] = ClusterNode,
        **options: str,
    ) -> None:
        settings = {name.replace("_", "-"): value for name, value in options.items()}
        self.nodes: Final = [kind(folder / f"node-{number}", settings) for number in range(2 * MASTERS)]
        self._alerts = 0

    @property
    def pairs(self) -> list[tuple[ClusterNode, ClusterNode]]:
        """The two nodes of each third, which take each other's place."""
        return list(zip(self.nodes[:MASTERS], self.nodes[MASTERS:], strict=True))

    @property
    def running(self) -> list[ClusterNode]:
        """The nodes whose processes run."""
        return [node for node in self.nodes if node.runs]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports of all nodes."""
        return [(HOST, node.port) for node in self.nodes]

    @property
    def url(self) -> str:
        """The URL of a store on this cluster."""
        return f"redis+cluster://{','.join(node.name for node in self.nodes)}"

    def client(self, **options: Any) -> redis.RedisCluster:
        """Return a client of redis-py for the cluster."""
        startup = [redis.cluster.ClusterNode(*each) for each in self.addresses]  # type: ignore[no-untyped-call]
        return redis.RedisCluster(startup_nodes=startup, **options)

    # -- starting and ending

    def start(self) -> None:
        """Start six processes and make them a cluster.

        Raises:
            RuntimeError: a process ended; its log is in the message.
            TimeoutError: they do not become a cluster.
        """
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()
        self.join()

    def join(self) -> None:
        """Make the six running processes a cluster.

        Raises:
            TimeoutError: they do not become one.
        """
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for index, node in enumerate(self.nodes[:MASTERS]):
            node.ask("CLUSTER", "ADDSLOTSRANGE", *share_of(index))
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.ask("CLUSTER", "MEET", HOST, other.peer_port, other.bus)
        ids = {node.id for node in self.nodes}
        await_until(
            lambda: all(node.members().keys() == ids for node in self.nodes), "the meeting of all nodes"
        )
        for master, replica in self.pairs:
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.wait_until_ok()

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.close()

    # -- who serves what

    def masters(self) -> list[ClusterNode]:
        """Return the running nodes that serve slots, in the order of the slots."""
        members = self._view()
        found = [node for node in self.running if members[node.id].is_master and members[node.id].slots]
        return sorted(found, key=lambda node: members[node.id].slots)

    def owner(self, slot: int) -> ClusterNode:
        """Return the running master that serves a slot.

        Raises:
            LookupError: none does.
        """
        for node in self.masters():
            if node.members()[node.id].serves(slot):
                return node
        raise LookupError(f"servers: no running node serves slot {slot}")

    def replica_of(self, master: ClusterNode) -> ClusterNode:
        """Return the running replica of a master.

        Raises:
            LookupError: it has none.
        """
        for node in self.running:
            if node.members()[node.id].primary == master.id:
                return node
        raise LookupError(f"servers: {master} has no replica")

    def other_master(self, node: ClusterNode) -> ClusterNode:
        """Return a master that is another node."""
        return next(each for each in self.masters() if each is not node)

    def _view(self) -> dict[str, Member]:
        """Return the roles and slots of all running nodes, each as it says itself."""
        return {node.id: node.members()[node.id] for node in self.running}

    def settled(self) -> bool:
        """Return whether every running node serves, reaches the others, agrees on roles and slots, and replicas have all data."""
        running = {node.id for node in self.running}
        own = self._view()
        for node in self.running:
            seen = node.members()
            if node.state != "ok" or not (node.is_master or node.follows):
                return False
            for identity in running:
                there, here = own[identity], seen[identity]
                if (there.slots, there.primary, there.is_master) != (
                    here.slots,
                    here.primary,
                    here.is_master,
                ):
                    return False
                if identity != node.id and not here.healthy:
                    return False
                # A node that gets a slot takes an epoch above those that it knows: so it has to know all of them before.
                if there.is_master and there.epoch != here.epoch:
                    return False
        return True

    def wait_until_ok(self) -> None:
        """Wait until `settled`.

        Raises:
            TimeoutError: that takes too long.
        """
        await_until(self.settled, "a healthy cluster")

    def wait_until_replicated(self) -> None:
        """Wait until every running replica has what its master has now.

        Raises:
            TimeoutError: that takes too long.
        """
        masters = {node.id: node.info("replication")["master_repl_offset"] for node in self.masters()}
        replicas = [(node, node.members()[node.id].primary) for node in self.running if not node.is_master]
        await_until(
            lambda: all(
                node.info("replication")["slave_repl_offset"] >= masters[primary]
                for node, primary in replicas
                if primary in masters
            ),
            "the replication",
        )

    # -- moving slots

    @contextmanager
    def moving(self, slot: int, target: ClusterNode) -> Iterator[Move]:
        """Move a slot key by key. Inside, nothing has moved until the test calls `carry`; at the end the rest moves.

        If the test fails inside, the keys return to where they were.
        """
        move = Move(self, slot, target)
        move.begin()
        try:
            yield move
        except BaseException:
            move.give_up()
            raise
        move.finish()
        self.wait_until_ok()

    def move_slot(
        self, slot: int, target: ClusterNode, halfway: Callable[[Move], object] | None = None
    ) -> None:
        """Move a slot key by key, and wait until all nodes know it.

        Args:
            slot: that moves.
            target: the master that gets it.
            halfway: called when half of the keys have moved.
        """
        with self.moving(slot, target) as move:
            keys = sorted(move.keys())
            move.carry(*keys[: len(keys) // 2])
            if halfway is not None:
                halfway(move)

    @property
    def migrates_atomically(self) -> bool:
        """Whether `migrate_slot` works on this server."""
        return migrates_atomically(self.masters()[0])

    def migrate_slot(self, slot: int, target: ClusterNode) -> None:
        """Move a slot whole (Valkey 9).

        Raises:
            NotImplementedError: the server cannot.
        """
        migrate_slots(self.owner(slot), target, slot, slot)
        self.wait_until_ok()

    @contextmanager
    def without_slot(self, slot: int) -> Iterator[None]:
        """Inside, no node serves a slot, so every node answers CLUSTERDOWN."""
        owner = self.owner(slot)
        for node in (owner, *(node for node in self.running if node is not owner and node.is_master)):
            node.ask("CLUSTER", "DELSLOTS", slot)
        try:
            await_until(lambda: all(node.state == "fail" for node in self.masters()), "CLUSTERDOWN")
            yield
        finally:
            owner.ask("CLUSTER", "ADDSLOTS", slot)
            with self.alert():
                self.wait_until_ok()

    # -- failing over

    @contextmanager
    def alert(self) -> Iterator[None]:
        """Inside, a node that does not answer counts as failed after less than a second, and news travel faster."""
        self._alerts += 1
        self._set_timeout(_ALERT)
        try:
            yield
        finally:
            self._alerts -= 1
            if not self._alerts:
                self._set_timeout(CALM)

    def _set_timeout(self, milliseconds: int) -> None:
        for node in self.running:
            node.ask("CONFIG", "SET", "cluster-node-timeout", milliseconds)

    def kill(self, master: ClusterNode) -> ClusterNode:
        """Kill a master with SIGKILL, wait until its replica has been elected, and return the new master.

        The cluster elects it within two or three seconds. Redis 8 was seen not to within thirty, rarely, so the replica is asked
        to stand for election after a while. The message of a failure has what each node knows.
        """
        replica = self.replica_of(master)
        asked = [time.monotonic() + _ELECTION]

        def elected() -> bool:
            if not replica.is_master and time.monotonic() > asked[-1]:
                replica.ask("CLUSTER", "FAILOVER", "FORCE")
                asked.append(time.monotonic() + _ELECTION)
            return replica.is_master and self.settled()

        with self.alert():
            master.kill()
            try:
                await_until(elected, f"the election of {replica}")
            except TimeoutError as error:
                known = "\n\n".join(node.ask("CLUSTER", "NODES").decode() for node in self.running)
                raise TimeoutError(f"{error}; the nodes know:\n{known}") from error
        return replica

    def revive(self, node: ClusterNode) -> None:
        """Start a killed node again, and wait until it follows the node that took its place, or serves its slots again."""
        node.start()
        with self.alert():
            self.wait_until_ok()

    def fail_over(self, replica: ClusterNode, how: Literal["", "FORCE", "TAKEOVER"] = "") -> None:
        """Let a replica take the place of its running master (CLUSTER FAILOVER), and wait until all nodes agree.

        A master of Redis does not vote about the same master twice within two timeouts of a node. So the replica is asked again.
        """

        def promoted() -> bool:
            if not replica.is_master and time.monotonic() > asked[-1] + _AGAIN:
                replica.ask("CLUSTER", "FAILOVER", *([how] if how else []))
                asked.append(time.monotonic())
            return replica.is_master and self.settled()

        asked = [-math.inf]
        with self.alert():
            await_until(promoted, f"the failover to {replica}")

    # -- between tests

    def clear(self) -> None:
        """Delete all keys, on the replicas too."""
        for node in self.masters():
            node.ask("FLUSHALL")
        self.wait_until_replicated()

    def restore(self) -> None:
        """Delete all keys, and bring nodes, roles and slots back to where they began."""
        for node in self.nodes:
            node.resume()
            if not node.runs:
                node.start()
        with self.alert():
            self.wait_until_ok()
            self.clear()
            for node in self.running:
                for slot in node.members()[node.id].moving:
                    node.ask("CLUSTER", "SETSLOT", slot, "STABLE")
            for index, (first, second) in enumerate(self.pairs):
                if not first.is_master:
                    self.fail_over(first)
                assert second.members()[second.id].primary == first.id
                self._give_back(index, first)
            self.wait_until_ok()

    def _give_back(self, index: int, home: ClusterNode) -> None:
        """Let a master have its own third of the slots again. No slot has keys."""
        first, last = share_of(index)
        members = self._view()
        for node in self.masters():
            for start, end in members[node.id].slots:
                for slot in range(max(start, first), min(end, last) + 1):
                    if node is not home:
                        move = Move(self, slot, home)
                        move.begin()
                        move.finish()


@contextmanager
def running_cluster(**options: str) -> Iterator[Cluster]:
    """Start a cluster, yield it, stop it and delete its data.

    Args:
        options: settings of every node, with `_` for `-`.

    Raises:
        RuntimeError: a server does not start; its log is in the message.
        TimeoutError: the servers do not become a cluster.
    """
    with guarded("cluster-") as folder, ExitStack() as stack:
        cluster = Cluster(folder, ClusterNode, **options)
        stack.callback(cluster.close)
        cluster.start()
        yield cluster


@cache
def shared_cluster() -> Cluster:
    """The cluster of this process, started when first asked for. Tests leave it as `Cluster.restore` does."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_cluster())
