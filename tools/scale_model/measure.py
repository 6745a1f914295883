"""Measured: the trips, bytes and time of each call on groups of different numbers of partitions, on one server of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import redis

from compozy_store import Component, Status, TaskState, WorkflowState, sync
from keyweave.model.ids import ksuid
from tests.servers.running import configured_server, free_port

EXECUTIONS: Final = 128
TASKS: Final = 8

EVERYWHERE: Final = frozenset({"page of 50 over all", "count over all"})
"""Calls that ask all partitions. Their bytes and time grow with the number; their round trips do not."""

MOST_BYTES: Final = 1.10
MOST_TIME: Final = 1.5
"""How much more a call that asks one partition may cost with the most partitions than with the fewest of several."""


class Cost(NamedTuple):
    """What one call costs.

    Attributes:
        trips: exchanges.
        bytes: that the server receives and sends.
        server: microseconds in commands, as the server counts them.
        client: microseconds of the client's processor time.
    """

    trips: float
    bytes: float
    server: float
    client: float


Costs = dict[str, dict[int, Cost]]
"""By the name of the call, then by the number of partitions."""


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        costs: of each call.
        row_bytes: memory of a task with all of its entries, and with its home if there are several partitions.
    """

    costs: Costs
    row_bytes: float


def measure(numbers: Sequence[int], calls: int, rounds: int) -> Measured:
    """Measure every call with each number of partitions, in turns.

    Args:
        numbers: of partitions.
        calls: of each kind in one round.
        rounds: of which the median counts.
    """
    port = free_port()
    with configured_server(port=str(port)), redis.Redis(port=port) as client:
        worlds = [_World(f"redis://127.0.0.1:{port}", client, number) for number in numbers]
        try:
            for world in worlds:
                for name in _CALLS:  # the server does not know a script before its first call
                    world.cost(name, -1, 1)
            found: dict[str, dict[int, list[Cost]]] = {}
            for number in range(rounds):
                for name in _CALLS:
                    for world in worlds if number % 2 else worlds[::-1]:
                        each = found.setdefault(name, {}).setdefault(world.number, [])
                        each.append(world.cost(name, number * calls, calls))
            costs = {
                name: {number: _median(every) for number, every in by.items()} for name, by in found.items()
            }
            return Measured(costs, worlds[-1].row_bytes)
        finally:
            for world in worlds:
                world.close()


def faults(costs: Costs) -> list[str]:
    """Return what does not stay flat in the number of partitions, where it should."""
    found = []
    for name, by in costs.items():
        several = [by[number] for number in sorted(by) if number > 1]
        if len(several) < 2:
            continue
        first, last = several[0], several[-1]
        if len({each.trips for each in several}) > 1:
            found.append(f"{name}: {first.trips:g} round trips become {last.trips:g}")
        if name in EVERYWHERE:
            continue
        for word, before, after, most in (
            ("bytes", first.bytes, last.bytes, MOST_BYTES),
            ("microseconds of the server", first.server, last.server, MOST_TIME),
            ("microseconds of the client", first.client, last.client, MOST_TIME),
        ):
            if after > most * before:
                found.append(f"{name}: {before:.0f} {word} become {after:.0f}")
    return found


