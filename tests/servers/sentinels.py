"""Three Sentinels that watch a primary with two replicas, all of the kind of server under test.

`shared_sentinels` returns those of this process; `running_sentinels` starts some for a test alone.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import redis
from redis.sentinel import Sentinel

from tests.servers.guarded import guarded
from tests.servers.node import HOST, Node, await_until

SERVICE: Final = "keyweave-test"
"""The name under which the Sentinels know the primary."""

QUORUM: Final = 2

_DOWN_AFTER: Final = 1_000
_FAILOVER_TIMEOUT: Final = 4_000

_PERIODS: Final = {
    "info-period": 1_000,
    "ping-period": 400,
    "publish-period": 600,
    "tilt-trigger": 20_000,
    "tilt-period": 1_000,
}
"""Milliseconds. Sentinels see each other sooner than by default, and a busy machine does not put them into TILT.

While a primary is down, a Sentinel asks replicas for INFO each 1,000 ms, whatever `info-period` is. It takes a replica whose INFO is
younger than five pings, and lets a promoted replica be, of which it has not heard, for four publications.
"""


class SentinelNode(Node):
    """A Sentinel. It keeps what it learned in a file of its own, also when it is killed.

    Args:
        folder: for its data and log.
        primary: that it watches.
    """

    def __init__(self, folder: Path, primary: Node) -> None:
        super().__init__(folder, {})
        self._file: Final = folder / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind {HOST}\ndir {folder}\n"
            f"sentinel monitor {SERVICE} {HOST} {primary.port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} {_FAILOVER_TIMEOUT}\n"
        )

    def words(self) -> list[str]:
        """Return the command line."""
        return [*self.command, str(self._file), "--sentinel"]

    def wait_until_ready(self) -> None:
        """Wait until the Sentinel answers, and let it look often."""
        super().wait_until_ready()
        for name, milliseconds in _PERIODS.items():
            self.ask("SENTINEL", "DEBUG", name, milliseconds)

    def primary(self) -> int:
        """Return the port of the primary, as this Sentinel knows it."""
        _, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    def reaches_quorum(self) -> bool:
        """Return whether enough Sentinels reach each other to elect a primary."""
        try:
            self.ask("SENTINEL", "CKQUORUM", SERVICE)
        except redis.ResponseError as error:
            if "NOQUORUM" in str(error):
                return False
            raise
        return True

    def knows(self) -> tuple[int, int]:
        """Return how many other Sentinels and how many healthy replicas this one knows."""
        sentinels = [_flags(each) for each in self.ask("SENTINEL", "SENTINELS", SERVICE)]
        replicas = list(self.ask("SENTINEL", "REPLICAS", SERVICE))
        healthy = [each for each in replicas if not _flags(each) & {"s_down", "disconnected"}]
        followers = [each for each in healthy if _map(each)["master-link-status"] == "ok"]
        return sum(not flags & {"s_down", "disconnected"} for flags in sentinels), len(followers)


class Sentinels:
    """A primary, two replicas and three Sentinels. They are not started yet.

    Args:
        folder: for the data of all.
        options: settings of the primary and of its replicas.

    Attributes:
        servers: the primary of the beginning and its replicas.
        sentinels: the Sentinels.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        settings = {name.replace("_", "-"): value for name, value in options.items()}
        self.servers: Final = [Node(folder / f"server-{number}", settings) for number in range(3)]
        self.sentinels: Final = [
            SentinelNode(folder / f"sentinel-{number}", self.servers[0]) for number in range(3)
        ]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports of the Sentinels."""
        return [(HOST, node.port) for node in self.sentinels]

    @property
    def url(self) -> str:
        """The URL of a store on this primary."""
        return f"redis+sentinel://{','.join(node.name for node in self.sentinels)}/{SERVICE}"

    def client(self, **options: Any) -> Sentinel:
        """Return a client of redis-py for the Sentinels."""
        return Sentinel(self.addresses, **options)  # type: ignore[no-untyped-call]

    # -- starting and ending

    def start(self) -> None:
        """Start everything, and wait until the Sentinels know each other and the replicas.

        Raises:
            RuntimeError: a process ended; its log is in the message.
            TimeoutError: they do not find each other.
        """
        for node in self.servers:
            node.launch()
        for node in self.servers:
            node.wait_until_ready()
        primary, *replicas = self.servers
        for node in replicas:
            node.ask("REPLICAOF", HOST, primary.port)
        await_until(lambda: all(map(_follows, replicas)), "the replicas of a primary")
        for node in self.sentinels:
            node.launch()
        for node in self.sentinels:
            node.wait_until_ready()
        self.wait_until_ok()

    def close(self) -> None:
        """End all processes."""
        for node in (*self.sentinels, *self.servers):
            node.close()

    # -- who is the primary

    def primary(self) -> Node:
        """Return the server that all running Sentinels name as the primary.

        Raises:
            LookupError: they do not agree.
        """
        named = self._named()
        if named is None:
            raise LookupError("servers: the Sentinels do not agree on a primary")
        return named

    def _named(self) -> Node | None:
        ports = {node.primary() for node in self.sentinels if node.runs}
        return next((node for node in self.servers if {node.port} == ports), None)

    def replicas(self) -> list[Node]:
        """Return the running servers that are not the primary."""
        return self._others(self.primary())

    def _others(self, primary: Node) -> list[Node]:
        return [node for node in self.servers if node is not primary and node.runs]

    def settled(self) -> bool:
        """Return whether the Sentinels agree, reach each other and all running replicas, which have all data."""
        primary = self._named()
        if primary is None:
            return False
        sentinels, replicas = [node for node in self.sentinels if node.runs], self._others(primary)
        return (
            primary.runs
            and primary.info("replication")["role"] == "master"
            and all(_follows(node) and _primary_of(node) == primary.port for node in replicas)
            and all(node.knows() == (len(sentinels) - 1, len(replicas)) for node in sentinels)
        )

    def wait_until_ok(self) -> None:
        """Wait until `settled`.

        Raises:
            TimeoutError: that takes too long.
        """
        await_until(self.settled, "agreement of the Sentinels")

    # -- failing over

    def kill_primary(self) -> Node:
        """Kill the primary with SIGKILL, wait until the Sentinels promoted a replica, and return the new primary."""
        old = self.primary()
        old.kill()
        await_until(lambda: self.settled() and self._named() is not old, "a promotion")
        return self.primary()

    def fail_over(self) -> Node:
        """Let the Sentinels promote a replica while the primary runs, and return the new primary."""
        old = self.primary()
        self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        await_until(lambda: self.settled() and self._named() is not old, "a failover")
        return self.primary()

    def revive(self, node: Node) -> None:
        """Start a killed server again as a replica, and wait until it follows the primary.

        After `Node.start` alone, an old primary takes writes until the Sentinels notice it, some seconds later.
        """
        self._start(node)
        self.wait_until_ok()

    def _start(self, node: Node) -> None:
        primary = self.primary()
        node.start()
        if node is not primary:
            node.ask("REPLICAOF", HOST, primary.port)

    @contextmanager
    def without_quorum(self) -> Iterator[SentinelNode]:
        """Inside, one Sentinel runs, so no primary can be elected; yields that one."""
        last, *others = self.sentinels
        for node in others:
            node.kill()
        try:
            await_until(lambda: not last.reaches_quorum(), "the loss of the quorum")
            yield last
        finally:
            for node in others:
                node.start()
            self.wait_until_ok()

    # -- between tests

    def restore(self) -> None:
        """Let everything run again, and delete all keys. Another server may be the primary than in the beginning."""
        for node in self.sentinels:
            node.resume()
            if not node.runs:
                node.start()
        for server in self.servers:
            server.resume()
            if not server.runs:
                self._start(server)
        self.wait_until_ok()
        self.primary().ask("FLUSHALL")
        self.primary().ask("WAIT", 2, 0)


def _follows(node: Node) -> bool:
    return node.info("replication").get("master_link_status") == "up"


def _primary_of(node: Node) -> int:
    return int(node.info("replication")["master_port"])


def _map(reply: Any) -> dict[str, str]:
    """Return what a Sentinel says of a server; RESP2 gives a list of names and values."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _flags(reply: Any) -> set[str]:
    return set(_map(reply)["flags"].split(","))


@contextmanager
def running_sentinels(**options: str) -> Iterator[Sentinels]:
    """Start everything, yield it, stop it and delete its data.

    Args:
        options: settings of the primary and of its replicas, with `_` for `-`.

    Raises:
        RuntimeError: a process does not start; its log is in the message.
        TimeoutError: the Sentinels do not find each other.
    """
    with guarded("sentinels-") as folder, ExitStack() as stack:
        sentinels = Sentinels(folder, **options)
        stack.callback(sentinels.close)
        sentinels.start()
        yield sentinels


@cache
def shared_sentinels() -> Sentinels:
    """The Sentinels of this process, started when first asked for. Tests leave them as `Sentinels.restore` does."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_sentinels())
