"""The effect of rows that expire at the same time on concurrent writers, and the cost of sweeping by writes.

Rows are loaded with one common deadline, in the future. A writer saves status changes during the whole run, one after the
other; its times from the deadline until the last row is swept are compared with those before and after, because the
speed of a machine drifts. At the end
the keyspace is compared with that of a namespace which only ever had the writer's rows.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from compozy_store import Status, TaskState, WorkflowState, aio, sync
from keyweave.effects import Flow, Send
from tools.bench.core import Row, flip, task, verdict
from tools.bench.core import row as line

CHUNK = 250
WRITTEN = 50
BEFORE, AFTER = 15.0, 15.0
"""Seconds of writing before the deadline and after the last row."""
PAUSE = 0.001
"""Seconds between two writes."""

Sample = tuple[float, float]
"""When a write began, and how long it took, in seconds."""


def load(store: sync.Store, rows: int, deadline: float) -> None:
    """Insert ended rows that all have the same deadline, a tenth of them with children that have it too."""
    context: Any = store.session.context
    life = context.retention["TaskState"]
    for start in range(0, rows, CHUNK):
        context.retention["TaskState"] = replace(life, micros=int((deadline - time.time()) * 1_000_000))

        def insert(tx: sync.Transaction, start: int = start) -> None:
            for number in range(start, min(start + CHUNK, rows)):
                parent = f"2end{number - number % 10:023}" if number % 10 > 7 else None
                row = task(f"2end{number:023}", "run", number % 10, parent)
                row.status = Status.SUCCESS
                tx.task_states.create(row)

        store.transact(insert)
    context.retention["TaskState"] = life


def prepare(namespace: str) -> None:
    """The rows that are written during the whole run."""
    with sync.Store.open("embedded:", namespace=namespace) as store:
        store.workflow_states.create(
            WorkflowState(workflow_exec_id="run", workflow_id="report", status=Status.RUNNING)
        )
        for number in range(WRITTEN):
            store.task_states.create(task(f"2stay{number:022}", "run", number))


def rate() -> float:
    """Rows that this machine loads in a second."""
    prepare("calibrate")
    with sync.Store.open("embedded:", namespace="calibrate") as store:
        started = time.monotonic()
        load(store, 2000, time.time() + 3600)
        return 2000 / (time.monotonic() - started)


def send(store: Any, *command: Any) -> Flow[Any]:
    """One raw command."""
    (reply,) = yield Send((command,))
    return reply


def blocking(namespace: str, *, thread: bool) -> tuple[list[Sample], float]:
    """Write until nothing is left to sweep; with a sweeper in a thread, or one somewhere else."""
    samples: list[Sample] = []
    with (
        sync.Store.open("embedded:", namespace=namespace) as store,
        sync.Store.open("embedded:", namespace=namespace) as other,
    ):
        expiry = store.session.context.keyspace.partition("execution").expiry
        if thread:
            store.sweeper(interval=0.2).start()
        rows = [store.task_states.get(f"2stay{number:022}") for number in range(WRITTEN)]
        end, checked = float("inf"), 0.0
        while time.time() < end:
            write(store, rows[len(samples) % WRITTEN], samples)
            time.sleep(PAUSE)
            if time.time() - checked > 0.2:
                checked = time.time()
                if end == float("inf") and not other.session.run(send(other, "ZCARD", expiry)):
                    swept, end = checked, checked + AFTER
        settle(store, rows)
    return samples, swept


def write(store: sync.Store, row: TaskState, samples: list[Sample]) -> None:
    """One timed write."""
    flip(row)
    began, start = time.time(), time.perf_counter()
    store.task_states.save(row)
    samples.append((began, time.perf_counter() - start))


def settle(store: sync.Store, rows: list[TaskState]) -> None:
    """Restore the rows."""
    for row in rows:
        row.status = Status.RUNNING
        store.task_states.save(row)


async def waiting(namespace: str) -> tuple[list[Sample], float]:
    """The same in asyncio, with the sweeper in a task of the same loop."""
    samples: list[Sample] = []
    async with (
        aio.Store.open("embedded:", namespace=namespace) as store,
        aio.Store.open("embedded:", namespace=namespace) as other,
        store.sweeper(interval=0.2),
    ):
        expiry = store.session.context.keyspace.partition("execution").expiry
        rows = [await store.task_states.get(f"2stay{number:022}") for number in range(WRITTEN)]
        end, checked = float("inf"), 0.0
        while time.time() < end:
            row = rows[len(samples) % WRITTEN]
            flip(row)
            began, start = time.time(), time.perf_counter()
            await store.task_states.save(row)
            samples.append((began, time.perf_counter() - start))
            await asyncio.sleep(PAUSE)
            if time.time() - checked > 0.2:
                checked = time.time()
                if end == float("inf") and not await other.session.run(send(other, "ZCARD", expiry)):
                    swept, end = checked, checked + AFTER
        for row in rows:
            row.status = Status.RUNNING
            await store.task_states.save(row)
    return samples, swept


def scenario(where: str, rows: int, speed: float) -> list[Row]:
    """Load, wait for the deadline, sweep from `where`: `process`, `thread`, `task`, or `writes` alone."""
    namespace = f"ends-{where}"
    prepare(namespace)
    with sync.Store.open("embedded:", namespace=namespace) as store:
        deadline = time.time() + rows / speed * 3 + BEFORE + 2
        load(store, rows, deadline)
        path = store.session.shell.settings.path
        sweeper = None
        if time.time() > deadline - BEFORE:
            raise SystemExit("loading took longer than expected: run it again on a quieter machine")
        if where == "process":
            command = [sys.executable, "-m", "keyweave.cli", "sweep", "--watch", "--interval", "0.2"]
            command += ["--url", f"unix://{path}", "--package", "compozy_store", "--namespace", namespace]
            sweeper = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(max(0.0, deadline - BEFORE - time.time()))
        if where == "task":
            samples, swept = asyncio.run(waiting(namespace))
        else:
            samples, swept = blocking(namespace, thread=where == "thread")
        if sweeper is not None:
            sweeper.terminate()
            sweeper.wait()
        return report(where, rows, samples, deadline, swept, same(store, namespace))


def report(
    where: str, rows: int, samples: list[Sample], deadline: float, swept: float, equal: bool
) -> list[Row]:
    """Lines of the table: medians and 95th percentiles before, during and after."""
    before = [took for began, took in samples if began < deadline]
    during = [took for began, took in samples if deadline <= began < swept]
    after = [took for began, took in samples if began >= swept]
    ratio = p95(during) / p95(before + after)

    def reported(values: list[float]) -> str:
        return f"{statistics.median(values) * 1e6:.0f}/{p95(values) * 1e6:.0f}"

    figures = f"{reported(before)}, {reported(during)}, {reported(after)} µs in {swept - deadline:.1f} s"
    return [
        (f"{rows} rows, sweeper: {where}", figures, f"{ratio:.2f}x", verdict(ratio, 2.0, "x")),
        ("  keyspace of a store which never had them", "", "", "the same" if equal else "DIFFERENT"),
    ]


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def same(store: sync.Store, namespace: str) -> bool:
    """Whether the keyspace is that of a namespace which only ever had the writer's rows."""
    never = f"never-{namespace}"
    prepare(never)
    with sync.Store.open("embedded:", namespace=never) as other:
        return contents(store) == contents(other)


