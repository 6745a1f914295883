"""A crowd on one row: many callers at once, of one process and of eight, beside PostgreSQL in the same run.

Every crowd has a row of its own on each side, and what the rows hold afterwards is compared with the calls that were made. A
worker process makes the calls of a crowd, and begins when it is asked to; one worker has 16 to 1,000 callers, eight have 125 each.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from compozy_engine import Engine
from compozy_store import Component, Status, TaskState, UsageEntry, WorkflowState
from tests.oracle.engine import PostgresEngine
from tests.oracle.rows import json_by
from tests.oracle.server import running as running_postgres
from tests.servers.running import new_namespace
from tools.bench.world import CONNECTIONS, POSTGRES_SETTINGS, valkey_url

ROOT: Final = Path(__file__).resolve().parents[2]

KEPT: Final = "crowd.json"
"""Name of the file that holds the latest comparison, beside the other results."""

CALLS: Final = ("merge_usage", "update_status", "upsert_state", "locked transaction")
CROWDS: Final = ((1, 16), (1, 100), (1, 300), (1, 1000), (8, 125))
"""Processes, and callers of each."""

_ENTRY: Final = UsageEntry(provider="p", model="m", prompt_tokens=1)


class Crowd(msgspec.Struct, frozen=True):
    """One crowd.

    Attributes:
        call: what every caller did.
        processes: how many there were.
        callers: of each process.
        postgres, ours: seconds from the first call to the last answer; the best of the repetitions.
        errors: callers of ours that got an error, in all repetitions.
    """

    call: str
    processes: int
    callers: int
    postgres: float
    ours: float
    errors: int


def load(folder: Path) -> tuple[Crowd, ...] | None:
    """The comparison that a folder keeps, or None."""
    path = folder / KEPT
    return msgspec.json.decode(path.read_bytes(), type=tuple[Crowd, ...]) if path.exists() else None


def keep(crowds: tuple[Crowd, ...], folder: Path) -> None:
    """Write a comparison for the next report."""
    text = msgspec.json.format(msgspec.json.encode(crowds), indent=1)
    (folder / KEPT).write_bytes(text + b"\n")


def section(crowds: tuple[Crowd, ...]) -> Iterator[str]:
    """The section of the page."""
    yield "## A crowd on one row"
    yield ""
    yield (
        "All callers write one row at the same time, on Valkey and on PostgreSQL in turns: seconds from the first call to the last "
        "answer, the best of the repetitions. What else runs on the machine hits both sides. "
        "[Many writers of one row](many-writers.md) says how they are written together."
    )
    yield ""
    yield "| call | callers | PostgreSQL, s | Keyweave, s | ratio | errors |"
    yield "|---|---|---|---|---|---|"
    for each in crowds:
        callers = f"{each.callers:,}" if each.processes == 1 else f"{each.processes} x {each.callers}"
        yield (
            f"| {each.call} | {callers} | {each.postgres:.3f} | {each.ours:.3f} | {each.postgres / each.ours:.1f}x "
            f"| {each.errors} |"
        )
    yield ""


async def compare(repetitions: int) -> tuple[Crowd, ...]:
    """Compare every crowd.

    Raises:
        RuntimeError: a row does not hold what was written.
    """
    found = []
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(running_postgres(durable=True, settings=POSTGRES_SETTINGS))
        url, namespace = valkey_url(stack), new_namespace("crowd")
        engine = await stack.enter_async_context(Engine.open(url, namespace=namespace))
        path = engine.store.session.shell.settings.path
        places = {"postgres": [dsn], "ours": [f"unix://{path}", namespace]}
        for call in CALLS:
            for processes, callers in CROWDS:
                taken: dict[str, list[float]] = {"postgres": [], "ours": []}
                errors = 0
                for number in range(repetitions):
                    key = f"{call.split()[0]}-{processes}-{callers}-{number}"
                    for side, place in places.items():
                        seconds, failed = await _play(side, place, call, key, processes, callers)
                        taken[side].append(seconds)
                        errors += failed if side == "ours" else 0
                found.append(
                    Crowd(call, processes, callers, min(taken["postgres"]), min(taken["ours"]), errors)
                )
    return tuple(found)


async def _play(
    side: str, place: list[str], call: str, key: str, processes: int, callers: int
) -> tuple[float, int]:
    """Let a crowd write a row of its own; return the seconds that it took and the number of errors."""
    async with _opened(side, place) as engine:
        await engine.workflows.upsert_state(_workflow(key))
        await engine.tasks.upsert_state(_task(key))
    ends = _crowd(side, place, call, key, processes, callers)
    errors = sum(end["errors"] for end in ends)
    async with _opened(side, place) as engine:
        row = await engine.tasks.get_state(key)
        expected = processes * callers - errors
        written = {
            "merge_usage": lambda: sum(entry.prompt_tokens for entry in row.usage or ()),
            "locked transaction": lambda: row.output["count"],
        }.get(call)
        if written is not None and written() != expected:
            raise RuntimeError(f"{side}: {call}: {expected} were written, and the row holds {written()}")
    return max(end["ended"] for end in ends) - min(end["began"] for end in ends), errors


def _crowd(
    side: str, place: list[str], call: str, key: str, processes: int, callers: int
) -> list[dict[str, Any]]:
    """Let all workers begin at once, and return when each began and ended, and its errors."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tools.bench.crowd", side, json.dumps(place), call, key, str(callers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(processes)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [json.loads(worker.communicate()[0]) for worker in workers]


@asynccontextmanager
async def _opened(side: str, place: list[str]) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        if side == "postgres":
            stack.enter_context(
                json_by(lambda value: msgspec.json.encode(value).decode(), msgspec.json.decode)
            )
            yield await stack.enter_async_context(PostgresEngine.open(place[0], connections=CONNECTIONS))
        else:
            yield await stack.enter_async_context(Engine.open(place[0], namespace=place[1]))


def _workflow(key: str) -> WorkflowState:
    return WorkflowState(workflow_exec_id=key, workflow_id="f", status=Status.RUNNING)


def _task(key: str) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id=key,
        workflow_id="f",
        component=Component.TASK,
        status=Status.RUNNING,
    )


def _calls(engine: Any, key: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    async def count(tasks: Any) -> None:
        row = await tasks.get_state_for_update(key)
        row.output = {"count": (row.output or {}).get("count", 0) + 1}
        await tasks.upsert_state(row)

    return {
        "merge_usage": lambda: engine.tasks.merge_usage(key, [_ENTRY]),
        "update_status": lambda: engine.workflows.update_status(key, Status.PAUSED),
        "upsert_state": lambda: engine.tasks.upsert_state(_task(key)),
        "locked transaction": lambda: engine.tasks.with_transaction(count),
    }


async def _work(side: str, place: list[str], call: str, key: str, callers: int) -> None:
    async with _opened(side, place) as engine:
        make = _calls(engine, key)[call]
        await asyncio.gather(*(engine.tasks.get_state(key) for _ in range(min(callers, CONNECTIONS))))
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.time()
        outcomes = await asyncio.gather(*(make() for _ in range(callers)), return_exceptions=True)
        ended = time.time()
        errors = sum(isinstance(outcome, BaseException) for outcome in outcomes)
        print(json.dumps({"began": began, "ended": ended, "errors": errors}), flush=True)


if __name__ == "__main__":
    _side, _place, _call, _key, _callers = sys.argv[1:]
    asyncio.run(_work(_side, json.loads(_place), _call, _key, int(_callers)))
