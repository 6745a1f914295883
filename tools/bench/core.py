"""Generated calls against bare calls of redis-py that send the same bytes, interleaved on one embedded server.

Medians and ratios only: the machine's speed drifts, the ratio of two neighbours does not.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from compozy_store import PACKAGE, Component, Status, TaskState, WorkflowState, aio, sync
from keyweave.changes.packed import RowPacker
from keyweave.changes.plan import Plan
from keyweave.effects import Command, Flow, Packed, Send
from keyweave.model.record import memory_of
from tools.bench import telemetry
from tools.bench.core_handles import handles

ROUNDS = 2000
PAGE_ROUNDS = 600
TASKS = 20_000
MANY = 1000
MANY_ROUNDS = 10
KEY = "2abcdefghijklmnopqrstuvw003"
PAYLOAD = {"text": "x" * 540}

Row = tuple[str, str, str, str]


def task(key: str, run: str, number: int, parent: str | None = None) -> TaskState:
    """A task as the engine writes it, with a payload of 560 bytes."""
    return TaskState(
        task_exec_id=key,
        task_id=f"step-{number}",
        workflow_exec_id=run,
        workflow_id="report",
        component=Component.AGENT,
        status=Status.RUNNING,
        agent_id=f"agent-{number % 5}",
        action_id=f"action-{number % 7}",
        parent_state_id=parent,
        output=PAYLOAD,
    )


def page_command(store: Any) -> Command:
    """The call of the page script that a page of 50 of `by_workflow` makes."""
    context = store.session.context
    partition = context.keyspace.partition("execution")
    return (
        "EVALSHA",
        context.scripts["page"].sha,
        1,
        partition.view("TaskState", "by_workflow", ("run",)),
        partition.document_prefix("TaskState"),
        50,
        "newest",
        "",
        "",
        4000,
    )


class Captured:
    """Keeps the command of the last plan, packed or not."""

    def __init__(self) -> None:
        self.last: list[Any] = []
        self._sequence = 0
        self._original, self._packing = Plan.command, RowPacker.put

    def __enter__(self) -> Captured:
        original, captured = self._original, self

        def command(plan: Plan, *arguments: Any, **options: Any) -> Command:
            made = original(plan, *arguments, **options)
            captured.last = list(made)
            return made

        packing = self._packing

        def put(packer: RowPacker, *arguments: Any, **options: Any) -> Packed | None:
            made = packing(packer, *arguments, **options)
            if made is not None:
                captured.last = [int(word) if word.isdecimal() else word for word in made]
            return made

        Plan.command = command  # type: ignore[assignment, method-assign]
        RowPacker.put = put  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Plan.command = self._original  # type: ignore[method-assign]
        RowPacker.put = self._packing  # type: ignore[method-assign]

    def renewed(self, record: TaskState) -> list[Any]:
        """The same bytes with the revision that the row has now, and a place of their own in the ledger: a new plan."""
        stored = memory_of(record)
        assert stored is not None
        guard, arguments = self.last.index("revision"), 3 + self.last[2]
        self.last[guard + 2 : guard + 4] = stored.revision, ""  # an empty op stands for any
        self._sequence += 1
        self.last[arguments + 1 : arguments + 3] = "bare", self._sequence
        return self.last

    @staticmethod
    def learn(record: TaskState, reply: list[Any]) -> None:
        """Set on the record what the bare call did, so that the next save is accepted."""
        assert reply[0] == b"OK", reply
        stored = memory_of(record)
        assert stored is not None
        stored.revision = int(reply[1])


def compare(
    name: str, target: float, ours: Callable[[], object], bare: Callable[[], object], rounds: int
) -> Row:
    """Time two blocking calls in turn."""
    left, right = [], []
    gc.disable()
    for _ in range(rounds):
        start = time.perf_counter_ns()
        ours()
        middle = time.perf_counter_ns()
        bare()
        left.append(middle - start)
        right.append(time.perf_counter_ns() - middle)
    gc.enable()
    return row(name, target, left, right)


async def compare_async(
    name: str,
    target: float,
    ours: Callable[[], Awaitable[object]],
    bare: Callable[[], Awaitable[object]],
    rounds: int,
) -> Row:
    """Time two awaited calls in turn."""
    left, right = [], []
    gc.disable()
    for _ in range(rounds):
        start = time.perf_counter_ns()
        await ours()
        middle = time.perf_counter_ns()
        await bare()
        left.append(middle - start)
        right.append(time.perf_counter_ns() - middle)
    gc.enable()
    return row(name, target, left, right)


def row(name: str, target: float, left: list[int], right: list[int]) -> Row:
    """A line of the table."""
    ours, bare = statistics.median(left) / 1000, statistics.median(right) / 1000
    ratio = ours / bare
    return name, f"{ours:.0f} µs / {bare:.0f} µs", f"{ratio:.2f}x", verdict(ratio, target, "x")


def verdict(value: float, target: float, unit: str) -> str:
    """Whether a target is met."""
    return f"{'met' if value <= target else 'MISSED'} (<= {target}{unit})"


def new_tasks(number: int) -> list[TaskState]:
    """Tasks that no store has."""
    return [task(f"2{secrets.token_hex(13)}", "run", each % 50) for each in range(number)]


async def many(name: str, target: float, store: Any) -> list[Row]:
    """Bulk writes of 1,000 rows beside as many single writes, in turn; the middle column is the time for one row."""
    tasks = store.task_states
    bulk: dict[str, list[int]] = {"create_many": [], "upsert_many": [], "delete_many": []}
    single: dict[str, list[int]] = {"create_many": [], "upsert_many": [], "delete_many": []}

    async def timed(kind: str, one: Callable[[Any], Any], together: list[Any], apart: list[Any]) -> None:
        start = time.perf_counter_ns()
        await _awaited(getattr(tasks, kind)(together))
        middle = time.perf_counter_ns()
        for each in apart:
            await _awaited(one(each))
        bulk[kind].append((middle - start) // MANY)
        single[kind].append((time.perf_counter_ns() - middle) // MANY)

    gc.disable()
    for _ in range(MANY_ROUNDS):
        rows = new_tasks(MANY), new_tasks(MANY)
        keys = [[row.task_exec_id for row in each] for each in rows]
        await timed("create_many", tasks.create, *rows)
        await timed("upsert_many", tasks.upsert, *([task(key, "run", 1) for key in each] for each in keys))
        await timed("delete_many", tasks.discard, *keys)
    gc.enable()
    return [row(f"{kind} of {MANY:,}, {name}", target, bulk[kind], single[kind]) for kind in bulk]


def flip(record: TaskState) -> None:
    """Change the status back and forth."""
    record.status = Status.PAUSED if record.status is Status.RUNNING else Status.RUNNING


def fresh_namespace() -> str:
    """A namespace without rows: the server outlives a measurement while another process uses it."""
    return f"bench-{secrets.token_hex(4)}"


def blocking() -> list[Row]:
    """The blocking flavour: over connections of its own, and over the client that sends the bare calls."""
    with sync.Store.open("embedded:", namespace=fresh_namespace()) as store:
        store.workflow_states.create(
            WorkflowState(workflow_exec_id="run", workflow_id="report", status=Status.RUNNING)
        )
        for number in range(60):
            store.task_states.create(task(f"{KEY[:-3]}{number:03}", "run", number))
        client: Any = redis.Redis(unix_socket_path=store.session.shell.settings.path)
        rows = single_calls("blocking", store, client)
        tenant = store.session.context.keyspace.namespace.tenant
        with sync.Store.over(client, namespace=tenant) as over:
            rows += single_calls("blocking, over redis-py", over, client)
            call, channel = page_command(over), over.session.shell.channel
            rows.append(
                compare(
                    "bytes of a page, blocking, over redis-py",
                    1.15,
                    lambda: channel.exchange((call,)),
                    lambda: client.execute_command(*call),
                    PAGE_ROUNDS,
                )
            )
        client.close()
        return [*rows, *asyncio.run(many("blocking", 0.1, store))]


def single_calls(name: str, store: sync.Store, client: Any) -> list[Row]:
    """Single calls of a store beside a client's."""
    document = store.session.context.keyspace.partition("execution").document("TaskState", KEY)
    call = page_command(store)
    assert len(store.task_states.by_workflow("run").page().rows) == 50
    reply: Any = client.execute_command(*call)
    assert len(reply) == 53
    rows = [
        compare(
            f"get, {name}", 1.15, lambda: store.task_states.get(KEY), lambda: client.get(document), ROUNDS
        ),
        compare(
            f"page of 50, {name}",
            1.35,
            lambda: store.task_states.by_workflow("run").page(limit=50),
            lambda: client.execute_command(*call),
            PAGE_ROUNDS,
        ),
    ]
    record = store.task_states.get(KEY)
    with Captured() as captured:

        def ours() -> None:
            flip(record)
            store.task_states.save(record)

        def bare() -> None:
            captured.learn(record, client.execute_command(*captured.renewed(record)))

        rows.append(compare(f"save of a status change, {name}", 1.3, ours, bare, ROUNDS))
    return rows


