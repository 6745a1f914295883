"""The examples of docs/engine.md run as they stand."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import compozy_engine
import compozy_engine.errors
from compozy_engine.auth import AuthRepository
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import WorkflowRepository
from compozy_store import Status
from tests.contract.engines import empty_engine
from tests.contract.stories import add, task
from tests.servers.running import new_namespace, server_url

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")


def example(name: str) -> dict[str, Any]:
    """The names that an example of the page defines."""
    (code,) = re.findall(rf"```python{name}\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/engine.md", "exec"), names)
    return names


def test_the_names_are_where_the_page_says() -> None:
    assert example("")["Engine"] is compozy_engine.Engine


def test_the_application_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", server_url())
    monkeypatch.setenv("STORE_NAMESPACE", new_namespace("page"))
    app = example(" app")["app"]

    async def use() -> None:
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://app") as client,
        ):
            made = await client.post("/workflows/import/executions", json={"rows": [2**80]})
            assert made.status_code == 201
            exec_id = made.json()["workflow_exec_id"]
            (listed,) = (await client.get("/workflows/import/executions")).json()
            assert (listed["workflow_exec_id"], listed["input"]) == (exec_id, {"rows": [2**80]})
            assert (await client.get("/workflows/export/executions")).json() == []
            running = task("t", workflow_exec_id=exec_id, status=Status.RUNNING)
            await app.state.engine.tasks.upsert_state(running)
            refused = await client.post(f"/executions/{exec_id}/completion")
            assert (refused.status_code, refused.json()["error"]) == (409, "WorkflowNotReadyError")
            await app.state.engine.tasks.upsert_state(task("t", workflow_exec_id=exec_id, output=1))
            done = (await client.post(f"/executions/{exec_id}/completion")).json()
            assert (done["status"], done["output"]) == ("SUCCESS", {"t": {"output": 1}})
            missing = await client.post("/executions/nowhere/completion")
            assert (missing.status_code, missing.json()["error"]) == (404, "WorkflowNotFoundError")
            assert "'nowhere'" in missing.text

    asyncio.run(use())


def test_twenty_children_finish_a_parent() -> None:
    finish = example(" transaction")["finish"]

    async def use() -> None:
        async with empty_engine("server") as engine:
            await add(engine, task("p", status=Status.RUNNING))
            children = [task(f"c{number}", parent_state_id="p") for number in range(20)]
            await asyncio.gather(*map(partial(finish, engine), children))
            assert (await engine.tasks.get_state("p")).status is Status.SUCCESS
            assert (await engine.tasks.get_progress_info("p")).success_count == 20

    asyncio.run(use())


@pytest.mark.parametrize("repository", [AuthRepository, WorkflowRepository, TaskRepository])
def test_every_method_is_on_the_page(repository: type) -> None:
    methods = [name for name in vars(repository) if not name.startswith("_")]
    assert [name for name in methods if f"`{name}" not in PAGE] == []


def test_every_error_of_the_contract_is_on_the_page() -> None:
    names = set(compozy_engine.errors.__all__) - {"ViewNotEmptyError"}  # never leaves the engine
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
