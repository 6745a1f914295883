"""LangGraph's conformance suite for checkpoint savers, unchanged, on both savers: every capability that there is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

import agent_state.aio
import agent_state.sync
from keyweave_langgraph import AsyncKeyweaveSaver, KeyweaveSaver


class InThreads(KeyweaveSaver):
    """The blocking saver for the suite, which only awaits: each call in a thread."""

    async def alist(self, *args: Any, **options: Any) -> AsyncGenerator[Any]:
        """The blocking list, whole."""
        for found in await asyncio.to_thread(lambda: list(self.list(*args, **options))):
            yield found


def _in_a_thread(name: str) -> Callable[..., Any]:
    async def call(self: InThreads, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self, name), *args, **options)

    return call


for _name in ("get_tuple", "put", "put_writes", "delete_thread", "delete_for_runs", "copy_thread", "prune"):
    setattr(InThreads, f"a{_name}", _in_a_thread(_name))


@pytest.mark.parametrize("expire", [False, True], ids=["lasting", "temporary"])
@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_the_suite_passes_with_every_capability(
    flavour: str, expire: bool, keyweave_url: str, keyweave_namespace: str
) -> None:
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str]]:
        if flavour == "sync":
            with agent_state.sync.Store.open(keyweave_url, namespace=keyweave_namespace) as store:
                yield InThreads(store, expire=expire)
                assert store.check().clean
        else:
            async with agent_state.aio.Store.open(keyweave_url, namespace=keyweave_namespace) as waiting:
                yield AsyncKeyweaveSaver(waiting, expire=expire)
                assert (await waiting.check()).clean

    report = asyncio.run(validate(checkpointer_test(name=f"{flavour}-{expire}")(saver)))
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert {name for name, result in report.results.items() if result.passed} == {
        each.value for each in Capability
    }
    assert sum(result.tests_passed for result in report.results.values()) > 80


def test_both_flavours_have_the_same_methods() -> None:
    def methods(saver: type[Any]) -> set[str]:
        own = {name for name, member in vars(saver).items() if inspect.isfunction(member)}
        return {name.removeprefix("a") for name in own if not name.startswith("_")}

    assert methods(KeyweaveSaver) == methods(AsyncKeyweaveSaver)
