"""One run with several partitions."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from functools import cached_property
from typing import Final

from keyweave.exchange.handshake import handshake
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Package
from keyweave.partitioned.doubling import DOUBLING_ROUTER
from keyweave.partitioned.router import ROUTER
from keyweave.read.strategy import BY_SCRIPT
from keyweave.store.context import Context
from tools.simulate.network.events import Events
from tools.simulate.network.network import Network
from tools.simulate.partitions.arena import GROUP, MOST, PARTITIONS, keyspace, spread
from tools.simulate.partitions.events import SpreadEvents
from tools.simulate.partitions.judge import Watch, judge
from tools.simulate.partitions.masters import Masters
from tools.simulate.partitions.network import SpreadNetwork
from tools.simulate.partitions.programs import PROGRAMS
from tools.simulate.partitions.scenario import first_number, skews
from tools.simulate.partitions.standing import Standing
from tools.simulate.run import Played, Run
from tools.simulate.scenario import Scenario
from tools.simulate.server.database import Database


class SpreadRun(Run):
    """One scenario in the playing.

    Attributes:
        first: the number of partitions when it begins; None where they are never doubled.
        whole: every partition that there may be.
        masters: the servers.
        standing: which of the partitions have rows.
    """

    programs = PROGRAMS

    def __init__(self, scenario: Scenario, package: Package, *, recording: bool = False) -> None:
        self.first: Final = first_number(scenario.seed)
        self.whole: Final = keyspace(package, PARTITIONS if self.first is None else MOST)
        self._skews: Final = skews(scenario.seed)
        self.masters: Final = Masters(self.whole, self._skews)
        self.standing: Final = Standing(self.masters, self.whole, package)
        self._wanted: dict[str, int] = {}
        super().__init__(scenario, package, recording=recording)

    def new_node(self) -> Masters:
        """The servers."""
        return self.masters

    def new_network(self) -> Network:
        """The way to the servers."""
        self._spread = SpreadNetwork(self.scenario, self.timeline, self.masters, self.trace)
        return self._spread

    def new_events(self) -> Events:
        """What happens to the servers."""
        return SpreadEvents(self.timeline, self.masters, self._spread, self.history, self.trace)

    def context(self, monotonic: Callable[[], float], source: random.Random) -> Context:
        """A context of a store that learns at its handshake how many partitions there are. On one server, half of them pack plans."""
        several = len(self._skews) > 1
        return Context(
            self.package,
            keyspace(self.package, 1),
            self._policy,
            "servers",
            self._lifetimes,
            BY_SCRIPT,
            monotonic=monotonic,
            wall=self._wall,
            random=source,
            secret=source.randbytes,
            clustered=several,
            direct=not several and source.random() < 0.5,
            timeout=self.scenario.timeout,
            wanted=self._wanted,
            routing=lambda doubling: DOUBLING_ROUTER if doubling else ROUTER,
        )

    def opened(self) -> Context:
        """A context for what happens before and after the run, after its handshake."""
        context = self.outside()
        self.direct(handshake(context))
        return context

    @cached_property
    def reader(self) -> Context:
        """A context that only reads documents and builds keys."""
        context = self.outside()
        context.keyspace.spread({partition.group: PARTITIONS for partition in self.whole.partitions()})
        return context

    def prepare(self) -> None:
        """Set the number of partitions, and watch from here on."""
        self._wanted = {} if self.first is None else {GROUP: self.first}
        self.opened()
        self._wanted = {}
        self.masters.look = Watch(self).look

    def places(self) -> list[tuple[Database, Partition]]:
        """Every partition that has rows, with the data of its server."""
        partitions = (self.whole if self.first is None else self.standing.keyspace()).partitions()
        return [(self.masters.node_of(partition).database, partition) for partition in partitions]

    def is_row(self, partition: Partition, name: str, document: bytes) -> bool:
        """Whether a document in a partition is a row; see `Standing.has_row`."""
        if self.first is None:
            return True
        return self.standing.has_row(self.reader, partition, self.package.entities[name], document)

    def ledger_ends(self, session: str) -> float:
        """Seconds until each server has dropped the ledger of a client; 0 if there is none."""
        found = 0.0
        for partition in self.whole.partitions():
            node = self.masters.node_of(partition)
            ends = node.database.deadlines.get(partition.ledger(session).encode(), 0) / 1000
            found = max(found, ends - (self.timeline.now + node.offset) / 1_000_000)
        return found

    def catch_up(self) -> None:
        """Set clocks forward to what they have shown, if they were set back."""
        self.masters.catch_up(self.timeline.now)

    def judge(self) -> int:
        """Judge the run."""
        return judge(self)


def play(scenario: Scenario, package: Package | None = None, *, recording: bool = False) -> Played:
    """Play a scenario, by default with the package as it is generated now."""
    run = SpreadRun(scenario, package or spread(), recording=recording)
    # The flow of a client that crashed is closed when it is collected, so the collector must not choose the moment.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return run.play()
    finally:
        if collecting:
            gc.enable()
