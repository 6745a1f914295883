"""Sixteen partitions over three masters beside one partition, on the same cluster and over the same client, in turns.

The machine's speed drifts, the ratio of two neighbours does not: each number is the median of the ratios of neighbouring blocks.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from compozy_store import Component, Status, TaskState, WorkflowState, sync
from keyweave.keyspace.spread import index_of
from keyweave.model.ids import ksuid
from tests.servers.cluster import Cluster, running_cluster, slot_of
from tests.servers.running import new_namespace
from tools.bench.partitions_wire import Trips, connected, trips_of

PARTITIONS: Final = 16
EXECUTIONS: Final = 64
TASKS: Final = 20
BLOCK: Final = 20
"""Calls in a row on one side before the other side's turn."""

RANDOM: Final = 10_000
"""Random executions whose writes are counted by master."""

KEPT: Final = "partitions.json"
"""Name of the file that holds the latest comparison, beside the other results."""

_PAGE: Final = "latest-first page of 50 over all"

TARGETS: Final = {
    "get(key, value)": 1.05,
    "save": 1.05,
    "create an execution": 1.05,
    "page of a view with the value": 1.05,
    _PAGE: 2.5,
}
"""The most that a call may take, as a multiple of one partition. Other calls are shown without a bound."""

MOST_DOCUMENTS: Final = 2.0
"""The most documents that a page over all partitions may read for each row that it returns."""

MOST_UNEVEN: Final = 0.15
"""How far the share of writes of a master may be from even."""


class Compared(msgspec.Struct, frozen=True):
    """One call on both sides.

    Attributes:
        name: of the call.
        one, many: median in microseconds with one partition and with several.
        ratio: the median of the ratios of neighbouring blocks.
        client: the same ratio of the client's processor time, on which other processes of the machine have less effect.
        trips: round trips with several partitions; those with several masters at the same time count once.
        documents: documents read for each row that is returned; 0 where that says nothing.
    """

    name: str
    one: float
    many: float
    ratio: float
    client: float
    trips: float
    documents: float

    @property
    def misses(self) -> bool:
        """Whether the call takes longer, or reads more, than it may."""
        return self.ratio > TARGETS.get(self.name, float("inf")) or self.documents > MOST_DOCUMENTS


class Wired(msgspec.Struct, frozen=True):
    """The bytes of a call on both sides, sent and read without a client.

    Attributes:
        one, many: median in microseconds with one partition and with several.
        ratio: the median of the ratios of neighbouring blocks.
    """

    one: float
    many: float
    ratio: float


class Comparison(msgspec.Struct, frozen=True):
    """All calls that were compared.

    Attributes:
        blocks: of each call on each side.
        load: the machine's load average of one minute at the end.
        shares: of the writes of random executions, by master.
        wire: the latest-first page without a client; None in comparisons that were kept before it was measured.
    """

    calls: tuple[Compared, ...]
    blocks: int
    load: float
    shares: tuple[float, ...]
    wire: Wired | None = None

    @property
    def uneven(self) -> float:
        """How far the share of a master is from even at most, as a part of it."""
        return max(abs(share * len(self.shares) - 1) for share in self.shares)

    @property
    def misses(self) -> list[str]:
        """What misses its target."""
        found = [each.name for each in self.calls if each.misses]
        return [*found, "writes by master"] if self.uneven > MOST_UNEVEN else found


