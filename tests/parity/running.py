"""Runs many histories on Keyweave and on the oracle, and stops at the first drift, after shrinking it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from compozy_engine import Engine
from compozy_store import aio
from compozy_store.package import PACKAGE
from keyweave.effects import Flow, Send
from keyweave.opening.prepare import prepare
from tests.oracle.engine import PostgresEngine
from tests.oracle.server import session_dsn
from tests.parity.comparing import drift
from tests.parity.histories import histories as drawn
from tests.parity.steps import Remove, Step, Transaction
from tests.servers.partitions import chosen_partitions


@dataclass
class Count:
    """How much was compared.

    Attributes:
        histories: how many were run.
        steps: how many calls they were made of, those in transactions included.
        methods: how often each method was called.
    """

    histories: int = 0
    steps: int = 0
    methods: Counter[str] = field(default_factory=Counter)

    def add(self, history: Sequence[Step]) -> None:
        self.histories += 1
        for step in history:
            inner = step.steps if isinstance(step, Transaction) else ()
            self.steps += 1 + len(inner)
            names = [_name(step), *(f"tasks.{_name(each)}" for each in inner)]
            self.methods.update(name for name in names if "remove" not in name)


def _name(step: Any) -> str:
    if isinstance(step, Transaction):
        return "tasks.with_transaction"
    if isinstance(step, Remove):
        return f"remove {step.kind}"
    return getattr(step, "method", "workflows.complete_workflow")


async def _opened(url: str) -> aio.Store:
    number = chosen_partitions()
    return await aio.Store.open(
        url, namespace=f"parity-of-{number}", partitions={"execution": number} if number > 1 else None
    )


def run(url: str, *, seed: int, histories: int, progress: Callable[[Count], None] = lambda _: None) -> Count:
    """Run `histories` random histories.

    Args:
        url: where Keyweave keeps its rows; every history has a namespace of its own.
        seed: the same one draws the same histories.
        progress: called after every history.

    Raises:
        AssertionError: the engines drifted; the message has the smallest history that shows it.
    """
    count = Count()
    with asyncio.Runner() as runner:
        store = runner.run(_opened(url))
        opened = PostgresEngine.open(session_dsn())
        oracle = runner.run(opened.__aenter__())

        async def play(history: Sequence[Step]) -> str | None:
            await oracle.clear()
            engine = Engine(_elsewhere(store, f"parity-{seed}-{count.histories}"))
            found = await drift(history, engine, oracle)  # type: ignore[arg-type]
            if found is None:
                report = await engine.store.check()
                assert report.clean, report.drift
            await _forget(engine.store)
            return found

        @seeded(seed)
        @settings(
            max_examples=histories,
            database=None,
            deadline=None,
            derandomize=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(drawn(chosen_partitions()))
        def reported(history: list[Step]) -> None:
            count.add(history)
            found = runner.run(play(history))
            assert found is None, found
            progress(count)

        try:
            reported()
        finally:
            runner.run(opened.__aexit__(None, None, None))
            runner.run(store.close())
    return count


def work(url: str, seed: int, histories: int, reported: Any) -> None:
    """Run histories in a process of their own; `reports` is a queue that receives each, and the end."""
    try:
        count = run(url, seed=seed, histories=histories, progress=lambda _: reported.put(("step", None)))
    except BaseException as error:  # noqa: BLE001 - whatever ends a process is reported to the one that waits
        notes = "\n".join(getattr(error, "__notes__", ()))
        reported.put(("failed", f"{type(error).__name__}: {error}\n{notes}"))
    else:
        reported.put(("done", count))


def _elsewhere(store: aio.Store, namespace: str) -> aio.Store:
    """The same connections, in another namespace."""
    if chosen_partitions() > 1:
        return store.tenant(namespace)  # it has its own handshake, which sets the number of partitions
    _, context = prepare(PACKAGE, "redis://elsewhere", namespace=namespace)
    context.state.clock = store.session.context.state.clock
    return aio.Store(store.session.within(context))


async def _forget(store: aio.Store) -> None:
    """Remove every key of a namespace."""
    pattern = f"*:{store.session.context.keyspace.namespace.tenant}:*"

    def sweep() -> Flow[None]:
        cursor: Any = b"0"
        while True:
            ((cursor, keys),) = yield Send((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000),))
            if keys:
                yield Send((("DEL", *keys),))
            if cursor == b"0":
                return

    await store.session.run(sweep())
