"""What one run does with several partitions, as data that a seed makes. One run in four has all partitions on one server.

In one run in five the partitions are doubled meanwhile, once or several times, by one process or by two that take over from each other.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from tools.simulate.draws import chance
from tools.simulate.partitions.arena import MOST, SERVERS
from tools.simulate.partitions.events import KINDS
from tools.simulate.partitions.menu import MENU
from tools.simulate.partitions.network import MORE_FAULTS
from tools.simulate.scenario import (
    FAULTS,
    SECOND,
    Event,
    Operation,
    ProcessPlan,
    Scenario,
    policy_of,
    process_plan,
    rate_of,
)

_RARE: Final = ("cancel", "crash", "stall")

_CLOCKS: Final = 100 * SECOND
"""Virtual microseconds by which the clock of a server is wrong at most when a run begins."""

_ON_ONE_KEY: Final = ("item.create", "item.delete", "rest")
"""Kinds of operation that give a key to one partition after the other."""

_TOGETHER: Final = ("item.upsert", "item.change", "box.upsert", "item.delete", "item.create")
"""Kinds of operation in which tasks of one process take turns on a row, or come between."""


def scenario(seed: int) -> Scenario:
    """The scenario of a seed. One in four has no faults, and in one of six many tasks of few processes write few rows."""
    source = chance(seed, 31)
    faulty = source.random() < 0.75
    rates = {name: rate_of(source) for name in (*FAULTS, *MORE_FAULTS) if faulty and source.random() < 0.4}
    rates = {name: rate / 4 if name in _RARE else rate for name, rate in rates.items()}
    dishes = [dish for dish in MENU if source.random() < 0.5] or list(MENU)
    processes: tuple[ProcessPlan, ...]
    if source.random() < 1 / 6:
        names = source.sample(_TOGETHER, 3)
        few = [dish for dish in MENU if dish.name in names]
        processes = tuple(
            process_plan(source, number, few, tasks=source.randint(3, 6), slowest=2000)
            for number in range(source.randint(1, 3))
        )
    else:
        processes = tuple(process_plan(source, number, dishes) for number in range(source.randint(2, 6)))
    whole = Scenario(
        seed=seed,
        policy=policy_of(source),
        timeout=source.choice((0.2, 1.0, 1.0)),
        latency=source.choice((100, 300, 2000)),
        rates=rates,
        split=source.choice((0.0, 0.1, 0.5)),
        processes=processes,
        events=_events(source) if faulty else (),
    )
    if first_number(seed) is not None:
        return _doubling(whole)
    return _standing(whole) if chance(seed, 33).random() < 0.1 else whole


def _standing(whole: Scenario) -> Scenario:
    """The same with few kinds of operation, whose processes often stand still, some for longer than a fence lives."""
    source = chance(whole.seed, 34)
    dishes = [dish for dish in MENU if dish.name in _ON_ONE_KEY]
    processes = tuple(process_plan(source, number, dishes) for number in range(source.randint(3, 6)))
    policy = {**whole.policy, "attempts": 64}
    return whole.without(
        processes=processes, policy=policy, rates={"stall": 0.15, "late request": 0.05}, events=()
    )


def first_number(seed: int) -> int | None:
    """The number of partitions when a run begins in which they are doubled; None for any other run."""
    source = chance(seed, 35)
    return source.choice((1, 2, 4)) if source.random() < 0.2 else None


def _doubling(whole: Scenario) -> Scenario:
    """The same with clients that act over more than a minute, while others double the partitions, or end doing it and begin again."""
    source = chance(whole.seed, 36)
    dishes = [dish for dish in MENU if source.random() < 0.5] or list(MENU)
    number = source.randint(1, 4)
    slowest = source.choice((1, 3, 5)) * SECOND
    clients = [process_plan(source, each, dishes) for each in range(number)]
    slowed = [_slowed(source, plan, slowest) for plan in clients]
    for each in range(number, number + source.choice((1, 1, 2))):
        runs = tuple(
            Operation(place, "repartition", (source.choice((2, 4, MOST, MOST)),), _pause(source, SECOND))
            for place in range(1, source.randint(2, 8))
        )
        slowed.append(ProcessPlan(each, 0.0, (runs,)))
    events = tuple(replace(event, at=_pause(source, 30 * SECOND)) for event in whole.events)
    events = tuple(sorted(events, key=lambda event: (event.at, event.number)))
    return whole.without(processes=tuple(slowed), events=events)


def _slowed(source: random.Random, plan: ProcessPlan, slowest: int) -> ProcessPlan:
    tasks = tuple(
        tuple(replace(each, pause=_pause(source, slowest)) for each in operations)
        for operations in plan.tasks
    )
    return replace(plan, tasks=tasks)


def _pause(source: random.Random, usual: int) -> int:
    return int(source.expovariate(1 / usual))


def skews(seed: int) -> list[int]:
    """What the clock of each server is ahead of virtual time when the run begins, in microseconds. There may be one server only."""
    source = chance(seed, 32)
    servers = 1 if source.random() < 0.25 else SERVERS
    return [source.randint(-_CLOCKS, _CLOCKS) for _ in range(servers)]


def _events(source: random.Random) -> tuple[Event, ...]:
    kinds = [kind for kind in KINDS if source.random() < 0.3]
    events = []
    for number in range(source.randint(0, 5) if kinds else 0):
        kind = source.choice(kinds)
        at = int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.2, 1.0)))))
        span = int(source.expovariate(1 / (SECOND * source.choice((0.02, 0.3, 2.0)))))
        if kind == "clock":
            span = source.choice((-1, 1)) * min(span * 20, 60 * SECOND)
        events.append(Event(number, at, kind, min(span, 60 * SECOND)))
    return tuple(sorted(events, key=lambda event: (event.at, event.number)))
