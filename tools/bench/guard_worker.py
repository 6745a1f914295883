"""One side of `make bench-guard`: times named calls of the generated package that its PYTHONPATH leads to.

It imports nothing but the generated package, so it runs on any commit. Commands come in as JSON lines: a case and a number
of rounds; each is answered with the nanoseconds of every round. What `before_` a case prepares is not timed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from compozy_store import APIKey, Component, Role, Status, TaskState, User, WorkflowState, aio, sync

_STATES = (Status.RUNNING, Status.PAUSED)


def _task(key: str, **more: Any) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.TASK,
        status=Status.RUNNING,
        **more,
    )


def _user(key: str) -> User:
    return User(id=key, email=f"{key}@x", role=Role.USER)


def _api_key(key: str, owner: str) -> APIKey:
    return APIKey(id=key, user_id=owner, hash=b"h", fingerprint=key.encode(), prefix=key)


def _page_of(rows: Any) -> Callable[[], Any]:
    """The call that reads a page of a view: of its handle, or of a commit from before there were handles."""
    if hasattr(rows, "by_workflow"):
        return lambda: rows.by_workflow("w").page(limit=50)
    return lambda: rows.list_by_workflow("w", limit=50)


class _Blocking:
    """The cases of the blocking flavour."""

    def __init__(self, url: str, namespace: str) -> None:
        self.store = sync.Store.open(url, namespace=namespace)
        self.rows = self.store.task_states
        self.store.workflow_states.upsert(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        )
        for number in range(60):
            self.rows.upsert(_task(f"p{number}", parent_state_id=None))
        self.read_page = _page_of(self.rows)
        self.row = self.rows.get("p0")
        self.made = 0
        self.store.users.upsert(_user("u"))
        self.read_count = self.rows.by_workflow("w").count

    def get(self) -> None:
        self.rows.get("p1")

    def page(self) -> None:
        self.read_page()

    def save(self) -> None:
        self.row.status = _STATES[self.row.status is _STATES[0]]
        self.rows.save(self.row)

    def create(self) -> None:
        self.made += 1
        self.rows.create(_task(f"c{self.made}"))

    def remove(self) -> None:
        self.rows.delete(f"c{self.made}")
        self.made -= 1

    def lookup(self) -> None:
        self.store.users.get_by_email("u@x")

    def count(self) -> None:
        self.read_count()

    def before_revoke(self) -> None:
        self.store.api_keys.create(_api_key("k", "u"))

    def revoke(self) -> None:
        self.store.api_keys.delete("k")

    def before_family(self) -> None:
        self.store.users.create(_user("v"))
        for number in range(3):
            self.store.api_keys.create(_api_key(f"k{number}", "v"))

    def family(self) -> None:
        self.store.users.delete("v")

    def locked(self) -> None:
        def write(tx: Any) -> None:
            row = tx.task_states.get_for_update("p2")
            row.status = _STATES[row.status is _STATES[0]]
            tx.task_states.save(row)

        self.store.transact(write)


class _Waiting:
    """The cases of the asyncio flavour."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.rows = store.task_states
        self.read_page = _page_of(self.rows)

    async def begin(self) -> None:
        self.row = await self.rows.get("p3")

    async def get(self) -> None:
        await self.rows.get("p1")

    async def page(self) -> None:
        await self.read_page()

    async def save(self) -> None:
        self.row.status = _STATES[self.row.status is _STATES[0]]
        await self.rows.save(self.row)

    async def before_family(self) -> None:
        await self.store.users.create(_user("w"))
        for number in range(3):
            await self.store.api_keys.create(_api_key(f"l{number}", "w"))

    async def family(self) -> None:
        await self.store.users.delete("w")


async def _timed(waiting: _Waiting, name: str, rounds: int) -> list[int]:
    call: Callable[[], Awaitable[None]] = getattr(waiting, name)
    before: Callable[[], Awaitable[None]] | None = getattr(waiting, f"before_{name}", None)
    taken = []
    for _ in range(rounds):
        if before is not None:
            await before()
        started = time.perf_counter_ns()
        await call()
        taken.append(time.perf_counter_ns() - started)
    return taken


def main(url: str, namespace: str) -> None:
    """Answer commands until standard input ends."""
    blocking = _Blocking(url, namespace)
    with asyncio.Runner() as runner:
        opening = aio.Store.open(url, namespace=namespace)
        waiting = _Waiting(runner.run(opening.__aenter__()))
        runner.run(waiting.begin())
        print("ready", flush=True)
        for line in sys.stdin:
            case, rounds = json.loads(line)
            flavour, _, name = case.partition(".")
            if flavour == "aio":
                taken = runner.run(_timed(waiting, name, rounds))
            else:
                call, before = getattr(blocking, name), getattr(blocking, f"before_{name}", None)
                taken = []
                for _ in range(rounds):
                    if before is not None:
                        before()
                    started = time.perf_counter_ns()
                    call()
                    taken.append(time.perf_counter_ns() - started)
            print(json.dumps(taken), flush=True)
        runner.run(opening.__aexit__(None, None, None))
    blocking.store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
