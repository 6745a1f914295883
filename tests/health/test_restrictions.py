"""What `keyweave health` and `keyweave doctor` say about managed services, on a server behind each profile's proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands
from keyweave.health.facts import RESTRICTIONS
from keyweave.health.report import Severity
from tests.operations.examined import examined, found, names
from tests.servers.filtering import FilteringProxy
from tests.servers.profiles import (
    ELASTICACHE,
    ELASTICACHE_SERVERLESS,
    MEMORYSTORE,
    NO_SCAN,
    NO_SCRIPT_COMMANDS,
    PROFILES,
    REDIS_CLOUD,
    STRICTEST,
    Profile,
)
from tests.servers.running import Running, configured_server

RUNNER = CliRunner()
APP = commands.assemble(commands.installed())

ONE_DATABASE, SHORT = "one-database", "short-commands"
NO_CONFIG, NO_SCRIPT, NO_SEARCH = "no-config", "no-script", "no-scan"
KEYS, DECLARED = "keys-required", "declared-keys"

SEEN: Final = {
    ELASTICACHE.name: (NO_CONFIG,),
    ELASTICACHE_SERVERLESS.name: (NO_CONFIG, KEYS, DECLARED, ONE_DATABASE, SHORT),
    MEMORYSTORE.name: (NO_CONFIG,),
    REDIS_CLOUD.name: (ONE_DATABASE,),
    NO_SCRIPT_COMMANDS.name: (NO_CONFIG, NO_SCRIPT, KEYS, DECLARED),
    NO_SCAN.name: (NO_CONFIG, NO_SEARCH),
    STRICTEST.name: (NO_CONFIG, NO_SCRIPT, KEYS, NO_SEARCH, DECLARED, ONE_DATABASE, SHORT),
}
"""What is found on each service."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server(appendonly="yes", maxmemory="256mb") as running:
        yield running


@contextmanager
def service(server: Running, profile: Profile) -> Iterator[FilteringProxy]:
    proxy = FilteringProxy(server.socket, profile)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda each: str(each.name))
def test_the_restrictions_of_each_service_are_found(server: Running, profile: Profile) -> None:
    with service(server, profile) as proxy:
        health = examined(proxy.url, thorough=True)
    assert health.server.restrictions == SEEN[profile.name]
    assert (health.serving, health.worst) == (True, Severity.WARNING if profile.words else Severity.NOTICE)
    finding = found(health, "service-restricted")
    assert all(RESTRICTIONS[each] in finding.what for each in SEEN[profile.name])
    assert ("commands-too-long" in names(health)) == (profile.words is not None)


def test_every_restriction_is_of_a_service() -> None:
    assert {each for seen in SEEN.values() for each in seen} == {*RESTRICTIONS}
    assert SEEN.keys() == PROFILES.keys()


def test_a_server_of_ones_own_has_no_restrictions(server: Running) -> None:
    for database in ("", "?db=3"):
        health = examined(f"{server.url}{database}", thorough=True)
        assert (health.server.restrictions, health.findings) == ((), ())


def test_the_database_of_the_connection_stays_selected(server: Running) -> None:
    with server.client() as client:
        client.select(0)  # a server that never saw the command does not count it
        before = client.info("commandstats")["cmdstat_select"]["calls"]
        examined(f"{server.url}?db=3", thorough=True)
        # The connection selects 3, the examination 0 and 3 again.
        assert client.info("commandstats")["cmdstat_select"]["calls"] == before + 3


def test_a_store_with_short_commands_gets_no_warning_and_sends_no_long_one(server: Running) -> None:
    with service(server, STRICTEST) as proxy:
        health = examined(f"{proxy.url}?command_words=3999", thorough=True)
        assert proxy.longest.words < 100
    assert (health.command_words, "commands-too-long" in names(health)) == (3_999, False)
    assert SHORT not in health.server.restrictions


def test_a_service_that_cuts_the_connection_at_a_long_command_is_found(server: Running) -> None:
    with service(server, Profile("cutting", words=3_999, cuts=True)) as proxy:
        assert examined(proxy.url, thorough=True).server.restrictions == (SHORT,)


def test_an_access_rule_that_refuses_select_says_nothing_about_databases(server: Running) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~*", "+@all", "-select", "-script")
    health = examined(f"unix://narrow:word@{server.socket}", thorough=True)
    assert health.server.restrictions == (NO_SCRIPT,)
    assert health.findings == ()


def test_health_prints_what_it_found_in_one_exchange(server: Running) -> None:
    with service(server, STRICTEST) as proxy:
        arguments = ["--url", proxy.url, "--package", "compozy_store"]
        shown = RUNNER.invoke(APP, ["health", *arguments])
        reported = json.loads(RUNNER.invoke(APP, ["health", *arguments, "--format", "json"]).stdout)
        explained = RUNNER.invoke(APP, ["doctor", *arguments], env={"COLUMNS": "400"})
    assert shown.exit_code == 0, shown.output
    line = "  restrictions no CONFIG, no SCRIPT, scripts need keys, no SCAN, declared keys only\n"
    assert line in shown.stdout
    assert reported["server"]["restrictions"] == [
        "no-config",
        "no-script",
        "keys-required",
        "no-scan",
        "declared-keys",
    ]
    assert explained.exit_code == 1
    assert "command_words=3999" in explained.stdout
    assert "fewer than 4,000 words a command" in explained.stdout
    with service(server, ELASTICACHE) as proxy:
        shown = RUNNER.invoke(APP, ["health", "--url", proxy.url, "--package", "compozy_store"])
    assert "  restrictions no CONFIG\n" in shown.stdout
    shown = RUNNER.invoke(APP, ["health", "--url", server.url, "--package", "compozy_store"])
    assert "  restrictions none found\n" in shown.stdout
