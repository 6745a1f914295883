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
from keyweave.partitioned.router import ROUTER
from keyweave.read.strategy import BY_SCRIPT
from keyweave.store.context import Context
from tools.simulate.network.events import Events
from tools.simulate.network.network import Network
from tools.simulate.partitions.arena import PARTITIONS, keyspace, spread
from tools.simulate.partitions.events import SpreadEvents
from tools.simulate.partitions.judge import Watch, judge
from tools.simulate.partitions.masters import Masters
from tools.simulate.partitions.network import SpreadNetwork
from tools.simulate.partitions.programs import PROGRAMS
from tools.simulate.partitions.scenario import skews
from tools.simulate.run import Played, Run
from tools.simulate.scenario import Scenario
from tools.simulate.server.database import Database


class SpreadRun(Run):
    """One scenario in the playing.

    Attributes:
        whole: every partition.
        masters: the servers.
    """

    programs = PROGRAMS

    def __init__(self, scenario: Scenario, package: Package, *, recording: bool = False) -> None:
        self.whole: Final = keyspace(package, PARTITIONS)
        self._skews: Final = skews(scenario.seed)
        self.masters: Final = Masters(self.whole, self._skews)
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
            routing=lambda doubling: ROUTER,
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
        self.opened()
        self.masters.look = Watch(self, self.reader).look

    def places(self) -> list[tuple[Database, Partition]]:
        """Every partition, with the data of its server."""
        return [
            (self.masters.node_of(partition).database, partition) for partition in self.whole.partitions()
        ]

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
