"""Rows from elsewhere keep their moments: order, managed fields, retention, and revisions that only grow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compozy_store import Role, Status, User
from compozy_store.sync import Store
from keyweave.cli import commands
from tests.servers.running import new_namespace, server_url

app = commands.assemble(commands.installed())
FIRST = datetime(2019, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def namespace() -> str:
    return new_namespace("history")


@pytest.fixture
def store(namespace: str) -> Iterator[Store]:
    with Store.open(server_url(), namespace=namespace) as opened:
        yield opened


def loaded(namespace: str, path: Path, lines: list[Any], *options: str) -> Result:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    words = ["import", str(path), "--keep-moments", "--url", server_url(), "--package", "compozy_store"]
    return CliRunner().invoke(app, [*words, "--namespace", namespace, *options])


def user(number: int, moment: datetime | None = None, **more: Any) -> dict[str, Any]:
    row = {"id": f"u{number}", "email": f"u{number}@x", "role": "user"}
    if moment is not None:
        row["created_at"] = moment.isoformat()
    return {"entity": "User", "row": row, **more}


def run(key: str, created: datetime, updated: datetime, status: str = "RUNNING") -> dict[str, Any]:
    row = {"workflow_exec_id": key, "workflow_id": "f", "status": status}
    return {"entity": "WorkflowState", "row": row | {"created_at": str(created), "updated_at": str(updated)}}


def task(key: str, workflow: str, parent: str | None, created: datetime) -> dict[str, Any]:
    row = {"task_exec_id": key, "task_id": "t", "workflow_exec_id": workflow, "workflow_id": "f"}
    row |= {"component": "task", "status": "RUNNING"} | ({"parent_state_id": parent} if parent else {})
    return {"entity": "TaskState", "row": row, "created": created.isoformat()}


def test_rows_keep_their_moments_and_their_order(store: Store, namespace: str, tmp_path: Path) -> None:
    moments = [FIRST + timedelta(days=(7 * number) % 120) for number in range(120)]
    lines = [user(number, moment) for number, moment in enumerate(moments)]
    result = loaded(namespace, tmp_path / "rows", lines)
    assert (result.exit_code, result.output.split()) == (0, ["120", "written"])
    rows = store.users.all().reverse().list()
    assert [row.created_at for row in rows] == sorted(moments)
    assert rows[0] == store.users.get_by_email("u0@x")
    assert store.check().clean
    row = store.users.change("u5", lambda record: setattr(record, "role", Role.ADMIN))
    assert row.created_at == moments[5]
    new = store.users.create(User(id="new", email="new@x", role=Role.USER))
    assert new.created_at > datetime.now(UTC) - timedelta(minutes=5)
    assert store.users.all().page(limit=1)[0].id == "new"
    again = loaded(namespace, tmp_path / "rows", lines, "--format", "json")
    assert (again.exit_code, json.loads(again.output)["present"]) == (1, 119)
    assert store.users.get("u5").role is Role.ADMIN


def test_what_was_changed_later_has_the_later_moment(store: Store, namespace: str, tmp_path: Path) -> None:
    later = FIRST + timedelta(days=9)
    lines = [run("w", FIRST, later), task("t", "w", None, later), task("below", "w", "t", FIRST)]
    assert loaded(namespace, tmp_path / "rows", lines).exit_code == 0
    row = store.workflow_states.get("w")
    assert (row.created_at, row.updated_at) == (FIRST, later)
    child = store.task_states.get("below")
    assert child.created_at == child.updated_at == FIRST
    changed = store.workflow_states.update("w", status=Status.PAUSED)
    assert changed.created_at == FIRST < later < changed.updated_at


def test_a_row_whose_time_was_over_is_not_written(store: Store, namespace: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    lines = [run("old", FIRST, FIRST, "SUCCESS"), run("new", FIRST, now - timedelta(hours=1), "SUCCESS")]
    result = loaded(namespace, tmp_path / "rows", lines)
    assert result.output.split() == ["1", "written", "1", "expired"]
    assert store.workflow_states.find("old") is None
    assert store.workflow_states.get("new").created_at == FIRST


def test_a_reference_that_leads_nowhere_is_counted(store: Store, namespace: str, tmp_path: Path) -> None:
    lines = [run("w", FIRST, FIRST), task("t", "w", None, FIRST), task("lost", "nowhere", None, FIRST)]
    result = loaded(namespace, tmp_path / "rows", lines)
    assert (result.exit_code, result.output.split()) == (1, ["2", "written", "1", "dangling"])
    assert store.task_states.find("lost") is None
    assert store.check().clean


REFUSED = {
    "the future": (
        user(1, datetime.now(UTC) + timedelta(days=1)),
        "User 'u1': its moments are in the future",
    ),
    "the wrong order": (run("w", FIRST, FIRST - timedelta(seconds=1)), "changed before it was created"),
    "no moment": (user(1), "a row has no moment; give it `created` or `updated`"),
    "no zone": (user(1, created="2020-01-01T00:00:00"), "a moment has no time zone"),
    "too early": (
        user(1, datetime(1999, 1, 1, tzinfo=UTC)),
        "moments before 2001-09-09T01:46:40Z cannot be kept",
    ),
    "no entity": ({"entity": "Usr", "row": {}}, "this schema has no entity 'Usr'"),
    "no row": ({"entity": "User"}, "Object missing required field `row`"),
    "a wrong type": (
        {"entity": "User", "row": {"id": "u", "email": 1, "role": "user"}},
        "Expected `str`, got `int` - at `$.email`",
    ),
    "an export": ({"keyweave_export": 1}, "Object contains unknown field `keyweave_export`"),
    "no JSON": ("{", "Input data was truncated"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_with_a_mistake_is_refused_before_anything_is_written(
    what: str, store: Store, namespace: str, tmp_path: Path
) -> None:
    line, text = REFUSED[what]
    result = loaded(namespace, tmp_path / "rows", [user(7, FIRST), line])
    assert result.exit_code == 2
    assert "line 2: " in result.output and text in result.output
    assert store.users.find("u7") is None