def contents(store: sync.Store) -> dict[str, Any]:
    """Keys and values, but for the clock, and without revisions and the name of the namespace."""
    found: dict[str, Any] = {}
    cursor: Any = 0
    while True:
        cursor, names = store.session.run(
            send(store, "SCAN", cursor, "MATCH", store.session.context.keyspace.pattern(), "COUNT", 1000)
        )
        for name in names:
            place = re.sub(rb"^\{.*?:(\w+:\d+)\}", rb"\1", name).decode()
            kind = store.session.run(send(store, "TYPE", name))
            if place.endswith("@clock"):
                continue
            if kind == b"string":
                document = store.session.run(send(store, "GET", name))
                found[place] = re.sub(rb'^\{"revision".*?"op":"[^"]*"', b"", document)
            elif kind == b"zset":
                found[place] = sorted(store.session.run(send(store, "ZRANGE", name, 0, -1)))
            else:
                found[place] = sorted(store.session.run(send(store, "HGETALL", name)))
        if int(cursor) == 0:
            return found


def share() -> Row:
    """A status change by a store whose writes sweep, and by one whose writes do not, with nothing due."""
    prepare("share")
    with (
        sync.Store.open("embedded:", namespace="share") as tidy,
        sync.Store.open("embedded:", namespace="share", sweep_every=0) as bare,
        sync.Store.open("embedded:", namespace="share", retention={"TaskState": timedelta(days=7)}) as loader,
    ):
        load(loader, 2000, time.time() + 3600)
        rows = [tidy.task_states.get(f"2stay{number:022}") for number in range(2)]

        def save(store: sync.Store, row: TaskState) -> None:
            flip(row)
            store.task_states.save(row)

        name = "save of a status change, with and without its share of the sweeping"
        left: list[int] = []
        right: list[int] = []
        for turn in range(8000):
            # The order alternates, because the side that runs first has an effect on the other.
            for store, row, times in ((tidy, rows[0], left), (bare, rows[1], right))[
                :: 1 if turn % 2 else -1
            ]:
                start = time.perf_counter_ns()
                save(store, row)
                times.append(time.perf_counter_ns() - start)
        return line(name, 1.03, left, right)


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sweepers", default="process,thread,task,writes")
    given = parser.parse_args()
    with sync.Store.open("embedded:", namespace="held"):
        print(
            "write p50/p95 before, during and after; the ratio is that of p95 during to before and after",
            flush=True,
        )
        show([share()])
        speed = rate()
        for where in given.sweepers.split(","):
            show(scenario(where, given.rows, speed))


def show(lines: list[Row]) -> None:
    """Print lines as soon as they are known: the whole takes minutes."""
    for name, figures, ratio, met in lines:
        print("  ".join(part for part in (name, figures, ratio, met) if part), flush=True)


if __name__ == "__main__":
    main()
