"""Values are read back exactly as they were written."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_engine import Engine, TaskFilter
from compozy_engine.errors import ValidationError
from compozy_store import UsageEntry
from keyweave.model.record import NOT_WRITTEN
from tests.contract.stories import add, contract, ids, task, user, workflow

NUMBERS = [2**80, -(2**63), 2**53 + 1, 1e23, 1e-300, 1.0, 0.1, -1.5e10, 0, True]
DEEP: Any = [[[[{"a": [{"b": {}}]}]]]]


@contract
async def test_json_is_read_back_unchanged(engine: Engine) -> None:
    value = {"numbers": NUMBERS, "text": 'é😀 "1e5" \\ 2E3 </script>\u2028', "": {"deep": DEEP, "none": None}}
    outputs: list[Any] = [value, {}, [], "", 0, False, [None], {"a": {}}, {"a": []}, None]
    for output in outputs:
        await add(engine, task("t", output=output, input=output, error=output))
        await engine.workflows.upsert_state(workflow(output=output))
        state = await engine.tasks.get_state("t")
        for back in (state.output, state.input, state.error, (await engine.workflows.get_state("w")).output):
            assert (back, type(back)) == (output, type(output))
    await engine.workflows.upsert_state(workflow(output=value))
    found: Any = (await engine.workflows.get_state("w")).output
    assert [type(number) for number in found["numbers"]] == [type(number) for number in NUMBERS]


@contract
async def test_deep_and_large_json_is_read_back(engine: Engine) -> None:
    nested: Any = "bottom"
    for _ in range(200):
        nested = {"n": [nested]}
    large = {"text": "x" * 1_000_000, "list": list(range(20_000))}
    await add(engine, task("t", output=nested, input=large))
    state = await engine.tasks.get_state("t")
    assert state.output == nested
    assert state.input == large


@contract
async def test_what_is_no_json_is_refused(engine: Engine) -> None:
    for unstorable in ({"a": float("nan")}, {"a": object()}, [float("inf")]):
        with pytest.raises(ValidationError):
            await engine.workflows.upsert_state(workflow(output=unstorable))
    assert await engine.workflows.list_states() == []


@contract
async def test_null_and_empty_differ_for_usage_and_text(engine: Engine) -> None:
    await add(engine, task("a", usage=[]), task("b", usage=None))
    assert await engine.tasks.get_usage_summary("a") == []
    assert await engine.tasks.get_usage_summary("b") is None
    entry = UsageEntry(provider="p", model="m", agent_ids=["z", "a"], reasoning_tokens=0)
    await engine.tasks.upsert_state(task("c", usage=[entry]))
    assert await engine.tasks.get_usage_summary("c") == [entry]


@contract
async def test_ids_may_be_any_text(engine: Engine) -> None:
    names = [
        "a:b",
        "a%3Ab",
        "{x}",
        "%",
        "a b",
        "\N{GRINNING FACE}",
        "é",
        "e\u0301",
        "'; drop table",
        "\n",
        "x" * 300,
    ]
    await engine.workflows.upsert_state(workflow())
    for name in names:
        await engine.tasks.upsert_state(task(name, task_id=name, action_id=None, output=name))
        await engine.auth.create_user(user(name, f"{name}@x"))
    for name in names:
        assert (await engine.tasks.get_state(name)).output == name
        assert ids(await engine.tasks.list_states(TaskFilter(task_id=name))) == [name]
        assert (await engine.auth.get_user_by_email(f"{name}@X")).id == name
    assert sorted(await engine.tasks.list_tasks_in_workflow("w")) == sorted(names)


@contract
async def test_a_written_record_holds_the_managed_values(engine: Engine) -> None:
    state = workflow()
    assert (state.created_at, state.updated_at) == (NOT_WRITTEN, NOT_WRITTEN)
    returned = await engine.workflows.upsert_state(state)
    assert returned is state
    assert state.created_at is not None
    assert state.created_at.utcoffset() is not None
    first = state.updated_at
    await engine.workflows.upsert_state(state)
    assert state.updated_at > first  # type: ignore[operator]
    found = await engine.workflows.get_state("w")
    assert (found.created_at, found.updated_at) == (state.created_at, state.updated_at)
