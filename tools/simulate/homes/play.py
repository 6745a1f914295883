"""One run: clients and servers under a seeded scheduler, judged after every step and at the end."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keyweave.effects import Call, Effect, Send, Sleep
from keyweave.homes.claim import vacate
from keyweave.homes.home import Homed
from keyweave.model.entity import Package
from keyweave.read.strategy import BY_SCRIPT
from keyweave.store.context import Context
from keyweave.store.policy import Policy
from keyweave.store.retention import resolve
from tools.simulate.clients.arena import arena
from tools.simulate.draws import chance
from tools.simulate.homes.client import Act, Client, History, run
from tools.simulate.homes.judge import Violation, check_answers, look
from tools.simulate.homes.scenario import CODES, KEYS, Operation, Scenario
from tools.simulate.homes.site import Site
from tools.simulate.network.timeline import Timeline
from tools.simulate.seams import Seams


@dataclass(slots=True)
class Played:
    """What a run came to.

    Attributes:
        violations: of the first moment at which there were any.
        places: of all exchanges, in their order.
        faults: how often each happened.
        outcomes: how operations ended.
        left: homes without a row at the end, before they were removed.
    """

    violations: list[Violation] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    left: int = 0


class Run:
    """One scenario in the playing."""

    active: Final = None

    def __init__(self, scenario: Scenario, package: Package) -> None:
        self.played: Final = Played()
        self._scenario: Final = scenario
        self._package: Final = package
        self._timeline: Final = Timeline()
        self._history: Final = History()
        self._site: Final = Site(scenario, package, self._timeline, self._look)
        self._reader: Final = self._context(0)

    def _context(self, number: int) -> Context:
        source = chance(self._scenario.seed, 23, number)
        return Context(
            self._package,
            self._site.keyspace,
            Policy(deadline=self._scenario.deadline, attempts=12),
            "servers",
            resolve(self._package, {}, {}),
            BY_SCRIPT,
            monotonic=lambda: self._timeline.now / 1_000_000 + 1000,
            wall=lambda: self._timeline.now / 1_000_000,
            random=source,
            secret=source.randbytes,
            clustered=True,
        )

    def _look(self) -> None:
        if not self.played.violations:
            self.played.violations += look(self._site, self._reader, self._package.entities["Item"])

    def play(self) -> Played:
        """Play everything and judge it."""
        site, played = self._site, self.played
        with Seams(self._scenario.seed, self):
            for number, operations in enumerate(self._scenario.clients, 1):
                Client(number, site, self._history, self._context(number), operations).next()
            while self._timeline.step():
                pass
            site.heal()
            for key in KEYS:
                act = Act(Operation("get", key, None, 0, 0), f"last {key}", self._history.tick())
                self._direct(run(self._reader, site, act))
                act.ended, act.outcome = self._history.tick(), "ok"
                self._history.acts.append(act)
            self._sweep()
        if not played.violations:
            played.violations += check_answers(self._history.acts)
        played.places = site.places
        played.faults.update(site.faults)
        played.faults["failover"] = len(self._scenario.failovers)
        played.outcomes.update(f"{act.operation.kind} {act.outcome}" for act in self._history.acts)
        return played

    def _sweep(self) -> None:
        """Remove homes without a row. Afterwards there are as many as keys and values of rows."""
        item = self._package.entities["Item"]
        things = [Homed(item, "", key) for key in KEYS] + [Homed(item, "code", code) for code in CODES]
        before = self._homes()
        for thing in things:
            self._direct(vacate(self._reader, thing))
        self.played.left = before - self._homes()
        stored = sum(
            (partition.document(item.name, key).encode() in self._site.node_of(partition).database.values)
            for partition in self._site.partitions
            for key in KEYS
        )
        claimed = self._count([partition.claims(item.name, "code") for partition in self._site.partitions])
        if self._homes() != stored + claimed and not self.played.violations:
            text = f"{self._homes()} homes of {stored} rows and {claimed} values"
            self.played.violations.append(Violation("homes are left", text))

    def _homes(self) -> int:
        names = [
            partition.homes("Item", unique) for partition in self._site.partitions for unique in ("", "code")
        ]
        return self._count(names)

    def _count(self, keys: list[str]) -> int:
        """How many fields these hashes have."""
        nodes = self._site.nodes
        return sum(len(node.database.values.get(key.encode(), ())) for key in keys for node in nodes)

    def _direct(self, flow: Generator[Effect, Any, Any]) -> Any:
        """Run a flow without faults."""
        answer: Any = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(effect, Send):
                answer = self._site.execute(effect.commands)
            elif isinstance(effect, Sleep):
                self._timeline.now += int(effect.seconds * 1_000_000)
            else:
                assert isinstance(effect, Call)
                answer = effect.function(*effect.arguments)


def crashes(scenario: Scenario) -> Iterator[Scenario]:
    """The scenario without faults, once for each exchange and side of it at which its client ends."""
    quiet = scenario.quiet()
    for place in play(quiet).places:
        for sent in (False, True):
            yield replace(quiet, crash=(place, sent))


def play(scenario: Scenario, package: Package | None = None) -> Played:
    """Play a scenario, by default with the package as it is generated now."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return Run(scenario, package or arena()).play()
    finally:
        if collecting:
            gc.enable()
