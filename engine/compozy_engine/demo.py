"""A demonstration: a workflow on an embedded server, step by step, with the keys that each step changes.

Run it with `make demo`. It exits with 1 if an index disagrees with its documents at the end.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from compozy_store import (
    APIKey,
    Component,
    EmailExistsError,
    ExecutionType,
    Role,
    Status,
    TaskState,
    UsageEntry,
    User,
    WorkflowState,
)
from compozy_store.sync import Store, Transaction
from keyweave.effects import Command, Flow, Reply, Send
from keyweave.errors import CheckViolationError, ConflictError

T = TypeVar("T")

RETENTION = timedelta(milliseconds=400)
_PATIENCE = 10.0


class Demo:
    """Runs steps, and shows which keys each step created, changed and removed."""

    def __init__(self, store: Store, console: Console) -> None:
        self.store = store
        self.console = console
        self._before: dict[str, bytes] = {}
        self._number = 0

    def step(self, title: str, action: Callable[[], T], describe: Callable[[T], str]) -> T:
        """Run one step, then print its result and the keys that it created, changed and removed."""
        self._number += 1
        started = time.perf_counter()
        result = action()
        taken = (time.perf_counter() - started) * 1000
        self.console.print(f"\n[bold]{self._number}. {title}[/bold] [dim]({taken:.1f} ms)[/dim]")
        self.console.print(f"   {describe(result)}", highlight=False)
        after = self._snapshot()
        made = Counter(kind(key) for key in after.keys() - self._before.keys())
        gone = Counter(kind(key) for key in self._before.keys() - after.keys())
        changed = Counter(kind(key) for key, value in after.items() if self._before.get(key, value) != value)
        for sign, style, counts in (("+", "green", made), ("~", "yellow", changed), ("-", "red", gone)):
            if counts:
                listed = ", ".join(
                    f"{name} x{number}" if number > 1 else name for name, number in sorted(counts.items())
                )
                self.console.print(f"   [{style}]{sign}[/{style}] [dim]{listed}[/dim]", highlight=False)
        self._before = after
        return result

    def _snapshot(self) -> dict[str, bytes]:
        """A digest of every key of the namespace."""
        pattern = self.store.session.context.keyspace.pattern()
        keys: set[bytes] = set()
        cursor: Reply = 0
        while True:
            ((cursor, names),) = self._send((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000),))
            keys |= set(names)
            if int(cursor) == 0:
                break
        ordered = sorted(keys)
        dumps = self._send(tuple(("DUMP", key) for key in ordered)) if ordered else []
        return {
            key.decode(): hashlib.sha256(dump).digest()
            for key, dump in zip(ordered, dumps, strict=True)
            if dump is not None
        }

    def _send(self, commands: tuple[Command, ...]) -> list[Reply]:
        def flow() -> Flow[list[Reply]]:
            replies: list[Reply] = yield Send(commands)
            return replies

        return self.store.session.run(flow())


def kind(key: str) -> str:
    """The kind of a key, without its hash tag and values, such as `TaskState.by_status`."""
    return re.sub(r"^\{[^}]*\}:", "", key).split(":", 1)[0]


def main() -> int:
    """Run the demonstration and return the exit code."""
    console = Console()
    console.print("[bold]Keyweave[/bold]: a workflow on an embedded Valkey server, step by step")
    console.print("[dim]Keys by kind: + created  ~ changed  - removed[/dim]")
    with Store.open("embedded:", namespace="demo", retention={"TaskState": RETENTION}) as store:
        demo = Demo(store, console)
        accounts(demo)
        workflows(demo)
        safety(demo)
        ending(demo)
        report = store.check()
    table = Table(title="Check: every index against every document")
    for column in ("documents", "entries compared", "drift"):
        table.add_column(column, justify="right")
    table.add_row(str(report.documents), str(report.entries), str(sum(report.drift.values())))
    console.print()
    console.print(table)
    for difference, number in sorted(report.drift.items()):
        console.print(f"[red]{difference}: {number}[/red]")
    return 0 if report.clean else 1


def accounts(demo: Demo) -> None:
    """Create an administrator, exactly once, and an API key."""
    store = demo.store

    def bootstrap(tx: Transaction) -> User:
        if tx.users.by_role(Role.ADMIN).count():
            raise AssertionError("the namespace was not empty")
        return tx.users.create(User(id="ada", email="Ada@example.org", role=Role.ADMIN))

    demo.step(
        "Create the first administrator in a transaction",
        lambda: store.transact(bootstrap),
        repr,
    )
    secret = secrets.token_bytes(32)
    key = APIKey(
        id="key-1",
        user_id="ada",
        hash=hashlib.scrypt(secret, salt=b"demo", n=2**12, r=8, p=1),
        fingerprint=hashlib.sha256(secret).digest(),
        prefix="cpzy_1",
    )
    demo.step("Create an API key; its repr hides the secrets", lambda: store.api_keys.create(key), repr)

    def taken() -> str:
        try:
            store.users.create(User(id="eve", email="ADA@EXAMPLE.ORG", role=Role.USER))
        except EmailExistsError as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError("a second user got the same email")

    demo.step("The same email in another case is refused; nothing is written", taken, str)


def task(key: str, name: str, execution: str, **more: object) -> TaskState:
    """A pending task."""
    fields: dict[str, object] = {"component": Component.TASK, "status": Status.PENDING, **more}
    return TaskState(task_exec_id=key, task_id=name, workflow_exec_id=execution, workflow_id="report", **fields)  # type: ignore[arg-type]


def workflows(demo: Demo) -> None:
    """Create executions and a parallel task with children, and read them in several ways."""
    store = demo.store

    def start() -> int:
        for number in range(1, 6):
            store.workflow_states.create(
                WorkflowState(
                    workflow_exec_id=f"run-{number}",
                    workflow_id="report",
                    status=Status.RUNNING,
                    input={"n": number},
                )
            )
        return store.workflow_states.by_status(Status.RUNNING).count()

    demo.step("Start five executions", start, lambda number: f"{number} are running")

    def fan_out(tx: Transaction) -> list[str]:
        tx.task_states.create(
            task("fan", "fan-out", "run-5", execution_type=ExecutionType.PARALLEL, status=Status.RUNNING)
        )
        for number in range(4):
            tx.task_states.create(
                task(
                    f"fan-{number}",
                    f"part-{number}",
                    "run-5",
                    parent_state_id="fan",
                    component=Component.AGENT,
                    agent_id="writer",
                    action_id="draft",
                )
            )
        return [record.task_exec_id for record in tx.task_states.tree("fan")]

    demo.step(
        "Create a parallel task and its children in one transaction",
        lambda: store.transact(fan_out),
        lambda tree: " > ".join(tree),
    )

    def finish() -> dict[Status, int]:
        for number, status in ((0, Status.SUCCESS), (1, Status.SUCCESS), (2, Status.FAILED)):

            def end(record: TaskState, status: Status = status) -> None:
                record.status = status

            store.task_states.change(f"fan-{number}", end)
        return store.task_states.by_parent_status("fan").group_counts()

    demo.step(
        "Finish three children; count the progress without reading documents",
        finish,
        lambda counts: ", ".join(f"{status}: {number}" for status, number in counts.items()),
    )

    def usage() -> str:
        entry = UsageEntry(
            provider="acme", model="large", prompt_tokens=120, completion_tokens=30, source="Draft "
        )
        other = UsageEntry(
            provider="acme", model="large", prompt_tokens=5, completion_tokens=1, source="draft"
        )
        store.task_states.merge_usage("fan-3", [entry])
        return (
            repr((store.task_states.merge_usage("fan-3", [other]).usage or [])[0].total_tokens)
            + " tokens in one entry"
        )

    demo.step("Merge token usage", usage, str)

    def pages() -> str:
        first = store.workflow_states.all().page(limit=3)
        second = store.workflow_states.all().page(limit=3, cursor=first.cursor)
        names = [[record.workflow_exec_id for record in page.rows] for page in (first, second)]
        return f"{names[0]} then {names[1]}"

    demo.step("Page through executions, latest change first", pages, str)
    demo.step(
        "Explain a filter over two fields",
        lambda: store.task_states.where(status=Status.PENDING, agent_id="writer").explain(),
        lambda plan: f"reads {plan.view} of {plan.candidates}; members must also be in {', '.join(plan.narrowing)}",
    )


def safety(demo: Demo) -> None:
    """Show what is refused: lost updates, broken checks, half-done transactions."""
    store = demo.store

    def conflict() -> str:
        mine, theirs = store.workflow_states.get("run-1"), store.workflow_states.get("run-1")
        theirs.status = Status.PAUSED
        store.workflow_states.save(theirs)
        mine.status = Status.SUCCESS
        try:
            store.workflow_states.save(mine)
        except ConflictError as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError("an update was lost")

    demo.step("Two writers load the same row; the second save is refused", conflict, str)

    def rule() -> str:
        try:
            store.task_states.create(
                task(
                    "bad",
                    "bad",
                    "run-1",
                    execution_type=ExecutionType.ROUTER,
                    tool_id="hammer",
                    component=Component.TOOL,
                )
            )
        except CheckViolationError as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError("a check did not hold")

    demo.step("A record that breaks a check is refused before anything is sent", rule, str)

    def halfway(tx: Transaction) -> None:
        tx.workflow_states.delete("run-2")
        assert tx.workflow_states.find("run-2") is None
        raise RuntimeError("the function failed")

    def undone() -> str:
        try:
            store.transact(halfway)
        except RuntimeError as error:
            return f"{error}; run-2 is still {store.workflow_states.get('run-2').status}"
        raise AssertionError("the exception was swallowed")

    demo.step("A transaction that fails halfway writes nothing", undone, str)
    demo.step(
        "Delete an execution and its tasks in one atomic step",
        lambda: store.workflow_states.delete("run-5"),
        lambda _: f"{store.task_states.all().count()} tasks are left",
    )


def ending(demo: Demo) -> None:
    """Let a row expire: no reader sees it, even before a sweep removes it."""
    store = demo.store

    def expire() -> str:
        store.task_states.create(task("last", "last", "run-3", status=Status.SUCCESS))
        created = store.task_states.by_workflow("run-3").count()
        until = time.monotonic() + _PATIENCE
        while store.task_states.find("last") is not None:
            if time.monotonic() > until:
                raise AssertionError("the deadline passed and the row stayed")
            time.sleep(0.02)
        listed = store.task_states.by_workflow("run-3").page().rows
        counted = store.task_states.all().count()
        return f"{created} task before the deadline; after it {len(listed)} listed, {counted} counted"

    demo.step(f"A finished task expires after {RETENTION.total_seconds()} s", expire, str)
    demo.step("Sweep the expired row with all of its entries", store.sweep, lambda number: f"{number} swept")


if __name__ == "__main__":
    sys.exit(main())
