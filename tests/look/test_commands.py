"""`keyweave get`, `ls` and `explain`: rows of a real server on the command line, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compozy_store import Status
from tests.integrity.site import Site, healthy
from tests.look.generated import Project, app, project_of
from tests.servers.running import server_url

PLANTED = ("planted", b"planted-print-1".hex(), "cGxhbnRlZC")
"""A secret value as text, hexadecimal and base64."""


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project_of("market", tmp_path, monkeypatch) as project:
        store, models = project.store, project.models
        for number in (7, -7, 8):
            store.markets.create(models.Market(number=number, size=number * number))
        stall = {"keeper": "ann", "day": models.Weekday.MON, "width": Decimal("2.50"), "tags": {"red", "new"}}
        seen = datetime(2200, 1, 31, tzinfo=UTC)
        store.stalls.create(models.Stall(market=7, label="north 3", seen_at=seen, **stall))
        yield project


def keyweave(site: Site, *words: str) -> Result:
    shared = ["--url", server_url(), "--package", "compozy_store"]
    tenant = site.context.keyspace.namespace.tenant
    return CliRunner().invoke(app, [*words, *shared, "--namespace", tenant])


def ids(result: Result, key: str = "id") -> list[Any]:
    assert result.exit_code == 0, result.output
    return [row[key] for row in json.loads(result.stdout)["rows"]]


def test_a_row_is_shown_field_by_field(site: Site) -> None:
    result = keyweave(site, "get", "User", "u1")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert (lines["id"], lines["email"], lines["role"]) == ("u1", "U1@x", "user")


def test_moments_that_the_store_sets_are_shown(site: Site) -> None:
    site.store.task_states.update("root", status=Status.PAUSED)
    stored = site.store.task_states.get("root").to_dict(mode="json")
    assert stored["created_at"] < stored["updated_at"]
    shape = json.loads(keyweave(site, "get", "TaskState", "root", "--json").stdout)
    assert shape["row"] == stored
    words = ["ls", "TaskState", "by_status", "PAUSED", "--json"]
    assert json.loads(keyweave(site, *words).stdout)["rows"] == [stored]


def test_the_name_of_an_entity_may_have_any_case(site: Site) -> None:
    assert json.loads(keyweave(site, "get", "user", "u1", "--json").stdout)["entity"] == "User"


def test_a_row_as_json_has_its_moments(site: Site) -> None:
    shape = json.loads(keyweave(site, "get", "TaskState", "d1", "--format", "json").stdout)
    assert list(shape) == ["entity", "row", "created", "revision", "expires"]
    assert shape["row"]["status"] == "SUCCESS"
    assert shape["created"] < shape["expires"]


def test_the_keys_and_entries_of_a_row(site: Site) -> None:
    shape = json.loads(keyweave(site, "get", "User", "u1", "--keys", "--json").stdout)
    assert shape["key"] == site.document("User", "u1")
    assert shape["bytes"] == site.send(("STRLEN", shape["key"]))[0]
    for entry in shape["entries"]:
        if entry["kind"] == "view":
            assert float(site.send(("ZSCORE", entry["key"], entry["member"]))[0]) == entry["score"]
        else:
            assert site.send(("HGET", entry["key"], entry["member"])) == [b"u1"]
    assert {entry["kind"] for entry in shape["entries"]} == {"view", "unique"}
    assert shape["drift"] == []
    assert "every entry agrees with the document" in keyweave(site, "get", "User", "u1", "--keys").stdout


def test_a_row_whose_entries_disagree_says_so(site: Site) -> None:
    site.send(("HDEL", site.view("User", "email"), "u1@x"))
    result = keyweave(site, "get", "User", "u1", "--keys")
    assert result.exit_code == 0
    assert "wrong     User.email: " in result.stdout
    assert "agrees" not in result.stdout
    shape = json.loads(keyweave(site, "get", "User", "u1", "--keys", "--json").stdout)
    assert shape["drift"] == [{"where": "User.email", "kind": "missing_claim"}]


@pytest.mark.parametrize(
    "words",
    [
        ["get", "APIKey", "k1"],
        ["get", "APIKey", "k1", "--keys"],
        ["get", "APIKey", "k1", "--keys", "--json"],
        ["ls", "APIKey", "by_user", "u1"],
        ["ls", "APIKey", "by_user", "u1", "--json"],
    ],
)
def test_secrets_are_hidden(site: Site, words: list[str]) -> None:
    result = keyweave(site, *words)
    assert result.exit_code == 0, result.output
    assert "<secret>" in result.output
    assert "p1" in result.output
    assert not [word for word in PLANTED if word in result.output], result.output


@pytest.mark.parametrize("condition", ["fingerprint=cGxhbnRlZA==", "hash>=cA==", "hash is not null"])
def test_a_secret_cannot_be_asked_for(site: Site, condition: str) -> None:
    result = keyweave(site, "ls", "APIKey", "--where", condition, "--scan")
    assert result.exit_code == 2
    assert "the field is secret" in result.output


def test_a_missing_row_ends_with_one(site: Site) -> None:
    result = keyweave(site, "get", "User", "ghost")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ghost" in result.stderr


MISTAKES = {
    "entity": (["get", "Usr", "u1"], "no entity 'Usr'; did you mean 'User'?"),
    "entity unlike any": (["get", "Zebra", "u1"], "there are: APIKey, TaskState, User, WorkflowState"),
    "view": (["ls", "TaskState", "by_stat", "RUNNING"], "no view 'by_stat'; did you mean 'by_status'?"),
    "member": (["ls", "TaskState", "by_status", "RUNING"], "no value 'RUNING'; did you mean 'RUNNING'?"),
    "values": (["ls", "TaskState", "by_status"], "the view takes STATUS; got 0; status is one of PENDING, "),
    "many values": (["ls", "User", "all", "x"], "the view takes no values; got 1"),
    "field": (["ls", "User", "--where", "emial=x"], "no field 'emial' to look up by; did you mean 'email'?"),
    "order": (["ls", "User", "--order", "emial"], "did you mean 'email'?"),
    "condition": (["ls", "User", "--where", "email"], "cannot read the condition 'email'; write field=value"),
    "moment": (["ls", "User", "--where", "created_at>=2026"], "write a moment such as 2026-01-31T12:00:00Z"),
    "both": (["ls", "User", "all", "--where", "role=admin"], "a view or conditions, not both"),
    "key": (["get", "User", "u1", "u2"], "the key has one part, id; got 2"),
    "cursor": (["ls", "User", "--cursor", "xyz"], "cursor"),
    "unbounded": (["ls", "TaskState", "--where", "component=task", "--order", "task_id"], "--scan"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_would_fit(site: Site, mistake: str) -> None:
    words, expected = MISTAKES[mistake]
    result = keyweave(site, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_view_is_listed_in_pages(site: Site) -> None:
    first = json.loads(keyweave(site, "ls", "User", "--limit", "3", "--json").stdout)
    assert [row["id"] for row in first["rows"]] == ["u3", "u2", "u1"]
    assert ids(keyweave(site, "ls", "User", "--limit", "3", "--cursor", first["cursor"], "--json")) == ["u0"]
    assert ids(keyweave(site, "ls", "User", "--reverse", "--json")) == ["u0", "u1", "u2", "u3"]


def test_a_table_has_a_head_and_says_how_to_go_on(site: Site) -> None:
    result = keyweave(site, "ls", "User", "--limit", "2")
    head, *rows = result.stdout.splitlines()
    assert head.split()[:2] == ["ID", "EMAIL"]
    assert [row.split()[:2] for row in rows] == [["u3", "U3@x"], ["u2", "U2@x"]]
    cursor = result.stderr.split()[-1]
    rest = keyweave(site, "ls", "User", "--limit", "2", "--cursor", cursor)
    assert [line.split()[0] for line in rest.stdout.splitlines()[1:]] == ["u1", "u0"]
    assert rest.stderr == ""
    assert keyweave(site, "ls", "User", "--where", "email=none@x").stdout == "no rows\n"


CONDITIONS = {
    "unique": (["role=admin", "email=U0@x"], ["u0"]),
    "in": (["email in U0@x,U2@x"], ["u0", "u2"]),
    "not": (["role != admin"], ["u1", "u2", "u3"]),
    "range": (["created_at>=2020-01-01T00:00:00Z", "created_at <= 2021-01-01T00:00:00Z"], []),
    "begins": (["email^=U1"], ["u1"]),
    "null": (["email is not null", "role==user"], ["u1", "u2", "u3"]),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions(site: Site, name: str) -> None:
    conditions, expected = CONDITIONS[name]
    words = [word for each in conditions for word in ("--where", each)]
    if name == "null":
        words[1] = "created_at>=2020-01-01T00:00:00Z"
    assert sorted(ids(keyweave(site, "ls", "User", *words, "--scan", "--json"))) == expected


@pytest.mark.parametrize("words", [["by_tag", "red"], ["--where", "tags=red", "--where", "width=2.5"]])
def test_a_set_is_asked_for_an_element(market: Project, words: list[str]) -> None:
    assert ids(market.keyweave("ls", "Stall", *words, "--json"), "label") == ["north 3"]
    words = [word.replace("red", "blue") for word in words]
    assert ids(market.keyweave("ls", "Stall", *words, "--json"), "label") == []


def test_null_is_no_text(site: Site) -> None:
    found = ids(
        keyweave(site, "ls", "TaskState", "--where", "parent_state_id is null", "--scan", "--json"),
        "task_exec_id",
    )
    assert "root" in found
    assert "child" not in found


def test_explain_names_the_view_and_reads_no_document(site: Site) -> None:
    text = keyweave(site, "explain", "TaskState", "by_status", "RUNNING").stdout
    assert text.startswith("TaskState by view by_status, order created descending\n")
    words = ["explain", "TaskState", "--where", "status=RUNNING", "--where", "component=task", "--json"]
    shape = json.loads(keyweave(site, *words).stdout)
    assert (shape["access"], shape["views"], shape["compared"]) == ("view", ["by_status"], ["component"])


def test_keys_of_numbers_and_of_several_fields(market: Project) -> None:
    assert json.loads(market.keyweave("get", "Market", "7", "--json").stdout)["row"]["size"] == 49
    assert json.loads(market.keyweave("get", "Market", "--json", "--", "-7").stdout)["row"]["number"] == -7
    assert (
        json.loads(market.keyweave("get", "Stall", "7", "north 3", "--json").stdout)["row"]["label"]
        == "north 3"
    )
    few = market.keyweave("get", "Stall", "7")
    assert (few.exit_code, "the key has 2 parts, market, label; got 1" in few.stderr) == (2, True)
    wrong = market.keyweave("get", "Market", "seven")
    assert (wrong.exit_code, "'seven' does not fit; write a whole number" in wrong.stderr) == (2, True)


def test_an_order_and_two_ends_of_a_range(market: Project) -> None:
    words = ["ls", "Market", "--where", "size>=49", "--where", "size<=50", "--order", "size", "--json"]
    assert sorted(ids(market.keyweave(*words), "number")) == [-7, 7]
    assert ids(market.keyweave("ls", "Market", "--order", "size", "--limit", "1", "--json"), "number") == [8]
    twice = market.keyweave("ls", "Market", "--where", "size>=1", "--where", "size>=2")
    assert (twice.exit_code, "only >= and <= can be combined" in twice.stderr) == (2, True)


@pytest.mark.parametrize("command", ["get", "ls", "explain"])
def test_help_teaches_with_examples(command: str) -> None:
    text = CliRunner().invoke(app, [command, "--help"]).stdout
    assert f"keyweave {command} " in text
    assert "Exit status" in text
