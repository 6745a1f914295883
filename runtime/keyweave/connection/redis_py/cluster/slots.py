"""Which node serves which slot, as far as a channel knows. Threads may share it: each step is atomic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from keyweave.connection.redis_py.cluster.route import SLOTS
from keyweave.effects import Word


class Node(NamedTuple):
    """Host and port of a node."""

    host: str
    port: int


class SlotMap:
    """The owners of all slots.

    Args:
        seeds: nodes that are asked for the slots first.
        remap: changes an address that a node reports into one that this process can reach.

    Attributes:
        stale: whether the map has to be read again before it is used.
        reading: whether a caller reads it now.
        version: changes with every change of an owner.
        tagged: owners by what the keys of a partition begin with; empty after every change of an owner. A caller that looks up and
            notes an owner does both in the same mapping, so that it notes no outdated one.
    """

    def __init__(self, seeds: Iterable[Node], remap: Callable[[Node], Node] = lambda node: node) -> None:
        self._seeds: Final = tuple(seeds)
        self._remap: Final = remap
        self._owners: list[Node | None] = [None] * SLOTS
        self._masters: tuple[Node, ...] = ()
        self._replicas: tuple[Node, ...] = ()
        self._suspects: set[Node] = set()
        self._numbers: dict[Node, int] = {}
        self.stale = True
        self.reading = False
        self.version = 0
        self.tagged: dict[Word, Node] = {}

    @property
    def known(self) -> bool:
        """Whether the map was read."""
        return self.version > 0

    @property
    def masters(self) -> tuple[Node, ...]:
        """The nodes that serve slots, in the order of their addresses."""
        return self._masters

    @property
    def nodes(self) -> frozenset[Node]:
        """Every node that the cluster named, and every seed."""
        return frozenset((*self._masters, *self._replicas, *self._seeds))

    def owner(self, slot: int) -> Node | None:
        """Return the node that serves a slot; None if none is known to."""
        return self._owners[slot]

    def number(self, node: Node) -> int:
        """Return a small number that stands for a node, from 1 on."""
        return self._numbers.setdefault(node, len(self._numbers) + 1)

    def candidates(self, first: Node | None) -> list[Node]:
        """Return the nodes to ask for the slots, in order: nodes that failed lately come last."""
        order = [*([first] if first is not None else []), *self._masters, *self._replicas, *self._seeds]
        every = list(dict.fromkeys(order))
        return [node for node in every if node not in self._suspects] + [
            node for node in every if node in self._suspects
        ]

    def suspect(self, node: Node) -> None:
        """Note that a node could not be used: the slots may have another owner."""
        self._suspects.add(node)
        self.stale = True

    def move(self, slot: int, node: Node) -> None:
        """Note the new owner of one slot."""
        if self._owners[slot] != node:
            self._owners[slot] = node
            if node not in self._masters:
                self._masters = tuple(sorted((*self._masters, node)))
            self.version += 1
            self.tagged = {}

    def named(self, host: str, port: int, by: Node) -> Node:
        """Return the node of an address that another node names. A node that does not know its own host leaves it out."""
        return self._remap(Node(host if host not in ("", "?") else by.host, port))

    def learn(self, reply: Sequence[Any], by: Node) -> None:
        """Take over the reply of a node to CLUSTER SLOTS."""
        owners: list[Node | None] = [None] * SLOTS
        replicas: set[Node] = set()
        for first, last, *members in reply:
            found = [self.named((host or b"").decode(), int(port), by) for host, port, *_ in members]
            owners[first : last + 1] = [found[0]] * (last + 1 - first)
            replicas.update(found[1:])
        self._replicas = tuple(sorted(replicas))
        self._masters = tuple(sorted({node for node in owners if node is not None}))
        if owners != self._owners or not self.known:
            self._owners = owners
            self.version += 1
            self.tagged = {}
        self._suspects.clear()
        # A cluster in which slots have no owner is asked again.
        self.stale = None in owners
