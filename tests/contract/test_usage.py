"""Merging of usage."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from compozy_engine import Engine
from compozy_engine.errors import ValidationError
from compozy_store import UsageEntry
from tests.contract.stories import add, contract, task

EARLY, LATE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2001, 2002))


@contract
async def test_entries_merge_by_provider_model_and_source(engine: Engine) -> None:
    await add(engine, task("t", usage=[UsageEntry(provider="p", model="m", source="Task")]))
    first = UsageEntry(
        provider=" p", model="m ", source=" TASK ", prompt_tokens=2, agent_ids=["b"], captured_at=LATE
    )
    second = UsageEntry(
        provider="p", model="m", source="task", completion_tokens=3, reasoning_tokens=0, agent_ids=["a"]
    )
    second.captured_at = second.updated_at = EARLY
    await engine.tasks.merge_usage("t", [first, UsageEntry(provider="p", model="l"), second])
    await engine.tasks.merge_usage("t", [UsageEntry(provider="a", model="z"), first])
    usage = await engine.tasks.get_usage_summary("t")
    assert usage is not None
    assert [(entry.provider, entry.model) for entry in usage] == [("a", "z"), ("p", "l"), ("p", "m")]
    merged = usage[2]
    assert merged.source.replace(" ", "").lower() == "task"
    assert (merged.prompt_tokens, merged.completion_tokens, merged.total_tokens) == (4, 3, 7)
    assert (merged.reasoning_tokens, merged.cached_prompt_tokens) == (0, None)
    assert merged.agent_ids == ["a", "b"]
    assert (merged.captured_at, merged.updated_at) == (EARLY, EARLY)


@contract
async def test_a_total_of_zero_means_prompt_and_completion(engine: Engine) -> None:
    await add(engine, task("t"))
    for total in (0, 100):
        entry = UsageEntry(provider="p", model="m", prompt_tokens=2, completion_tokens=3, total_tokens=total)
        await engine.tasks.merge_usage("t", [entry])
    usage = await engine.tasks.get_usage_summary("t")
    assert [entry.total_tokens for entry in usage or ()] == [105]


@contract
async def test_optional_counts_add_up_where_they_are_known(engine: Engine) -> None:
    await add(engine, task("t"))
    for reasoning, audio in ((None, None), (1, 0), (2, None)):
        entry = UsageEntry(provider="p", model="m", reasoning_tokens=reasoning, input_audio_tokens=audio)
        await engine.tasks.merge_usage("t", [entry])
    usage = await engine.tasks.get_usage_summary("t")
    counts = [
        (each.reasoning_tokens, each.input_audio_tokens, each.output_audio_tokens) for each in usage or ()
    ]
    assert counts == [(3, 0, None)]


@contract
async def test_nothing_to_merge_changes_nothing(engine: Engine) -> None:
    await add(engine, task("t"))
    before = await engine.tasks.get_state("t")
    await engine.tasks.merge_usage("t", [])
    assert await engine.tasks.get_state("t") == before
    assert await engine.tasks.get_usage_summary("t") is None
    workflow = await engine.workflows.get_state("w")
    await engine.workflows.merge_usage("w", [])
    assert await engine.workflows.get_state("w") == workflow


@contract
async def test_a_merge_touches_usage_and_updated_at_alone(engine: Engine) -> None:
    await add(engine, task("t", output={"a": []}))
    before = await engine.tasks.get_state("t")
    await engine.tasks.merge_usage("t", [UsageEntry(provider="p", model="m")])
    after = await engine.tasks.get_state("t")
    assert after.updated_at > before.updated_at  # type: ignore[operator]
    before.usage, before.updated_at = after.usage, after.updated_at
    assert after == before


@contract
async def test_an_entry_that_breaks_a_limit_is_refused(engine: Engine) -> None:
    await add(engine, task("t"))
    good = UsageEntry(provider="p", model="m")
    for bad in (
        UsageEntry(provider="p", model="m", prompt_tokens=-1),
        UsageEntry(provider="", model="m"),
        UsageEntry(provider="p", model=" \t"),
        UsageEntry(provider="p", model="m", total_tokens="1"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValidationError):
            await engine.tasks.merge_usage("t", [good, bad])
        with pytest.raises(ValidationError):
            await engine.workflows.merge_usage("w", [bad])
    assert await engine.tasks.get_usage_summary("t") is None


@contract
async def test_concurrent_merges_lose_nothing(engine: Engine) -> None:
    await add(engine, task("t"))
    entries = [
        UsageEntry(provider="p", model=f"m{number % 3}", prompt_tokens=number, agent_ids=[f"a{number}"])
        for number in range(30)
    ]
    await asyncio.gather(
        *(engine.tasks.merge_usage("t", [entry]) for entry in entries),
        *(engine.workflows.merge_usage("w", [entry]) for entry in entries),
    )
    for usage in (
        await engine.tasks.get_usage_summary("t"),
        (await engine.workflows.get_state("w")).usage,
    ):
        assert [(entry.model, entry.prompt_tokens) for entry in usage or ()] == [
            (f"m{rest}", sum(range(rest, 30, 3))) for rest in range(3)
        ]
        assert sum(len(entry.agent_ids) for entry in usage or ()) == 30
