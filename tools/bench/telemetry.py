"""The cost of telemetry: the same calls with and without telemetry in turn, on one embedded server.

`without the code` runs the flow that the generated method makes, without naming its purpose. Metrics
buffer an operation's duration and record it when the SDK collects, so there are two figures: how long an operation
takes, and how many a process can do while an exporter collects every second.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import TracerProvider

from compozy_store import Component, Role, Status, TaskState, User, WorkflowState, aio, sync
from compozy_store.entities import TASK_STATE, USER
from keyweave.model.keytext import key_text
from keyweave.model.page import Page
from keyweave.read import get as get_flows
from keyweave.read import page as page_flows
from keyweave.write import save as save_flows

ROUNDS = 3000
PAGE_ROUNDS = 600
STRETCH = 2.5
TARGETS: Final = {"telemetry off": 1.03, "metrics on": 1.10, "metrics and spans on": None}

Row = tuple[str, str, str, str]


def rows() -> list[Row]:
    """The lines of the table: median of a call against that without the code, then calls in a second."""
    meters = MeterProvider([InMemoryMetricReader()])
    watched: dict[str, dict[str, Any]] = {
        "telemetry off": {},
        "metrics on": {"meter_provider": meters},
        "metrics and spans on": {"meter_provider": meters, "tracer_provider": TracerProvider()},
    }
    with ExitStack() as stack:
        places: dict[str, Any] = {
            name: stack.enter_context(
                sync.Store.open("embedded:", namespace="telemetry", **options)
            ).task_states
            for name, options in watched.items()
        }
        plain = stack.enter_context(sync.Store.open("embedded:", namespace="telemetry"))
        places["without the code"] = _Unwatched(plain)
        _fill(plain)
        found: list[Row] = []
        for name, make, rounds in (
            ("get", _get, ROUNDS),
            ("page of 50", _page, PAGE_ROUNDS),
            ("save", _save, ROUNDS),
        ):
            calls = {
                each: make(place, f"task-{number}") for number, (each, place) in enumerate(places.items())
            }
            times = _in_turn(calls, rounds)
            base = times.pop("without the code")
            found += [_cost(f"{name}, {each}", TARGETS[each], taken, base) for each, taken in times.items()]
        found += asyncio.run(waiting_rows())
        found.append(_throughput(plain))
    return found


class _Unwatched:
    """The calls of a repository as they would be without a word about telemetry."""

    def __init__(self, store: sync.Store) -> None:
        self._context = store.session.context
        self._run = store.session.shell.run

    def get(self, task_exec_id: str) -> TaskState:
        return self._run(get_flows.get(self._context, TASK_STATE, task_exec_id))

    def list_by_workflow(self, workflow_exec_id: str, *, limit: int = 50) -> Page[TaskState]:
        values_ = (key_text(workflow_exec_id),)
        return self._run(
            page_flows.page(
                self._context, TASK_STATE, "by_workflow", values_, limit=limit, cursor=None, newest=True
            )
        )

    def save(self, record: TaskState) -> TaskState:
        return self._run(save_flows.save(self._context, TASK_STATE, record))


def _fill(store: sync.Store) -> None:
    store.workflow_states.create(
        WorkflowState(workflow_exec_id="run", workflow_id="report", status=Status.RUNNING)
    )
    for number in range(60):
        store.task_states.create(
            TaskState(
                task_exec_id=f"task-{number}",
                task_id=f"step-{number}",
                workflow_exec_id="run",
                workflow_id="report",
                component=Component.AGENT,
                status=Status.RUNNING,
                agent_id=f"agent-{number % 5}",
                action_id=f"action-{number % 7}",
                output={"text": "x" * 540},
            )
        )


def _get(tasks: Any, key: str) -> Callable[[], object]:
    return lambda: tasks.get(key)


def _page(tasks: Any, _: str) -> Callable[[], object]:
    return lambda: tasks.by_workflow("run").page(limit=50)


def _save(tasks: Any, key: str) -> Callable[[], object]:
    record = tasks.get(key)

    def save() -> None:
        record.status = Status.PAUSED if record.status is Status.RUNNING else Status.RUNNING
        tasks.save(record)

    return save


def _in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of each call in each round, in a new order every time: each call finds its neighbour's caches."""
    times: dict[str, list[int]] = {name: [] for name in calls}
    names, chance = list(calls), random.Random(2026)
    gc.disable()
    for _ in range(rounds):
        chance.shuffle(names)
        for name in names:
            call = calls[name]
            start = time.perf_counter_ns()
            call()
            times[name].append(time.perf_counter_ns() - start)
    gc.enable()
    return times


async def waiting_rows() -> list[Row]:
    """The shortest operation of the asyncio flavour, off and with metrics on."""
    meters = MeterProvider([InMemoryMetricReader()])
    async with (
        aio.Store.open("embedded:", namespace="telemetry-aio") as plain,
        aio.Store.open("embedded:", namespace="telemetry-aio", meter_provider=meters) as watched,
    ):
        await plain.users.create(User(id="u", email="u@x", role=Role.USER))
        context, run = plain.session.context, plain.session.shell.run

        class Unwatched:
            async def get(self, id: str) -> User:  # noqa: A002 - as the generated method
                return await run(get_flows.get(context, USER, id))

        places: dict[str, Any] = {
            "telemetry off": plain.users,
            "metrics on": watched.users,
            "without the code": Unwatched(),
        }
        times: dict[str, list[int]] = {name: [] for name in places}
        names, chance = list(places), random.Random(2026)
        gc.disable()
        for _ in range(ROUNDS):
            chance.shuffle(names)
            for name in names:
                start = time.perf_counter_ns()
                await places[name].get("u")
                times[name].append(time.perf_counter_ns() - start)
        gc.enable()
    base = times.pop("without the code")
    return [_cost(f"get, asyncio, {each}", TARGETS[each], taken, base) for each, taken in times.items()]


def _cost(name: str, target: float | None, taken: list[int], base: list[int]) -> Row:
    ours, bare = statistics.median(taken) / 1000, statistics.median(base) / 1000
    ratio = ours / bare
    judged = "" if target is None else f"{'met' if ratio <= target else 'MISSED'} (<= {target}x)"
    return name, f"{ours:.1f} µs / {bare:.1f} µs", f"{ratio:.2f}x", judged


class _Nowhere(MetricExporter):
    """Receives metrics and discards them."""

    def export(self, *_: Any, **__: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def shutdown(self, *_: Any, **__: Any) -> None:
        return

    def force_flush(self, *_: Any, **__: Any) -> bool:
        return True


def _throughput(plain: sync.Store) -> Row:
    """Gets in a second, one after the other in one thread, while another collects every second."""
    meters = MeterProvider([PeriodicExportingMetricReader(_Nowhere(), export_interval_millis=1000)])
    speeds: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(3):
        with sync.Store.open("embedded:", namespace="telemetry", meter_provider=meters) as watched:
            speeds["on"].append(_speed(watched))
        meters.force_flush()  # the buffer is recorded before the other side's turn
        speeds["off"].append(_speed(plain))
    meters.shutdown()
    on, off = statistics.median(speeds["on"]), statistics.median(speeds["off"])
    return "gets in a second, collecting every second", f"{on:.0f} / {off:.0f}", f"{on / off:.2f}x", ""


def _speed(store: sync.Store) -> float:
    """Gets in a second, over `STRETCH` seconds."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < STRETCH:
        for _ in range(100):
            store.task_states.get("task-0")
        done += 100
    return done / (time.perf_counter() - start)
