"""Moving slots of a cluster: key by key, with a stop wherever a test wants one, or whole where the server can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tests.servers.cluster_node import ClusterNode
from tests.servers.node import HOST, PATIENCE, await_until

if TYPE_CHECKING:
    from tests.servers.cluster import Cluster

_MANY: Final = 1_000
_ENDED: Final = {b"success", b"failed", b"cancelled", b"canceled"}


class Move:
    """A slot on its way from one master to another. Keys that have moved are answered with ASK by the source.

    Attributes:
        slot: that moves.
        source: the master that owns it, until `finish`.
        target: the master that gets it.
    """

    def __init__(self, cluster: Cluster, slot: int, target: ClusterNode) -> None:
        self._cluster: Final = cluster
        self.slot: Final = slot
        self.source: Final = cluster.owner(slot)
        self.target: Final = target

    def begin(self) -> None:
        """Let the target import the slot, and the source migrate it."""
        self.target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.source.id)
        self.source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.target.id)

    def keys(self, most: int = _MANY) -> list[bytes]:
        """Return keys that the source still has, at most so many."""
        found: list[bytes] = self.source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, most)
        return found

    def carry(self, *keys: str | bytes) -> None:
        """Move these keys. A key that ended meanwhile is left out."""
        if keys:
            _migrate(self.source, self.target, keys)

    def finish(self) -> None:
        """Move the other keys, and give the slot to the target. All masters know it when this returns."""
        while keys := self.keys(100):
            self.carry(*keys)
        others = [node for node in self._cluster.masters() if node not in (self.source, self.target)]
        for node in (self.target, self.source, *others):
            node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", self.target.id)

    def give_up(self) -> None:
        """End the move, and return the keys that have moved. Meanwhile a caller does not find them."""
        self.source.ask("CLUSTER", "SETSLOT", self.slot, "STABLE")
        while keys := self.target.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            _migrate(self.target, self.source, keys)
        self.target.ask("CLUSTER", "SETSLOT", self.slot, "STABLE")


def _migrate(source: ClusterNode, target: ClusterNode, keys: Sequence[str | bytes]) -> None:
    milliseconds = round(PATIENCE * 1000)
    source.ask("MIGRATE", HOST, target.peer_port, "", 0, milliseconds, "KEYS", *keys)


def migrates_atomically(node: ClusterNode) -> bool:
    """Return whether a server can move slots whole (CLUSTER MIGRATESLOTS of Valkey 9)."""
    return any(b"MIGRATESLOTS" in line for line in node.ask("CLUSTER", "HELP"))


def migrate_slots(source: ClusterNode, target: ClusterNode, first: int, last: int) -> None:
    """Move a range of slots whole, and wait until the target owns them. Callers see one MOVED and no ASK.

    Raises:
        NotImplementedError: the server cannot.
        RuntimeError: the migration failed; the server's reason is in the message.
    """
    if not migrates_atomically(source):
        raise NotImplementedError("servers: this server moves slots key by key only")
    source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target.id)
    wanted = f"{first}-{last}".encode()

    def ended() -> bool:
        migration = next(each for each in _migrations(source) if each[b"slot_ranges"] == wanted)
        if migration[b"state"] in _ENDED and migration[b"state"] != b"success":
            raise RuntimeError(f"servers: the migration of {first}-{last} failed: {migration[b'message']!r}")
        return migration[b"state"] == b"success"

    await_until(ended, f"the migration of slots {first} to {last}")


def _migrations(source: ClusterNode) -> list[dict[bytes, bytes]]:
    """Return the migrations of a node, the latest first."""
    found: list[dict[bytes, bytes]] = source.ask("CLUSTER", "GETSLOTMIGRATIONS")
    return found
