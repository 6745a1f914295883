"""Busy polling, on and off: its effect on the latency of a single caller, and its processor time.

Both stores are on one server, and the calls take turns in short blocks, so what the machine does hits both. Polling stays in
the runtime only as long as this comparison, published in docs/benchmarks.md, shows that it pays for its lines.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from compozy_store import Component, Status, TaskState, WorkflowState, aio, sync
from tests.servers.running import new_namespace, server_url

STATES: Final = (Status.RUNNING, Status.PAUSED)
BLOCK: Final = 100
"""Calls in a row on one side before the other side's turn."""

KEPT: Final = "polling.json"
"""Name of the file that holds the latest comparison, beside the other results."""


class Polled(msgspec.Struct, frozen=True):
    """One call with and without polling.

    Attributes:
        name: flavour and method.
        on, off: p50 of the call in microseconds.
        cpu_on, cpu_off: processor time of the client in microseconds a call.
    """

    name: str
    on: float
    off: float
    cpu_on: float
    cpu_off: float


class Comparison(msgspec.Struct, frozen=True):
    """All calls that were compared, and how many times each was made on each side."""

    calls: tuple[Polled, ...]
    times: int


def compare(blocks: int) -> Comparison:
    """Compare the calls, in so many blocks of each side."""
    found = [*_blocking(blocks), *asyncio.run(_waiting(blocks))]
    return Comparison(tuple(found), blocks * BLOCK)


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
    yield "## Busy polling"
    yield ""
    yield (
        f"One caller that waits alone, on Valkey, with `busy_poll` at its default and at 0, in turns; {comparison.times:,} calls of each. "
        "The processor time is that of the client."
    )
    yield ""
    yield "| call | p50 on, µs | p50 off, µs | ratio | processor on, µs | processor off, µs |"
    yield "|---|---|---|---|---|---|"
    for each in comparison.calls:
        ratio = each.on / each.off
        yield (
            f"| {each.name} | {each.on:.0f} | {each.off:.0f} | {ratio:.2f}x | {each.cpu_on:.0f} | {each.cpu_off:.0f} |"
        )
    yield ""


_Times: TypeAlias = tuple[list[int], list[int]]
"""Nanoseconds of each call, and processor time of each block."""


def _row(name: str, on: _Times, off: _Times) -> Polled:
    def p50(times: _Times) -> float:
        return statistics.median(times[0]) / 1000

    def cpu(times: _Times) -> float:
        return statistics.median(times[1]) / BLOCK / 1000

    return Polled(name, p50(on), p50(off), cpu(on), cpu(off))


def _seed() -> list[Any]:
    task = TaskState(
        task_exec_id="t",
        task_id="t",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.TASK,
        status=Status.RUNNING,
    )
    return [WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING), task]


def _blocking(blocks: int) -> list[Polled]:
    sides = []
    for poll in (0.0002, 0.0):
        store = sync.Store.open(server_url(), namespace=new_namespace("polling"), busy_poll=poll)
        workflow, task = _seed()
        store.workflow_states.create(workflow)
        store.task_states.create(task)
        sides.append((store, task))
    rows = []
    for name in ("get", "save"):
        taken: tuple[_Times, _Times] = (([], []), ([], []))
        for _ in range(blocks):
            for (store, task), times in zip(sides, taken, strict=True):
                _block(_call(store, task, name), times)
        rows.append(_row(f"blocking {name}", *taken))
    for store, _ in sides:
        store.close()
    return rows


def _call(store: Any, task: TaskState, name: str) -> Callable[[], Any]:
    def save() -> Any:
        task.status = STATES[task.status is STATES[0]]
        return store.task_states.save(task)

    return save if name == "save" else lambda: store.task_states.get("t")


def _block(call: Callable[[], Any], times: _Times) -> None:
    processor = time.process_time_ns()
    for _ in range(BLOCK):
        started = time.perf_counter_ns()
        call()
        times[0].append(time.perf_counter_ns() - started)
    times[1].append(time.process_time_ns() - processor)


async def _waiting(blocks: int) -> list[Polled]:
    rows = []
    async with (
        aio.Store.open(server_url(), namespace=new_namespace("polling"), busy_poll=0.0002) as on,
        aio.Store.open(server_url(), namespace=new_namespace("polling"), busy_poll=0.0) as off,
    ):
        sides = []
        for store in (on, off):
            workflow, task = _seed()
            await store.workflow_states.create(workflow)
            await store.task_states.create(task)
            sides.append((store, task))
        for name in ("get", "save"):
            taken: tuple[_Times, _Times] = (([], []), ([], []))
            for _ in range(blocks):
                for (store, task), times in zip(sides, taken, strict=True):
                    await _block_waiting(_call(store, task, name), times)
            rows.append(_row(f"asyncio {name}", *taken))
    return rows


async def _block_waiting(call: Callable[[], Awaitable[Any]], times: _Times) -> None:
    processor = time.process_time_ns()
    for _ in range(BLOCK):
        started = time.perf_counter_ns()
        await call()
        times[0].append(time.perf_counter_ns() - started)
    times[1].append(time.process_time_ns() - processor)