class _World:
    """Stores of one namespace with a number of partitions: one that met its rows, and what others ask that did not."""

    def __init__(self, url: str, client: Any, number: int) -> None:
        self.number: Final = number
        self._client: Final = client
        self._trips = 0
        self._url: Final = url
        self.store = self._opened()
        self.store.workflow_states.create_many([_workflow(f"w{each}") for each in range(EXECUTIONS)])
        before = self._used()
        tasks = [_task(f"t{each}", f"w{each % EXECUTIONS}") for each in range(EXECUTIONS * TASKS)]
        self.tasks: list[TaskState] = [self.store.task_states.create(task) for task in tasks]
        self.row_bytes = (self._used() - before) / len(tasks)
        self.cold = self._opened()
        for workflow in range(EXECUTIONS):  # both know the ledger of every partition
            self.store.task_states.get(f"t{workflow}")

    def _used(self) -> int:
        return int(self._client.info("memory")["used_memory"])

    def _opened(self) -> Any:
        """Return a store whose exchanges are counted."""
        store: Any = sync.Store.open(
            self._url,
            namespace=f"scale-{self.number}",
            partitions={"execution": self.number},
            retention={},
            sweep_every=0,
        )
        channel = store.session.shell.channel
        exchange = channel.exchange

        def counting(*args: Any) -> Any:
            self._trips += 1
            return exchange(*args)

        channel.exchange = counting
        return store

    def cost(self, name: str, first: int, calls: int) -> Cost:
        """Return the cost of one call, the mean of so many; time of the client is their median."""
        made = [_CALLS[name](self, (first + each) % len(self.tasks)) for each in range(calls)]
        self._client.config_resetstat()
        trips, times = self._trips, []
        for call in made:
            started = time.thread_time_ns()
            call()
            times.append(time.thread_time_ns() - started)
        # Read in one exchange; its own bytes and time are small, and the same for every number.
        stats = self._client.info("everything")
        server = sum(
            each["usec"]
            for command, each in stats.items()
            if command.startswith("cmdstat_") and _counts(command)
        )
        moved = stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
        return Cost(
            (self._trips - trips) / calls, moved / calls, server / calls, statistics.median(times) / 1000
        )

    def close(self) -> None:
        """Close the stores."""
        self.store.close()
        self.cold.close()


def _counts(command: str) -> bool:
    """Return whether the time of a command counts. Scripts include that of the commands that they call."""
    return command in (
        "cmdstat_evalsha",
        "cmdstat_get",
        "cmdstat_mget",
        "cmdstat_hget",
        "cmdstat_zrange",
        "cmdstat_zcard",
        "cmdstat_zcount",
    )


def _workflow(key: str) -> WorkflowState:
    return WorkflowState(workflow_exec_id=key, workflow_id="f", status=Status.RUNNING)


def _task(key: str, workflow: str) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id=workflow,
        workflow_id="f",
        component=Component.AGENT,
        status=Status.RUNNING,
        agent_id=f"agent{len(key) % 7}",
        action_id="answer",
        input={"prompt": "x" * 400},
    )


def _get_known(world: _World, number: int) -> Callable[[], Any]:
    task = world.tasks[number]
    return lambda: world.store.task_states.get(task.task_exec_id, workflow_exec_id=task.workflow_exec_id)


def _get_cold(world: _World, number: int) -> Callable[[], Any]:
    return lambda: world.cold.task_states.get(world.tasks[number].task_exec_id)


def _get_warm(world: _World, number: int) -> Callable[[], Any]:
    return lambda: world.store.task_states.get(world.tasks[number].task_exec_id)


def _save(world: _World, number: int) -> Callable[[], Any]:
    def save() -> Any:
        task = world.tasks[number]
        task.status = Status.PAUSED if task.status is Status.RUNNING else Status.RUNNING
        return world.store.task_states.save(task)

    return save


_CALLS: Final[dict[str, Callable[[_World, int], Callable[[], Any]]]] = {
    "get by key and value": _get_known,
    "get by key, not met before": _get_cold,
    "get by key, met before": _get_warm,
    "save": _save,
    "create an execution": lambda world, _: lambda: world.store.workflow_states.create(_workflow(ksuid())),
    "create a task": lambda world, number: lambda: world.store.task_states.create(
        _task(ksuid(), f"w{number % EXECUTIONS}")
    ),
    "page of an execution": lambda world, number: lambda: world.store.task_states.by_workflow(
        f"w{number % EXECUTIONS}"
    ).page(TASKS),
    "page of 50 over all": lambda world, _: lambda: world.store.task_states.all().page(50),
    "count over all": lambda world, _: lambda: world.store.task_states.all().count(),
}
"""A call of each kind, by the number of the row that it concerns."""


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*[statistics.median(each) for each in zip(*costs, strict=True)])