async def waiting() -> list[Row]:
    """The asyncio flavour: over connections of its own, and over the client that sends the bare calls."""
    async with aio.Store.open("embedded:", namespace=fresh_namespace()) as store:
        await store.workflow_states.create(
            WorkflowState(workflow_exec_id="run", workflow_id="report", status=Status.RUNNING)
        )
        for number in range(60):
            await store.task_states.create(task(f"{KEY[:-3]}{number:03}", "run", number))
        client: Any = redis.asyncio.Redis(unix_socket_path=store.session.shell.settings.path)
        rows = await single_awaited("asyncio", store, client)
        tenant = store.session.context.keyspace.namespace.tenant
        async with aio.Store.over(client, namespace=tenant) as over:
            rows += await single_awaited("asyncio, over redis-py", over, client)
            call, channel = page_command(over), over.session.shell.channel
            rows.append(
                await compare_async(
                    "bytes of a page, asyncio, over redis-py",
                    1.15,
                    lambda: channel.exchange((call,)),
                    lambda: _awaited(client.execute_command(*call)),
                    PAGE_ROUNDS,
                )
            )
        await client.aclose()
        return [*rows, *(await many("asyncio", 0.1, store))]


async def single_awaited(name: str, store: aio.Store, client: Any) -> list[Row]:
    """Single calls of a store beside a client's."""
    document = store.session.context.keyspace.partition("execution").document("TaskState", KEY)
    call = page_command(store)
    rows = [
        await compare_async(
            f"get, {name}",
            1.15,
            lambda: store.task_states.get(KEY),
            lambda: _awaited(client.get(document)),
            ROUNDS,
        ),
        await compare_async(
            f"page of 50, {name}",
            1.35,
            lambda: store.task_states.by_workflow("run").page(limit=50),
            lambda: _awaited(client.execute_command(*call)),
            PAGE_ROUNDS,
        ),
    ]
    record = await store.task_states.get(KEY)
    with Captured() as captured:

        async def ours() -> None:
            flip(record)
            await store.task_states.save(record)

        async def bare() -> None:
            captured.learn(record, await _awaited(client.execute_command(*captured.renewed(record))))

        rows.append(await compare_async(f"save of a status change, {name}", 1.3, ours, bare, ROUNDS))
    return rows


