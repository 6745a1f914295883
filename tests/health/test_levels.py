"""What `keyweave doctor` says of the levels of durability, on servers of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.admin.app import app
from keyweave.health.facts import ServerFacts
from keyweave.health.levels import Standing, levels
from tests.scripted import Scripted
from tests.servers.durable import durable
from tests.servers.running import chosen_server, configured_server


def doctor(url: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["doctor", "-p", "compozy_store", "--url", url, *options])


def shown(url: str) -> dict[str, tuple[str, str]]:
    """The standing and the meaning of each level, from the command's JSON."""
    found = json.loads(doctor(url, "--format", "json").stdout)["durability"]
    return {level["name"]: (level["standing"], level["meaning"]) for level in found}


@contextmanager
def server(**options: str) -> Iterator[str]:
    with configured_server(**options) as running:
        yield running.url


def test_everysec_is_tried() -> None:
    """Valkey 9.1.2 answers WAITAOF before fsync, Redis 8 does not."""
    with server(appendonly="yes", appendfsync="everysec") as url:
        standing, meaning = shown(url)["disk"]
        none = shown(url)["none"]
    if chosen_server() == "embedded":
        assert (standing, "before it has called fsync" in meaning) == ("untrue", True)
        assert "set appendfsync always" in meaning
    else:
        assert (standing, "up to a second" in meaning) == ("true", True)
    assert none[0] == "true" and "the last second or two" in none[1]


@pytest.mark.parametrize(
    ("options", "standing", "says"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, "true", "waits for its fsync"),
        ({"appendonly": "yes", "appendfsync": "no"}, "refused", "never confirms"),
        ({"appendonly": "no"}, "refused", "set appendonly yes"),
        ({"appendonly": "yes", "rename_command": "WAITAOF hidden"}, "unknown", "Redis 7.2 or Valkey"),
    ],
)
def test_the_disk(options: dict[str, str], standing: str, says: str) -> None:
    with server(**options) as url:
        found = shown(url)["disk"]
    assert (found[0], says in found[1]) == (standing, True)


def test_replicas_and_their_least_number() -> None:
    with durable("always", replicas=1) as servers:
        url = f"unix://{servers.primary.socket}"
        standing, meaning = shown(url)["replicas"]
        assert (standing, "min-replicas-to-write is 0" in meaning) == ("true", True)
        servers.primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        assert "min-replicas-to-write is 1" in shown(url)["replicas"][1]
        on_replica = shown(f"unix://{servers.replicas[0].socket}")
        assert on_replica["disk"] == on_replica["replicas"] == ("refused", "the server is a replica")
    with server() as url:
        assert shown(url)["replicas"][0] == "refused"


def test_people_read_it_too() -> None:
    with server(appendonly="yes", appendfsync="always", maxmemory="256mb") as url:
        result = doctor(url)
    assert result.exit_code == 0
    assert "Levels of durability on this server" in result.stdout
    assert "refused" in result.stdout


def test_a_server_that_hides_its_settings() -> None:
    scripted = Scripted()
    refused = {"online": ServerFacts(role="primary", aof=True, refusal="OOM"), "hidden": ServerFacts()}
    for facts in refused.values():
        found = scripted.run(levels(scripted.context, facts), [[b"OK"]])
        assert [level.standing for level in found][1] is Standing.UNKNOWN
    assert found[2].standing is Standing.UNKNOWN