class _Side:
    """A store on the cluster, with its data."""

    def __init__(self, cluster: Cluster, partitions: int, name: str) -> None:
        self.store: Any = sync.Store.open(
            cluster.url, namespace=name, partitions={"execution": partitions}, retention={}, sweep_every=0
        )
        self.workflows = [f"w{number}" for number in range(EXECUTIONS)]
        self.store.workflow_states.create_many([_workflow(key) for key in self.workflows])
        tasks = [
            _task(f"t{number}", self.workflows[number % EXECUTIONS]) for number in range(EXECUTIONS * TASKS)
        ]
        # One after another, so that rows which follow each other in time are in different partitions.
        self.tasks: list[TaskState] = [self.store.task_states.create(task) for task in tasks]

    def counted(self, call: Callable[[], Any]) -> tuple[int, int]:
        """Make a call, and return its exchanges and the documents in their replies."""
        channel: Any = self.store.session.shell.channel
        exchange, found = channel.exchange, [0, 0]

        def counting(*args: Any) -> Any:
            replies = exchange(*args)
            found[0] += 1
            found[1] += _documents(replies)
            return replies

        channel.exchange = counting
        try:
            call()
        finally:
            channel.exchange = exchange
        return found[0], found[1]

    def call(self, name: str, number: int) -> Callable[[], Any]:
        """Return one call."""
        store, task = self.store, self.tasks[number % len(self.tasks)]
        key, workflow = task.task_exec_id, task.workflow_exec_id
        if name == "save":
            task.status = Status.PAUSED if task.status is Status.RUNNING else Status.RUNNING
            return lambda: store.task_states.save(task)
        return {
            "get(key, value)": lambda: store.task_states.get(key, workflow_exec_id=workflow),
            "get(key), the row is known": lambda: store.task_states.get(key),
            "create an execution": lambda: store.workflow_states.create(_workflow(ksuid())),
            "create a task": lambda: store.task_states.create(_task(ksuid(), workflow)),
            "page of a view with the value": lambda: store.task_states.by_workflow(workflow).page(TASKS),
            _PAGE: lambda: store.task_states.all().page(50),
            "count of a view over all": lambda: store.task_states.by_status(Status.RUNNING).count(),
        }[name]


CALLS: Final = (
    "get(key, value)",
    "get(key), the row is known",
    "save",
    "create an execution",
    "create a task",
    "page of a view with the value",
    _PAGE,
    "count of a view over all",
)
_ROWS: Final = {_PAGE: 50}


def compare(blocks: int) -> Comparison:
    """Compare the calls, in so many blocks of each side."""
    with running_cluster() as cluster:
        # Each master has a group of one partition, and they take turns: so both sides use all three servers.
        single = [_Side(cluster, 1, name) for name in _one_on_each(cluster)]
        many = _Side(cluster, PARTITIONS, new_namespace("partitions"))
        try:
            calls = tuple(_compared(name, single, [many], blocks) for name in CALLS)
            wire = _wired(single, many, blocks)
            shares = _shares(cluster, many)
        finally:
            for side in (*single, many):
                side.store.close()
    return Comparison(calls, blocks, os.getloadavg()[0], shares, wire)


def _one_on_each(cluster: Cluster) -> list[str]:
    """Return namespaces whose only partitions are on different masters."""
    found: dict[Any, str] = {}
    masters = cluster.masters()
    while len(found) < len(masters):
        name = new_namespace("partitions")
        with sync.Store.open(cluster.url, namespace=name) as store:
            keyspace = store.session.context.keyspace
            owner = cluster.owner(slot_of(keyspace.at("execution", 0).clock))
        found.setdefault(owner, name)
    return list(found.values())


def _compared(name: str, one: list[_Side], many: list[_Side], blocks: int) -> Compared:
    times: tuple[list[float], list[float]] = ([], [])
    client: tuple[list[float], list[float]] = ([], [])
    for sides in (one, many):
        _block(sides, name, 0)
    for block in range(blocks):
        # Each side is first as often as the other.
        for place in (0, 1) if block % 2 else (1, 0):
            taken, processor = _block((one, many)[place], name, block * BLOCK)
            times[place].append(taken)
            client[place].append(processor)
    counts = [many[0].counted(many[0].call(name, number)) for number in range(BLOCK)]
    trips, documents = (sum(each) / BLOCK for each in zip(*counts, strict=True))
    return Compared(
        name,
        statistics.median(times[0]) / 1000,
        statistics.median(times[1]) / 1000,
        _ratio(times),
        _ratio(client),
        trips,
        documents / _ROWS[name] if name in _ROWS else 0.0,
    )


def _ratio(pairs: tuple[list[float], list[float]]) -> float:
    return statistics.median([several / single for single, several in zip(*pairs, strict=True)])


def _block(sides: list[_Side], name: str, first: int) -> tuple[float, float]:
    """Return the median of the nanoseconds of one block of calls, and of the client's processor time."""
    taken, processor = [], []
    for number in range(first, first + BLOCK):
        call = sides[number % len(sides)].call(name, number)
        started, used = time.perf_counter_ns(), time.thread_time_ns()
        call()
        processor.append(time.thread_time_ns() - used)
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken), statistics.median(processor)


