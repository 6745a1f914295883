"""Writers of one partition while its slot moves, or its master dies: acknowledged writes are compared with what is there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from compozy_store import Component, Status, TaskState, WorkflowState, aio, sync
from keyweave.errors import KeyweaveError, OutcomeUnknownError, StoreUnavailableError
from tests.servers.cluster import Cluster, slot_of
from tests.servers.running import new_namespace
from tests.waiting import wait_until

WRITERS: Final = 16

MOST_LOST: Final = 64
"""The most acknowledged writes that a killed master may take along: a few for each writer."""


class Load:
    """Writers that count in rows of their own and in a shared row, and that create rows, each as fast as it can.

    Args:
        cluster: where the store is.
        flavour: `sync` for threads, `aio` for tasks.
        deadline: of each write, in seconds.

    Attributes:
        done: how many increments were acknowledged, by row.
        created: rows whose creation was acknowledged.
        errors: what reached callers, besides outcomes that were settled afterwards.
        settled: how many unknown outcomes were settled, by whether the write had happened.
        pauses: the longest time between two acknowledgements of a writer, in seconds, by writer.
    """

    def __init__(self, cluster: Cluster, flavour: str, deadline: float = 20.0) -> None:
        self.flavour = flavour
        self.cluster = cluster
        self.namespace = new_namespace("load")
        self.options: dict[str, Any] = {
            "namespace": self.namespace,
            "deadline": deadline,
            "retention": {"TaskState": timedelta(days=9)},
        }
        self.done: Counter[str] = Counter()
        self.created: set[str] = set()
        self.errors: list[BaseException] = []
        self.settled: Counter[bool] = Counter()
        self.pauses: Counter[int] = Counter()
        self._ending = False
        with sync.Store.open(cluster.url, **self.options) as store:
            context = store.session.context
            self.slot = slot_of(context.partition(context.package.entities["TaskState"]).clock)
            store.workflow_states.create(
                WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
            )
            for key in ("shared", *(f"own{writer}" for writer in range(WRITERS))):
                store.task_states.create(_task(key, {"n": 0}))

    @property
    def total(self) -> int:
        """The number of acknowledged writes."""
        return self.done.total() + len(self.created)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, all writers write; at the end, each has ended its last write."""
        run = self._tasks if self.flavour == "aio" else self._threads
        thread = threading.Thread(target=run)
        thread.start()
        try:
            self.progress(WRITERS)
            yield
            self.progress(WRITERS)
        finally:
            self._ending = True
            thread.join()

    def progress(self, writes: int) -> None:
        """Wait until so many writes more were acknowledged, or a caller has got an error."""
        wanted = self.total + writes
        wait_until(lambda: self.total >= wanted or bool(self.errors))

    def judge(self, lost: int = 0) -> int:
        """Compare what was acknowledged with what is there, and return how many acknowledged writes are missing.

        Args:
            lost: how many acknowledged writes may be missing.

        Raises:
            AssertionError: a write is missing, or is there twice, or the check finds drift.
        """
        with sync.Store.open(self.cluster.url, **self.options) as store:
            missing = 0
            for key, count in self.done.items():
                output: Any = store.task_states.get(key).output
                assert output["n"] <= count, (key, output, count)
                missing += count - output["n"]
            stored = set(store.task_states.by_status(Status.PENDING).keys())
            assert stored <= self.created, stored - self.created
            missing += len(self.created - stored)
            assert missing <= lost, missing
            report = store.check()
            assert report.clean, report
            return missing

    def _threads(self) -> None:
        with sync.Store.open(self.cluster.url, **self.options) as store:
            threads = [
                threading.Thread(target=self._write, args=(store, writer)) for writer in range(WRITERS)
            ]
            for each in threads:
                each.start()
            for each in threads:
                each.join()

    def _write(self, store: Any, writer: int) -> None:
        number = 0
        last = time.monotonic()
        while not self._ending and not self.errors:
            number += 1
            call, note = self._next(store, writer, number)
            try:
                call()
            except OutcomeUnknownError as error:
                if not self._settle(store, error):
                    continue
            except KeyweaveError as error:
                self.errors.append(error)
                return
            note()
            last = self._lap(writer, last)

    def _settle(self, store: Any, error: OutcomeUnknownError) -> bool:
        """Return whether a write of unknown outcome has happened, once that can be found out."""
        while True:
            try:
                happened = bool(store.outcome(error).applied)
            except StoreUnavailableError:
                continue
            self.settled[happened] += 1
            return happened

    def _tasks(self) -> None:
        async def work() -> None:
            async with aio.Store.open(self.cluster.url, **self.options) as store:
                await asyncio.gather(*(self._write_aio(store, writer) for writer in range(WRITERS)))

        asyncio.run(work())

    async def _write_aio(self, store: Any, writer: int) -> None:
        number = 0
        last = time.monotonic()
        while not self._ending and not self.errors:
            number += 1
            call, note = self._next(store, writer, number)
            try:
                await call()
            except OutcomeUnknownError as error:
                if not await self._settle_aio(store, error):
                    continue
            except KeyweaveError as error:
                self.errors.append(error)
                return
            note()
            last = self._lap(writer, last)

    async def _settle_aio(self, store: Any, error: OutcomeUnknownError) -> bool:
        while True:
            try:
                happened = bool((await store.outcome(error)).applied)
            except StoreUnavailableError:
                continue
            self.settled[happened] += 1
            return happened

    def _next(self, store: Any, writer: int, number: int) -> tuple[Callable[[], Any], Callable[[], None]]:
        """Return a write and what notes its acknowledgement: counting in turns with creating."""
        if number % 4 == 0:
            key = f"new{writer}-{number}"
            row = _task(key, None, Status.PENDING)
            return (lambda: store.task_states.create(row)), (lambda: self.created.add(key))
        key = "shared" if number % 4 == 1 and writer < 2 else f"own{writer}"

        def count(row: Any) -> None:
            row.output = {"n": row.output["n"] + 1}

        return (lambda: store.task_states.change(key, count)), (lambda: self.done.update((key,)))

    def _lap(self, writer: int, last: float) -> float:
        now = time.monotonic()
        self.pauses[writer] = max(self.pauses[writer], now - last)  # type: ignore[assignment]
        return now


def _task(key: str, output: Any, status: Status = Status.RUNNING) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="t",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.TASK,
        status=status,
        output=output,
    )


def move(cluster: Cluster, load: Load, *, whole: bool) -> float:
    """Move the slot of the load to another master under its writers, and return the longest pause of a writer, in seconds."""
    load.pauses.clear()
    target = cluster.other_master(cluster.owner(load.slot))
    if whole:
        cluster.migrate_slot(load.slot, target)
    else:
        cluster.move_slot(load.slot, target)
    load.progress(4 * WRITERS)
    return float(max(load.pauses.values(), default=0))
