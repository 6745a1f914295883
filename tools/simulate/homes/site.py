"""Servers in memory that hold the partitions, and what happens to exchanges with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from keyweave.effects import Command, ConnectionFailure, ServerError
from keyweave.keyspace.keys import Keyspace, Namespace, Partition
from keyweave.model.entity import Package
from tools.simulate.draws import draws, fraction
from tools.simulate.homes.scenario import FAULTS, PARTITIONS, SERVERS, Failover, Scenario
from tools.simulate.network.links import timed_out
from tools.simulate.network.timeline import Timeline
from tools.simulate.server.node import REFUSALS, Node

TIMEOUT: Final = 500_000
"""Virtual microseconds after which a client no longer waits for a reply."""

_LATENCY: Final = 300
_SLOWEST: Final = 40_000_000
_LONGEST_STALL: Final = 2_000_000_000
"""A client may stand still for longer than any fence lives."""

Answer = Callable[[list[Any] | ConnectionFailure], None]


class Site:
    """All servers.

    Attributes:
        partitions: of the only group.
        faults: how often each fault happened.
        places: of all exchanges, in their order: client, operation and number.
        ended: flows of clients that crashed, kept because closing them would run them on.
    """

    def __init__(
        self, scenario: Scenario, package: Package, timeline: Timeline, look: Callable[[], None]
    ) -> None:
        self.timeline: Final = timeline
        self.nodes: Final = [Node() for _ in range(SERVERS)]
        (group,) = package.groups
        self.keyspace: Final = Keyspace(Namespace("a", "v", "s", "t"), {group: PARTITIONS}, package.stored)
        self.partitions: Final = self.keyspace.partitions()
        self.faults: dict[str, int] = {}
        self.places: list[tuple[int, int, int]] = []
        self.ended: list[Any] = []
        self._by_tag: Final = {
            partition.tag.encode(): self.nodes[partition.index % SERVERS] for partition in self.partitions
        }
        self._scenario: Final = scenario
        self._look: Final = look
        self._away: Final[set[int]] = set()
        for node, skew in zip(self.nodes, scenario.skews, strict=True):
            node.offset += skew
        for failover in scenario.failovers:
            timeline.at(failover.at, self._fail, failover)

    def node_of(self, partition: Partition) -> Node:
        """The server of a partition."""
        return self._by_tag[partition.tag.encode()]

    def _fail(self, failover: Failover) -> None:
        self._away.add(failover.server)
        self.timeline.at(self.timeline.now + failover.lasts, self._return, failover)

    def _return(self, failover: Failover) -> None:
        self._away.discard(failover.server)
        node = self.nodes[failover.server]
        node.flush_scripts()
        node.offset += failover.jump

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._away.clear()

    def send(
        self,
        commands: Sequence[Command],
        place: tuple[int, int, int],
        answer: Answer,
        crash: Callable[[], None],
    ) -> None:
        """Send a pipeline, and call `answer` with what its client learns, or `crash` if the client ends."""
        self.places.append(place)
        numbers = draws(self._scenario.seed, 22, *place)
        timeline, now = self.timeline, self.timeline.now
        out = _LATENCY + int(fraction(numbers[0]) ** 4 * 5_000)
        back = _LATENCY + int(fraction(numbers[1]) ** 4 * 5_000)
        fault = self._fault(place, fraction(numbers[2]))
        size = fraction(numbers[3])
        waiting = [True]

        def learn(found: list[Any] | ConnectionFailure) -> None:
            if waiting[0]:
                waiting[0] = False
                answer(found)

        def arrive() -> None:
            replies = self.execute(commands, refused=fault == "refused", number=numbers[4])
            if replies is not None and fault != "reply lost":
                timeline.at(timeline.now + back, learn, replies)

        if fault == "crash before":
            crash()
            return
        if fault == "slow request":
            out += int(_SLOWEST * size**3)
        elif fault == "slow reply":
            back += int(2 * TIMEOUT * size)
        elif fault == "stall":
            # The process stands still before it sends, so its timeout begins later as well.
            out += int(_LONGEST_STALL * size**4)
            now += int(_LONGEST_STALL * size**4)
        if fault != "request lost":
            timeline.at(self.timeline.now + out, arrive)
        if fault == "crash after":
            waiting[0] = False
            crash()
            return
        timeline.at(now + TIMEOUT, learn, timed_out(TIMEOUT / 1_000_000))

    def _fault(self, place: tuple[int, int, int], share: float) -> str | None:
        crash = self._scenario.crash
        if crash is not None and crash[0] == place:
            return "crash after" if crash[1] else "crash before"
        for name in FAULTS:
            share -= self._scenario.rates.get(name, 0.0)
            if share < 0:
                self.faults[name] = self.faults.get(name, 0) + 1
                return name
        return None

    def execute(
        self, commands: Sequence[Command], *, refused: bool = False, number: int = 0
    ) -> list[Any] | None:
        """Carry out a pipeline, or refuse it. Returns None if the server is away."""
        node = next(
            self._by_tag[tag]
            for command in commands
            for word in command[1:]
            if (tag := _tag(word)) in self._by_tag
        )
        if self.nodes.index(node) in self._away:
            return None
        if refused:
            text = REFUSALS[number % len(REFUSALS)]
            return [ServerError(text.partition(" ")[0], text) for _ in commands]
        before = len(node.file)
        replies = node.pipeline(commands, self.timeline.now)
        if len(node.file) != before:
            self._look()
        return replies


def _tag(word: Any) -> bytes:
    text = word if isinstance(word, bytes) else str(word).encode()
    return text[: text.find(b"}:") + 2] if text.startswith(b"{") else b""
