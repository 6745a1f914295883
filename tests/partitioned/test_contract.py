"""The engine's contract on 16 partitions, in small: `make test-partitions` runs all of it on a cluster of three masters."""

from __future__ import annotations

import asyncio
from types import ModuleType

import pytest

from tests.contract import test_completion, test_tasks, test_workflows
from tests.contract.engines import empty_engine
from tests.servers.partitions import CHOICE, chosen_partitions


@pytest.mark.parametrize(
    "module", [test_tasks, test_workflows, test_completion], ids=lambda each: each.__name__
)
def test_stories_of_the_contract_hold_on_several_partitions(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOICE, "16")
    stories = [test.story for test in vars(module).values() if hasattr(test, "story")]

    async def play() -> None:
        async with empty_engine("server"):  # keeps the server
            for story in stories:
                async with empty_engine("server") as engine:
                    assert engine.store.session.context.keyspace.numbers["execution"] == 16
                    await story(engine)
                    await engine.store.sweep()  # a refused insert leaves a home
                    report = await engine.store.check()
                    assert report.clean, (story.__name__, report.drift)
                    assert report.vacant == 0, story.__name__

    asyncio.run(play())
    assert len(stories) > 5


def test_the_variable_names_a_number_that_a_group_can_have() -> None:
    assert chosen_partitions({}) == chosen_partitions({CHOICE: ""}) == 1
    assert chosen_partitions({CHOICE: "64"}) == 64
    for wrong in ("3", "0", "2048", "-1", "many"):
        with pytest.raises(ValueError, match=f"{CHOICE}={wrong}: must be a power of two"):
            chosen_partitions({CHOICE: wrong})
