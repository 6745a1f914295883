"""Shrinking: takes operations, clients, faults and events out of a failing scenario while it still fails in the same way.

Every choice of a scenario depends on its own place alone, so what is left behaves as it did, as far as it can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from tools.simulate.run import Played
from tools.simulate.scenario import Operation, ProcessPlan, Scenario

T = TypeVar("T")

Fails = Callable[[Scenario], bool]
"""Whether a scenario still fails in the same way."""

MOST_RUNS: Final = 1500
"""Runs that one shrinking may take."""


def pinned(scenario: Scenario, played: Played) -> Scenario:
    """The same run, in which every operation has a moment of its own and every fault is named.

    So an operation begins when it did, whatever is taken out before it.
    """
    moments = {act.token: act.began_at for act in played.history.acts}
    processes = tuple(
        replace(
            process,
            tasks=tuple(
                tuple(
                    replace(each, at=moments.get(f"{process.number}-{task}-{each.number}"))
                    for each in operations
                )
                for task, operations in enumerate(process.tasks)
            ),
        )
        for process in scenario.processes
    )
    return scenario.without(processes=processes, only=frozenset(place for place, _ in played.faults))


class _Spent(Exception):
    """There were enough runs."""


class Shrinker:
    """Makes a failing scenario smaller.

    Args:
        scenario: it fails.
        played: how it went.
        fails: plays a scenario.
    """

    def __init__(self, scenario: Scenario, played: Played, fails: Fails) -> None:
        self._whole = scenario
        self._best = pinned(scenario, played)
        self._fails = fails
        self._runs = 0

    def shrink(self) -> Scenario:
        """The smallest scenario that was found."""
        try:
            if not self._try(self._best):
                return self._whole
            size = None
            while size != (size := self._size()):
                self._operations()
                self._faults()
                self._events()
                self._settings()
        except _Spent:
            pass
        return self._best

    def _size(self) -> tuple[int, ...]:
        best = self._best
        return best.operations, len(best.only or ()), len(best.events), len(best.processes)

    def _try(self, scenario: Scenario) -> bool:
        self._runs += 1
        if self._runs > MOST_RUNS:
            raise _Spent
        if not self._fails(scenario):
            return False
        self._best = scenario
        return True

    def _operations(self) -> None:
        names = [
            (process.number, task, operation.number)
            for process in self._best.processes
            for task, operations in enumerate(process.tasks)
            for operation in operations
        ]
        for process in list(self._best.processes):
            if len(self._best.processes) > 1:
                others = tuple(each for each in self._best.processes if each.number != process.number)
                if self._try(self._best.without(processes=others)):
                    names = [name for name in names if name[0] != process.number]
        _reduce(names, lambda kept: self._try(self._with_operations(set(kept))))

    def _with_operations(self, kept: set[tuple[int, int, int]]) -> Scenario:
        def tasks_of(process: ProcessPlan) -> tuple[tuple[Operation, ...], ...]:
            return tuple(
                tuple(each for each in operations if (process.number, task, each.number) in kept)
                for task, operations in enumerate(process.tasks)
            )

        processes = [
            ProcessPlan(process.number, process.drift, tasks_of(process)) for process in self._best.processes
        ]
        kept_processes = tuple(process for process in processes if any(process.tasks)) or tuple(processes[:1])
        return self._best.without(processes=kept_processes)

    def _faults(self) -> None:
        faults = sorted(self._best.only or ())
        _reduce(faults, lambda kept: self._try(self._best.without(only=frozenset(kept))))

    def _events(self) -> None:
        _reduce(list(self._best.events), lambda kept: self._try(self._best.without(events=tuple(kept))))

    def _settings(self) -> None:
        calmer = [self._best.without(split=0.0)] if self._best.split else []
        drifting = any(process.drift for process in self._best.processes)
        if drifting:
            steady = tuple(ProcessPlan(each.number, 0.0, each.tasks) for each in self._best.processes)
            calmer.append(self._best.without(processes=steady))
        for scenario in calmer:
            self._try(scenario)


def _reduce(values: list[T], works: Callable[[list[T]], bool]) -> list[T]:
    """Leave out as many values as possible, large pieces first."""
    piece = len(values)
    while piece:
        start = 0
        while start < len(values):
            kept = values[:start] + values[start + piece :]
            if works(kept):
                values = kept
            else:
                start += piece
        piece //= 2
    return values
