"""A scenario: everything that one run does, as data. A seed makes one; shrinking makes smaller ones of it.

Swarm testing: each seed switches a random subset of faults and of operations on, because a run in which everything
happens hides what only happens when something else does not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from tools.simulate.clients.menu import MENU, Dish
from tools.simulate.draws import chance, weighted

Place: TypeAlias = tuple[int, int, int, int]
"""One exchange: process, task, number of the operation, number of the exchange within it."""

SECOND: Final = 1_000_000
"""Virtual time is counted in microseconds."""

FAULTS: Final = (
    "request lost",
    "reply lost",
    "cut before",
    "cut after",
    "slow request",
    "slow reply",
    "cancel",
    "crash",
    "refused",
)
"""What may happen to one exchange; rates are per exchange."""

EVENTS: Final = (
    "restart",
    "failover",
    "flush",
    "full",
    "readonly",
    "refuse",
    "clock",
    "pause",
    "kill links",
)
"""What may happen to the server."""


_REPEATING: Final = 100
"""Number of the first of the events that let revisions be handed out twice."""

_ONE_ROW: Final = ("counter.change", "counter.get", "item.change", "item.save", "item.upsert")
"""Kinds of operation that go by what their process remembers of a row."""

_TOGETHER: Final = (
    "counter.change",
    "counter.raise",
    "counter.merge",
    "counter.pair",
    "item.change",
    "item.upsert",
)
"""Kinds of operation in which tasks of one process take turns on a row."""

_BRIEF: Final = ("ticket.create", "ticket.upsert", "ticket.meet", "ticket.wait", "sweep")
"""Kinds of operation on rows that end."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a client.

    Attributes:
        number: within its task; it names the operation, so it stays when others are removed.
        kind: a name of the menu.
        arguments: for the program of that name.
        pause: virtual microseconds before it begins.
        at: the moment at which it begins, unless the one before it still runs; None for after its pause.
    """

    number: int
    kind: str
    arguments: tuple[Any, ...]
    pause: int
    at: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One client process.

    Attributes:
        number: names the process.
        drift: how much faster its monotonic clock runs, as a fraction.
        tasks: the operations of each of its threads, which share a context.
    """

    number: int
    drift: float
    tasks: tuple[tuple[Operation, ...], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to the server.

    Attributes:
        number: names the event.
        at: virtual microseconds.
        kind: one of `EVENTS`.
        span: microseconds for which it lasts, or by which a clock jumps.
        tail: microseconds of the newest changes that are lost.
    """

    number: int
    at: int
    kind: str
    span: int
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        seed: of every draw.
        policy: of every context, by option.
        timeout: seconds for the replies of one pipeline.
        latency: usual microseconds of one way.
        rates: of the faults of exchanges.
        split: how often other clients' commands come between those of a pipeline.
        processes: the clients.
        events: of the server.
        only: the faults of exchanges that still happen; None for all.
    """

    seed: int
    policy: dict[str, Any]
    timeout: float
    latency: int
    rates: dict[str, float]
    split: float
    processes: tuple[ProcessPlan, ...]
    events: tuple[Event, ...]
    only: frozenset[Place] | None = None
    tags: frozenset[str] = field(default=frozenset())

    def without(self, **changed: Any) -> Scenario:
        """A scenario that differs in these attributes."""
        return replace(self, **changed)

    @property
    def operations(self) -> int:
        """How many operations there are."""
        return sum(len(task) for process in self.processes for task in process.tasks)


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    source = chance(seed, 1)
    rates = {name: rate_of(source) for name in FAULTS if source.random() < 0.4}
    rates = {name: rate / 4 if name in ("cancel", "crash") else rate for name, rate in rates.items()}
    dishes = [dish for dish in MENU if source.random() < 0.6] or list(MENU)
    processes = tuple(process_plan(source, number, dishes) for number in range(source.randint(2, 6)))
    whole = Scenario(
        seed=seed,
        policy=policy_of(source),
        timeout=source.choice((0.2, 1.0, 1.0)),
        latency=source.choice((100, 300, 2000)),
        rates=rates,
        split=source.choice((0.0, 0.1, 0.5)),
        processes=processes,
        events=_events(source),
    )
    if any(event.number >= _REPEATING for event in whole.events):
        return _crowded(whole)
    special = chance(seed, 10).random()
    if special < 0.05:
        return _brief(whole)
    return _together(whole) if special < 0.25 else whole


def _together(whole: Scenario) -> Scenario:
    """The same with many tasks in few processes, which write few rows at the same time."""
    source = chance(whole.seed, 9)
    names = source.sample(_TOGETHER, 3)
    dishes = [dish for dish in MENU if dish.name in names]
    number = source.randint(1, 3)
    processes = tuple(
        process_plan(source, each, dishes, tasks=source.randint(3, 8), slowest=2000) for each in range(number)
    )
    return whole.without(processes=processes)


def _crowded(whole: Scenario) -> Scenario:
    """The same with few kinds of operation: a revision that is handed out twice harms when both are those of one row."""
    source = chance(whole.seed, 9)
    dishes = source.sample([dish for dish in MENU if dish.name in _ONE_ROW], 2)
    processes = tuple(process_plan(source, plan.number, dishes) for plan in whole.processes)
    return whole.without(processes=processes)


def _brief(whole: Scenario) -> Scenario:
    """The same with rows that end soon and are freed soon, and with slow replies: they come back while they are forgotten."""
    source = chance(whole.seed, 9)
    dishes = [dish for dish in MENU if dish.name in _BRIEF]
    processes = tuple(process_plan(source, plan.number, dishes) for plan in whole.processes)
    policy = {**whole.policy, "grace_ms": 200, "sweep_every": source.choice((0, 2))}
    rates = {**whole.rates, "slow reply": 0.2}
    return whole.without(processes=processes, policy=policy, rates=rates, timeout=1.0, events=())


def rate_of(source: random.Random) -> float:
    """How often a fault happens to an exchange."""
    return source.choice((0.01, 0.03, 0.1))


def policy_of(source: random.Random) -> dict[str, Any]:
    """The policy of every context of a run."""
    return {
        "deadline": source.choice((0.5, 2.0, 5.0)),
        "attempts": source.choice((3, 16, 64)),
        "lock_ttl": source.choice((0.3, 2.0, 5.0)),
        "lock_wait": source.choice((0.2, 2.0, 10.0)),
        "grace_ms": source.choice((200, 2000, 86_400_000)),
        "chunk": source.choice((2, 4, 500)),
        "sweep_every": source.choice((0, 2, 16)),
        "remembered": source.choice((0, 4, 1024)),
    }


def process_plan(
    source: random.Random, number: int, dishes: list[Dish], *, tasks: int = 0, slowest: int = 0
) -> ProcessPlan:
    """A client process that does what is on a menu."""
    drift = source.choice((0.0, 0.0, 0.0002, -0.0002, 0.01))
    slow = source.choice((200, 2000, 20_000, 200_000))
    slow = min(slow, slowest) if slowest else slow
    all_tasks = []
    for _ in range(tasks or source.choice((1, 1, 2))):
        length = source.randint(6, 24)
        operations = []
        for place in range(1, length + 1):
            dish = weighted(source, [(dish, dish.weight) for dish in dishes])
            arguments = dish.order(source)
            operations.append(Operation(place, dish.name, arguments, int(source.expovariate(1 / slow))))
        all_tasks.append(tuple(operations))
    return ProcessPlan(number, drift, tuple(all_tasks))


def _events(source: random.Random) -> tuple[Event, ...]:
    kinds = [kind for kind in EVENTS if source.random() < 0.2]
    durability = source.choice((0, 0, 20_000, SECOND))
    events = []
    for number in range(source.randint(0, 4) if kinds else 0):
        kind = source.choice(kinds)
        at = int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.2, 1.0)))))
        span = int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.3, 2.0)))))
        if kind == "clock":
            span *= source.choice((-1, 1)) * source.choice((1, 10))
        tail = source.randint(0, durability) if kind in ("restart", "failover") and durability else 0
        events.append(Event(number, at, kind, span, tail))
    if source.random() < 0.08:
        events += _repeated_revisions(source)
    return tuple(sorted(events, key=lambda event: (event.at, event.number)))


def _repeated_revisions(source: random.Random) -> list[Event]:
    """A clock that stays behind what it has handed out, then a lost tail: revisions follow each other and are repeated."""
    moment = int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.2)))))
    events = [Event(_REPEATING, moment, "clock", -100 * SECOND)]
    for number in range(source.randint(1, 4)):
        moment += int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.2)))))
        kind = source.choice(("restart", "failover"))
        events.append(Event(_REPEATING + 1 + number, moment, kind, 1000, source.randint(1000, SECOND)))
    return events