async def _awaited(call: Any) -> Any:
    return await call if inspect.isawaitable(call) else call


def memory() -> Row:
    """Bytes per task: ten tasks per execution, half of them children of the first."""
    with sync.Store.open("embedded:", namespace=fresh_namespace()) as store:
        before = used(store)
        for run in range(TASKS // 10):
            name = f"2run{run:023}"
            store.workflow_states.create(
                WorkflowState(workflow_exec_id=name, workflow_id=f"w-{run % 50}", status=Status.RUNNING)
            )
        between = used(store)
        for run in range(TASKS // 10):
            name = f"2run{run:023}"
            for number in range(10):
                parent = f"2task{run:018}-0-0" if number > 4 else None
                store.task_states.create(task(f"2task{run:018}-0-{number}", name, number, parent))
        each = (used(store) - between) / TASKS
        run_each = (between - before) / (TASKS // 10)
    return (
        f"memory per TaskState ({run_each:.0f} B per WorkflowState)",
        f"{each:.0f} B",
        "",
        verdict(each, 1800, " B"),
    )


def used(store: sync.Store) -> int:
    """Bytes that the server's data take."""

    def flow() -> Flow[int]:
        (text,) = yield Send((("INFO", "memory"),))
        return int(text.split(b"used_memory_dataset:")[1].split(b"\r\n")[0])

    return store.session.run(flow())


def generating() -> list[Row]:
    """`keyweave generate` as a whole process, for this schema and for a hundred entities."""
    rows = []
    schema = Path("schema")
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder) / "schema"
        many.mkdir()
        (many / "package.yaml").write_text(
            (schema / "package.yaml").read_text(encoding="utf-8"), encoding="utf-8"
        )
        user = (schema / "user.yaml").read_text(encoding="utf-8")
        for number in range(100):
            text = user.replace("entity: User", f"entity: User{number}")
            (many / f"user{number}.yaml").write_text(text, encoding="utf-8")
        for name, source, rounds, target in (
            ("this schema", schema, 3, 3.0),
            ("100 entities", many, 1, None),
        ):
            times = []
            for turn in range(rounds):
                output = Path(folder) / f"out-{source.name}-{turn}"
                start = time.perf_counter()
                command = [
                    sys.executable,
                    "-m",
                    "keyweave.cli",
                    "generate",
                    "--schema",
                    str(source),
                    "--output",
                    str(output),
                ]
                subprocess.run(command, check=True, capture_output=True)
                times.append(time.perf_counter() - start)
            seconds = statistics.median(times)
            rows.append(
                (
                    f"keyweave generate, {name}",
                    f"{seconds:.2f} s",
                    "",
                    verdict(seconds, target, " s") if target else "",
                )
            )
    return rows


def main() -> None:
    """Run everything and print the table."""
    print(f"{PACKAGE.name}, medians, ours / bare redis-py, {ROUNDS} interleaved rounds")
    rows = [*blocking(), *asyncio.run(waiting()), *handles(compare, task, fresh_namespace())]
    rows += [*telemetry.rows(), memory(), *generating()]
    widths = [max(len(line[column]) for line in rows) for column in range(4)]
    for line in rows:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
