"""One node of a cluster, and what it says of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.servers.members import Member, parse_members
from tests.servers.node import Node
from tests.servers.ports import reserve_port

CALM: Final = 10_000
"""Milliseconds without an answer after which a node counts as failed, so many that no node of a busy machine does."""

_SETTINGS: Final = {
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    "cluster-node-timeout": str(CALM),
    "cluster-allow-replica-migration": "no",
    "cluster-replica-validity-factor": "0",
    "repl-backlog-size": "4mb",
}


class ClusterNode(Node):
    """A node of a cluster.

    Attributes:
        bus: the port for other nodes.
        id: by which the cluster knows it; empty until it runs.
    """

    def __init__(self, folder: Path, options: dict[str, str]) -> None:
        self._bus: Final = reserve_port()
        self.bus: Final = self._bus.number
        super().__init__(folder, {**_SETTINGS, "cluster-port": str(self.bus), **options})
        self.id = ""

    def wait_until_ready(self) -> None:
        """Wait until the node answers, and learn its id."""
        super().wait_until_ready()
        self.id = self.ask("CLUSTER", "MYID").decode()

    @property
    def peer_port(self) -> int:
        """The port to which other nodes connect as clients."""
        return self.port

    def members(self) -> dict[str, Member]:
        """Return what this node knows of the cluster, by ids."""
        return parse_members(self.ask("CLUSTER", "NODES").decode())

    @property
    def state(self) -> str:
        """`ok`, or `fail` when this node serves nothing."""
        lines: list[bytes] = self.ask("CLUSTER", "INFO").splitlines()
        return dict(line.decode().split(":", 1) for line in lines if line)["cluster_state"]

    @property
    def is_master(self) -> bool:
        """Whether this node says that it is a master."""
        return bool(self.info("replication")["role"] == "master")

    @property
    def follows(self) -> bool:
        """Whether this node is a replica, and has all data of its master."""
        return self.info("replication").get("master_link_status") == "up"

    def close(self) -> None:
        """End the process, and give the ports back."""
        super().close()
        self._bus.release()
