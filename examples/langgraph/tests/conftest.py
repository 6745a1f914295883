"""The saver and the store of both flavours behind one blocking interface, in a namespace of their own."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6

import agent_state.aio
import agent_state.sync
from agent_state.package import PACKAGE
from keyweave.effects import Command, Flow, Send
from keyweave.model.entity import Package
from keyweave_langgraph import AsyncKeyweaveSaver, AsyncKeyweaveStore, KeyweaveSaver, KeyweaveStore


class Agent:
    """One flavour of everything.

    Args:
        flavour: `sync` or `aio`.
        url: of the server.
        namespace: the tenant of the test.
    """

    def __init__(self, flavour: str, url: str, namespace: str) -> None:
        self.flavour = flavour
        self._runner = asyncio.Runner()
        self._where = (url, namespace)
        self._opened: list[Any] = []
        self.store: Any = self.opened()
        self.look: Any = agent_state.sync.Store.open(url, namespace=namespace)
        """A blocking store in the same namespace, for looking at rows."""

    def opened(self, *, namespace: str | None = None, **options: Any) -> Any:
        """Another store of this flavour in the namespace, or in another one."""
        url, own = self._where
        module: Any = agent_state.sync if self.flavour == "sync" else agent_state.aio
        store = self.do(module.Store.open(url, namespace=namespace or own, **options))
        self._opened.append(store)
        return store

    def saver(self, *, store: Any = None, **options: Any) -> Any:
        """A saver, whose methods have the names of the blocking ones."""
        if self.flavour == "sync":
            return KeyweaveSaver(store or self.store, **options)
        return _Blocking(self, AsyncKeyweaveSaver(store or self.store, **options))

    def memory(self, *, store: Any = None, **options: Any) -> Any:
        """A long-term store, likewise."""
        if self.flavour == "sync":
            return KeyweaveStore(store or self.store, **options)
        return _Blocking(self, self.do(_made(lambda: AsyncKeyweaveStore(store or self.store, **options))))

    def config(self, thread: str = "t", namespace: str = "", checkpoint: str | None = None) -> Any:
        """A configuration that points at a thread, or at one of its checkpoints."""
        place = {"thread_id": thread, "checkpoint_ns": namespace}
        return {"configurable": place if checkpoint is None else place | {"checkpoint_id": checkpoint}}

    def conversation(self, saver: Any, thread: str = "t", namespace: str = "") -> Conversation:
        """A thread without a checkpoint."""
        return Conversation(saver, self.config(thread, namespace))

    def do(self, outcome: Any) -> Any:
        """The result of a call, awaited or gathered where that is necessary."""
        if inspect.isawaitable(outcome):
            return self._runner.run(_awaited(outcome))
        if hasattr(outcome, "__aiter__"):
            return self._runner.run(_gathered(outcome))
        return outcome

    def rows(self) -> int:
        """The number of documents in the namespace, expired ones included, each with its entries in order."""
        report = self.look.check()
        assert report.clean, report
        return int(report.documents)

    def send(self, *command: Any) -> Any:
        """The server's reply to a command."""
        return self.look.session.run(_sending(command))

    def stored(self) -> set[str]:
        """The keys of the namespace, without those of a store that has no rows: clocks, registries, what makes writes safe."""
        found: set[str] = set()
        cursor: Any = 0
        while True:
            cursor, names = self.send(
                "SCAN", cursor, "MATCH", self.look.session.context.keyspace.pattern(), "COUNT", 1000
            )
            found |= {name.decode() for name in names}
            if int(cursor) == 0:
                return {
                    name
                    for name in found
                    if not any(own in name for own in ("}:@clock", "}:@schema", "}:@ledger:"))
                }

    def end(self, thread: str) -> None:
        """Let the time of a thread pass. Nothing is swept."""
        url, namespace = self._where
        retention = {"Thread": timedelta(microseconds=1)}
        with agent_state.sync.Store.open(
            url, namespace=namespace, retention=retention, sweep_every=0
        ) as store:
            store.threads.save(store.threads.get(thread))

    def wait_until_freed(self, key: str) -> None:
        """Wait until the server has removed a key whose native TTL has passed."""
        end = time.monotonic() + 10
        while self.send("EXISTS", key):
            assert time.monotonic() < end, key
            time.sleep(0.001)

    def close(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            self.do(store.close())
        self.look.close()
        self._runner.close()


class Conversation:
    """A thread that grows step by step, as a graph makes it grow.

    Args:
        saver: a saver with blocking methods.
        at: where the next checkpoint continues.
    """

    def __init__(self, saver: Any, at: Any) -> None:
        self.saver = saver
        self.at = at
        self.values: dict[str, Any] = {}
        self.versions: dict[str, str] = {}
        self._steps = 0

    def step(self, metadata: dict[str, Any] | None = None, **changed: Any) -> Any:
        """Put a checkpoint after a change of channels, and return where it is."""
        self.values |= changed
        new = {name: self.saver.get_next_version(self.versions.get(name), None) for name in changed}
        self.versions |= new
        described = {"source": "loop", "step": self._steps, "parents": {}, **(metadata or {})}
        checkpoint: Checkpoint = {
            "v": 4,
            "id": str(uuid6(clock_seq=self._steps)),
            "ts": "2026-01-31T08:00:00+00:00",
            "channel_values": dict(self.values),
            "channel_versions": dict(self.versions),
            "versions_seen": {},
            "updated_channels": sorted(changed),
        }
        self._steps += 1
        self.at = self.saver.put(self.at, checkpoint, described, new)
        return self.at


class _Blocking:
    """The asyncio methods of an object under their blocking names."""

    def __init__(self, agent: Agent, inner: Any) -> None:
        self._agent = agent
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, f"a{name}", None)
        if method is None:
            return getattr(self.inner, name)
        return lambda *args, **options: self._agent.do(method(*args, **options))


async def _awaited(outcome: Any) -> Any:
    return await outcome


async def _gathered(outcome: Any) -> list[Any]:
    return [each async for each in outcome]


async def _made(make: Any) -> Any:
    return make()


def _sending(command: Command) -> Flow[Any]:
    (reply,) = yield Send((command,))
    return reply


@pytest.fixture(scope="session")
def keyweave_package() -> Package:
    """The package of the stores under test."""
    return PACKAGE


@pytest.fixture(params=["sync", "aio"])
def agent(request: pytest.FixtureRequest, keyweave_url: str, keyweave_namespace: str) -> Iterator[Agent]:
    """Each flavour in turn. Afterwards every index entry still agrees with its document."""
    agent = Agent(request.param, keyweave_url, keyweave_namespace)
    try:
        yield agent
        agent.rows()
    finally:
        agent.close()
