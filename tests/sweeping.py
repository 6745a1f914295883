"""Stores with expired rows, and their sweepers, for tests of either flavour."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from tests.harness import AT_ONCE, Harness, add_tasks, harness, run, task


@contextmanager
def opened(flavour: str, name: str, **options: Any) -> Iterator[Harness]:
    """Three stores, an execution and a task `p` that stay; other tasks expire as soon as they are terminal."""
    with harness(
        flavour, f"{name}-{flavour}", count=3, retention={"TaskState": AT_ONCE}, **options
    ) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task("p")])
        yield stores


def add_dead(stores: Harness, count: int) -> None:
    add_tasks(stores, [task(f"dead{n}", "p" if n % 2 else None, status=Status.SUCCESS) for n in range(count)])


def unswept(stores: Harness) -> int:
    (number,) = stores.send(("ZCARD", stores.db.session.context.partition(TASK_STATE).expiry))
    return int(number)


def wait(stores: Harness, until: Callable[[], bool]) -> None:
    """Let the sweepers work until a condition holds."""
    limit = time.monotonic() + 30
    while not until():
        assert time.monotonic() < limit
        stores.do(asyncio.sleep(0.002)) if stores.flavour == "aio" else time.sleep(0.002)


@contextmanager
def sweeping(stores: Harness, *sweepers: Any) -> Iterator[None]:
    """Running sweepers, started and stopped as their flavour requires."""

    async def start() -> None:
        for sweeper in sweepers:
            sweeper.start()

    if stores.flavour == "sync":
        for sweeper in sweepers:
            sweeper.start()
    else:
        stores.do(start())
    try:
        yield
    finally:
        for sweeper in sweepers:
            stores.do(sweeper.stop())
