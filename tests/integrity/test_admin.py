"""The commands: what they print, with which status they end, and what they never print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyweave.cli import commands
from keyweave.effects import Flow
from keyweave.integrity.repair_row import repair_row
from tests.harness import AT_ONCE
from tests.integrity.site import Site, healthy
from tests.servers.running import server_url

app = commands.assemble(commands.installed())

IDS = ("root", "u1", "ghost", "U1@x", "u1@x", "planted", b"planted-print-1".hex(), "RUNNING")


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


def keyweave(site: Site, *words: str) -> Result:
    """The command on this site."""
    shared = ["--url", server_url(), "--package", "compozy_store"]
    return CliRunner().invoke(app, [*words, *shared, "--namespace", site.context.keyspace.namespace.tenant])


def damage(site: Site) -> None:
    """A damage of several kinds, in secret fields too."""
    site.send(
        ("ZREM", site.view("TaskState", "by_status", "RUNNING"), "root"),
        ("HSET", site.view("APIKey", "fingerprint"), b"planted-print-1".hex(), "ghost"),
        ("HDEL", site.view("User", "email"), "u1@x"),
        ("SET", f"{site.auth.tag}planted-key", "x"),
    )


def test_a_clean_store_ends_with_zero(site: Site) -> None:
    result = keyweave(site, "check")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("21 documents and ")
    assert "clean: every index agrees with its documents" in result.stdout
    result = keyweave(site, "reindex")
    assert result.exit_code == 0
    assert "clean: there is nothing to do" in result.stdout


def test_drift_is_reported_by_place_and_kind_without_ids_and_values(site: Site) -> None:
    damage(site)
    for words in (["check"], ["check", "--format", "json"], ["reindex", "--dry-run"], ["reindex"]):
        result = keyweave(site, *words)
        assert result.exit_code == 1
        assert not [word for word in IDS if word in result.output], result.output
    assert "APIKey.fingerprint" in result.output


def test_the_shape_of_a_check(site: Site) -> None:
    damage(site)
    shape = json.loads(keyweave(site, "check", "--format", "json").stdout)
    assert list(shape) == [
        "clean",
        "documents",
        "entries",
        "unswept",
        "set_aside",
        "others",
        "unbuilt",
        "drift",
    ]
    assert (shape["clean"], shape["documents"], shape["set_aside"]) == (False, 21, 0)
    assert shape["drift"] == [
        {"where": "APIKey.fingerprint", "kind": "stale_claim", "count": 1},
        {"where": "APIKey.fingerprint", "kind": "wrong_owner", "count": 1},
        {"where": "TaskState.by_status", "kind": "missing_entry", "count": 1},
        {"where": "User.email", "kind": "missing_claim", "count": 1},
        {"where": "namespace", "kind": "foreign_key", "count": 1},
    ]


def test_ids_are_shown_on_request_and_secrets_never(site: Site) -> None:
    damage(site)
    for words in (["check"], ["check", "--format", "json"], ["reindex", "--dry-run"]):
        result = keyweave(site, *words, "--show-ids")
        for shown in ("root", "u1@x", "ghost", "<secret>"):
            assert shown in result.stdout
        assert "planted-print" not in result.output
        assert b"planted-print-1".hex() not in result.output
    found = json.loads(keyweave(site, "check", "--show-ids", "--format", "json").stdout)["findings"]
    assert {"where", "kind", "key"} <= set(found[0])


def test_the_shape_of_a_repair(site: Site) -> None:
    damage(site)
    planned = json.loads(keyweave(site, "reindex", "--dry-run", "--format", "json").stdout)
    assert list(planned) == [
        "dry_run",
        "complete",
        "documents",
        "entries",
        "forgotten",
        "set_aside",
        "mended",
        "left",
        "postponed",
    ]
    assert (planned["dry_run"], planned["complete"]) == (True, False)
    done = json.loads(keyweave(site, "reindex", "--format", "json").stdout)
    assert (done["dry_run"], done["mended"], done["left"]) == (False, planned["mended"], planned["left"])
    assert done["left"] == [{"where": "namespace", "kind": "foreign_key", "count": 1}]
    again = json.loads(keyweave(site, "reindex", "--format", "json").stdout)
    assert (again["mended"], again["left"]) == ([], done["left"])


def test_a_repair_that_leaves_nothing_ends_with_zero(site: Site) -> None:
    site.send(("DEL", site.view("TaskState", "by_status", "RUNNING")))
    planned = keyweave(site, "reindex", "--dry-run")
    assert planned.exit_code == 1
    assert "would repair:" in planned.stdout
    result = keyweave(site, "reindex")
    assert result.exit_code == 0
    assert "TaskState.by_status: missing entry -> add the entry" in result.stdout
    assert keyweave(site, "check").exit_code == 0


def test_one_entity_alone(site: Site) -> None:
    damage(site)
    assert keyweave(site, "check", "--entity", "WorkflowState").exit_code == 0
    shape = json.loads(keyweave(site, "check", "--entity", "User", "--format", "json").stdout)
    assert shape["documents"] == 4
    assert [row["where"] for row in shape["drift"]] == ["User.email"]
    assert keyweave(site, "reindex", "--entity", "User").exit_code == 0
    assert keyweave(site, "check", "--entity", "User").exit_code == 0
    assert keyweave(site, "check", "--entity", "TaskState").exit_code == 1
    result = keyweave(site, "check", "--entity", "Ghost")
    assert result.exit_code == 2
    assert "there is no entity 'Ghost'" in result.output


def test_a_key_that_was_set_aside_is_reported_and_is_no_drift(site: Site) -> None:
    site.send(("SET", site.view("TaskState", "by_status", "RUNNING"), "planted"))
    assert keyweave(site, "reindex").exit_code == 0
    result = keyweave(site, "check")
    assert result.exit_code == 0
    assert "1 keys were set aside by repairs" in result.stdout


def test_unswept_rows_past_their_deadline_are_no_drift() -> None:
    with healthy("unswept", retention={"TaskState": AT_ONCE, "WorkflowState": AT_ONCE}) as dead:
        assert dead.store.task_states.find("d1") is None
        assert dead.send(("ZCARD", dead.execution.expiry)) == [5]
        assert keyweave(dead, "check").exit_code == 0
        assert dead.reindex().mended.total() == 0


def test_a_server_that_is_down_ends_with_two() -> None:
    for words in (["check"], ["reindex"], ["export", "nowhere"]):
        result = CliRunner().invoke(
            app, [*words, "--url", "redis://:planted@127.0.0.1:1?deadline=0.2", "--package", "compozy_store"]
        )
        assert result.exit_code == 2
        assert "planted" not in result.output


@pytest.mark.parametrize("command", ["check", "reindex", "export", "import"])
def test_help_has_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"keyweave {command}" in result.output
    assert "Exit status" in result.output


def test_a_repair_that_is_stopped_prints_its_progress(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.send(("DEL", site.view("TaskState", "by_status", "RUNNING")))
    calls = 0

    def stopped(*arguments: Any) -> Flow[bool]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return (yield from repair_row(*arguments))

    monkeypatch.setattr("keyweave.integrity.repair.repair_row", stopped)
    result = keyweave(site, "reindex")
    assert result.exit_code == 2
    assert "stopped; 2 repaired. Run it again for the rest." in result.output
    monkeypatch.undo()
    assert keyweave(site, "reindex").exit_code == 0
    assert keyweave(site, "check").exit_code == 0