def _wired(single: list[_Side], many: _Side, blocks: int) -> Wired:
    """Send the bytes of the latest-first page in the same turns as the page itself."""
    ones = [trips_of(side.store, side.call(_PAGE, 0)) for side in single]
    several = trips_of(many.store, many.call(_PAGE, 0))
    times: tuple[list[float], list[float]] = ([], [])
    with connected([*ones, several]) as wire:

        def block(calls: list[Trips]) -> float:
            taken = []
            for number in range(BLOCK):
                started = time.perf_counter_ns()
                wire.send(calls[number % len(calls)])
                taken.append(time.perf_counter_ns() - started)
            return statistics.median(taken)

        for number in range(-1, blocks):
            for place in (0, 1) if number % 2 else (1, 0):
                took = block((ones, [several])[place])
                if number >= 0:  # the first block only warms
                    times[place].append(took)
    one, more = (statistics.median(each) / 1000 for each in times)
    return Wired(one, more, _ratio(times))


def _shares(cluster: Cluster, side: _Side) -> tuple[float, ...]:
    """Return the share of each master in the writes of random executions."""
    keyspace = side.store.session.context.keyspace
    owners = {
        index: cluster.owner(slot_of(keyspace.at("execution", index).clock)).name
        for index in range(PARTITIONS)
    }
    found = Counter(owners[index_of(ksuid(), PARTITIONS)] for _ in range(RANDOM))
    return tuple(found[node.name] / RANDOM for node in cluster.masters())


def _documents(reply: Any) -> int:
    """Return how many documents a reply contains."""
    if isinstance(reply, list):
        return sum(map(_documents, reply))
    return int(isinstance(reply, bytes) and reply.startswith(b'{"revision":'))


def _workflow(key: str) -> WorkflowState:
    return WorkflowState(workflow_exec_id=key, workflow_id="f", status=Status.RUNNING)


def _task(key: str, workflow: str) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id=workflow,
        workflow_id="f",
        component=Component.TASK,
        status=Status.RUNNING,
    )


def load(folder: Path) -> Comparison | None:
    """The comparison that a folder keeps, or None."""
    path = folder / KEPT
    return msgspec.json.decode(path.read_bytes(), type=Comparison) if path.exists() else None


def keep(comparison: Comparison, folder: Path) -> None:
    """Write a comparison for the next report."""
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=1)
    (folder / KEPT).write_bytes(text + b"\n")


def section(comparison: Comparison) -> Iterator[str]:
    """The section of the page."""
    yield "## Partitions"
    yield ""
    yield (
        f"The blocking store on a cluster of three masters: {PARTITIONS} partitions beside one, over the same kind of client, in "
        "turns. Each master has a group of one partition, and these take turns, so both sides use all servers. "
        f"Each number is the median of {comparison.blocks} blocks of {BLOCK} calls, the ratio that of neighbouring blocks. The machine's load was "
        f"{comparison.load:.1f} on two cores. `make bench-partitions` measures it."
    )
    yield ""
    yield "| call | one partition, µs | 16 partitions, µs | ratio | at most | client's processor time | round trips | documents a row |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in comparison.calls:
        most = f"{TARGETS[each.name]:g}x" if each.name in TARGETS else ""
        documents = f"{each.documents:.2f}" if each.documents else ""
        yield (
            f"| {each.name} | {each.one:.0f} | {each.many:.0f} | {each.ratio:.2f}x | {most} | {each.client:.2f}x | {each.trips:.2f} | {documents} |"
        )
    yield ""
    shares = ", ".join(f"{share:.1%}" for share in comparison.shares)
    yield (
        f"The writes of {RANDOM:,} random executions go to the masters in the shares {shares}: at most {comparison.uneven:.0%} from even. "
        "A new task takes a second round trip, because its key gets its home before the row is written."
    )
    yield ""
    wire = comparison.wire
    if wire is not None:
        yield (
            f"*The wire* of the {_PAGE} is its bytes, packed before and sent to the same masters, whose replies are only parsed: "
            f"{wire.one:.0f} µs with one partition and {wire.many:.0f} µs with {PARTITIONS}, {wire.ratio:.2f}x. It is what the kernel and the "
            "servers take for one send, and for two round trips to three masters, all on this machine. The rest of the call is the client's: "
            "six exchanges, and entries of all partitions that are merged."
        )
        yield ""
