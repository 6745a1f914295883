"""One run: a scenario is played to its end, everything in flight arrives, the server is healed, and checkers judge."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

from keyweave.effects import Call, Effect, Send
from keyweave.keyspace.keys import Keyspace, Namespace, Partition
from keyweave.model.entity import Package
from keyweave.read.strategy import BY_SCRIPT
from keyweave.store.context import Context
from keyweave.store.policy import Policy
from keyweave.store.retention import resolve
from keyweave.write.save import create
from tools.simulate.clients.actor import Program
from tools.simulate.clients.arena import arena, kind
from tools.simulate.clients.menu import ACCOUNTS, COUNTERS
from tools.simulate.clients.process import Process, Task
from tools.simulate.clients.programs import PROGRAMS
from tools.simulate.draws import chance
from tools.simulate.history import Act, History
from tools.simulate.judge.check_drift import compare
from tools.simulate.judge.judge import judge
from tools.simulate.network.events import Events, revisions_in
from tools.simulate.network.network import Network
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Step, Trace
from tools.simulate.scenario import Place, Scenario
from tools.simulate.seams import Seams
from tools.simulate.server.database import Database
from tools.simulate.server.node import Node

T = TypeVar("T")

_LOOK_EVERY: Final = 30
"""Exchanges between two comparisons of documents and entries while clients write."""

MONEY: Final = 100
"""What every account begins with."""


class Violation(NamedTuple):
    """A promise that was broken.

    Attributes:
        checker: what found it.
        kinds: the kinds of operation that are involved, in alphabetical order.
        text: in words.
    """

    checker: str
    kinds: tuple[str, ...]
    text: str

    @property
    def signature(self) -> str:
        """What distinguishes one fault from another as far as a program can."""
        return f"{self.checker}: {', '.join(self.kinds)}" if self.kinds else self.checker


@dataclass(frozen=True, slots=True)
class Played:
    """What a run came to.

    Attributes:
        violations: in the order of their discovery.
        history: of all operations.
        digest: of the trace; equal for equal runs.
        exchanges: how many pipelines were sent.
        faults: what happened to exchanges.
        events: how often what happened to the server.
        outcomes: how often operations ended how.
        steps: in words, when they were recorded.
        places: of all exchanges, in their order.
        undecided: histories that were too long to judge.
        overshoot: the most seconds by which an operation was over its budget and one timeout.
    """

    violations: tuple[Violation, ...]
    history: History
    digest: str
    exchanges: int
    faults: tuple[tuple[Place, str], ...]
    events: Counter[str]
    outcomes: Counter[str]
    steps: tuple[Step, ...]
    places: tuple[Place, ...]
    undecided: int
    overshoot: float


class Run:
    """One scenario in the playing; the world of its processes."""

    programs: Mapping[str, Callable[..., Program]] = PROGRAMS

    def __init__(self, scenario: Scenario, package: Package, *, recording: bool = False) -> None:
        self.scenario: Final = scenario
        self.package: Final = package
        self.timeline: Final = Timeline()
        self.trace: Final = Trace(recording=recording)
        self.history: Final = History()
        self.node: Final = self.new_node()
        self.network: Final = self.new_network()
        self.violations: list[Violation] = []
        self.active: Task | None = None
        self.overshoot = 0.0
        self.drifted = False
        self._policy = Policy(**scenario.policy)
        self._keyspace = Keyspace(Namespace("a", "v", "s", "t"), package.groups, package.stored)
        self._lifetimes = resolve(package, {}, {})

    def new_node(self) -> Node:
        """The server."""
        return Node()

    def new_network(self) -> Network:
        """The way to the server."""
        return Network(self.scenario, self.timeline, self.node, self.trace)

    def context(self, monotonic: Callable[[], float], source: random.Random) -> Context:
        """A context of a store that was just opened. Half of them send plans of one row packed."""
        return Context(
            self.package,
            self._keyspace,
            self._policy,
            "node",
            self._lifetimes,
            BY_SCRIPT,
            monotonic=monotonic,
            wall=self._wall,
            random=source,
            secret=source.randbytes,
            timeout=self.scenario.timeout,
            direct=source.random() < 0.5,
        )

    def _wall(self) -> float:
        return self.timeline.now / 1_000_000

    def ledger_ends(self, session: str) -> float:
        """Seconds until the server drops the ledger of a client; 0 if there is none."""
        key = self._keyspace.partitions()[0].ledger(session).encode()
        ends = self.node.database.deadlines.get(key, 0) / 1000
        return max(0.0, ends - (self.timeline.now + self.node.offset) / 1_000_000)

    def complain(self, checker: str, text: str, *acts: Act) -> None:
        """Report a violation."""
        kinds = tuple(sorted({act.kind for act in acts}))
        cause = " after a repeated revision" if self._repeated() else ""
        self.violations.append(Violation(checker + cause, kinds, text))

    def _repeated(self) -> bool:
        """Whether a revision that was lost with a tail has been handed out again."""
        file = self.node.file
        return any(loss.revisions & revisions_in(file[loss.kept :]) for loss in self.history.losses)

    def play(self) -> Played:
        """Play everything and judge it."""
        with Seams(self.scenario.seed, self):
            self.prepare()
            events = self.new_events()
            events.schedule(self.scenario.events)
            for process in [Process(self, plan) for plan in self.scenario.processes]:
                process.begin()
            exchanges = 0
            while self.timeline.step():
                if self.network.exchanges >= exchanges + _LOOK_EVERY and not self.drifted:
                    exchanges = self.network.exchanges
                    self.drifted = not compare(self)
            events.heal()
            self.active = None
            undecided = self.judge()
        counted = Counter(act.outcome for act in self.history.acts)
        return Played(
            tuple(self.violations),
            self.history,
            self.trace.digest,
            self.network.exchanges,
            tuple(self.network.faults),
            Counter(event.kind for event in self.scenario.events),
            counted,
            tuple(self.trace.steps),
            tuple(self.network.sent_at),
            undecided,
            self.overshoot,
        )

    def new_events(self) -> Events:
        """What happens to the server."""
        return Events(self.timeline, self.node, self.network, self.history, self.trace)

    def judge(self) -> int:
        """Judge the run; see `judge`."""
        return judge(self)

    def places(self) -> list[tuple[Database, Partition]]:
        """Every partition, with the data of its server."""
        return [(self.node.database, self.reader.keyspace.partitions()[0])]

    def is_row(self, partition: Partition, name: str, document: bytes) -> bool:
        """Whether a document in a partition is a row of its entity, and no copy."""
        return True

    def catch_up(self) -> None:
        """Set the server's clock forward to what it has shown, if it was set back."""
        node = self.node
        node.offset += max(0, node.latest - self.timeline.now - node.offset)

    def direct(self, flow: Generator[Effect, Any, T]) -> T:
        """Run a flow on the server at once, without network and faults."""
        answer: Any = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            answer = None
            if isinstance(effect, Send):
                answer = self.node.pipeline(effect.commands, self.timeline.now)
            elif isinstance(effect, Call):
                answer = effect.function(*effect.arguments)
            else:
                self.timeline.now += max(1, int(effect.seconds * 1_000_000))

    @cached_property
    def reader(self) -> Context:
        """A context that only reads documents and builds keys."""
        return self.outside()

    def outside(self) -> Context:
        """A context for what happens before and after the run."""
        return self.context(lambda: self.timeline.now / 1_000_000, chance(self.scenario.seed, 7))

    def prepare(self) -> None:
        """Write what is there before the clients begin."""
        context = self.outside()
        for number in range(COUNTERS):
            self.direct(create(context, kind("Counter"), kind("Counter").record(id=f"c{number}")))
        for number in range(ACCOUNTS):
            record = kind("Account").record(id=f"a{number}", balance=MONEY)
            self.direct(create(context, kind("Account"), record))


def play(scenario: Scenario, package: Package | None = None, *, recording: bool = False) -> Played:
    """Play a scenario, by default with the package as it is generated now."""
    run = Run(scenario, package or arena(), recording=recording)
    # The flow of a client that crashed is closed when it is collected, so the collector must not choose the moment.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return run.play()
    finally:
        if collecting:
            gc.enable()
