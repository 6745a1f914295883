"""What opening a store logs, and what `store.health()` and `keyweave health` and `doctor` answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from compozy_store.package import PACKAGE
from keyweave.cli import commands
from keyweave.effects import Command
from keyweave.errors import ConfigurationError, StoreUnavailableError
from keyweave.health.report import Health
from tests.channels import chosen_channel
from tests.harness import FLAVOURS, fake_harness, harness
from tests.health.test_diagnose import WELL
from tests.servers.running import Running, chosen_server, configured_server, free_port

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server(**WELL) as running:
        yield running


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_reports_on_its_server_and_its_schema(flavour: str) -> None:
    with harness(flavour, "health") as stores:
        health = stores.do(stores.db.health())
        assert isinstance(health, Health)
        product = {"embedded": "valkey", "redis8": "redis"}[chosen_server()]
        assert (health.server.product, health.server.role, health.serving) == (product, "primary", True)
        assert (health.schema, health.local, health.encrypted) == (PACKAGE.fingerprint, True, False)
        assert 0 < health.latency < 5
        used = health.server.used_memory
        assert used is not None
        half = stores.do(stores.db.health(memory_budget=used * 2))
        assert half.memory_share == pytest.approx(0.5, abs=0.2)
        with pytest.raises(ConfigurationError, match="memory_budget"):
            stores.do(stores.db.health(memory_budget=0))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_opening_logs_one_line_about_the_server(flavour: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="keyweave"), harness(flavour, "planted-tenant"):
        pass
    (record,) = [each for each in caplog.records if each.name == "keyweave"]
    fields = vars(record)
    assert (fields["store_driver"], fields["server_role"]) == ("redis", "primary")
    assert fields["scripts"] is True
    assert fields["server_version"] in record.getMessage()
    assert "store_driver=redis" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert "planted" not in str(fields)


def test_the_line_names_host_and_port_and_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    from compozy_store.sync import Store

    port = free_port()
    with configured_server(**WELL, port=str(port), requirepass="planted"):
        url = f"redis://:planted@127.0.0.1:{port}"
        with caplog.at_level(logging.INFO, logger="keyweave"), Store.open(url):
            pass
        shown = RUNNER.invoke(app, ["health", "--url", url, "-p", "compozy_store"]).output
    (record,) = [each for each in caplog.records if each.name == "keyweave"]
    assert (vars(record)["server_address"], vars(record)["server_port"]) == ("127.0.0.1", port)
    assert "planted" not in str(vars(record)) + shown
    assert f"127.0.0.1:{port}" in shown


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_opens_without_permission_to_inspect_the_server(
    flavour: str, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client() as client:
        permitted = ("+ping", "+time", "+hgetall", "+exists", "+hset", "+hsetnx")
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~*", "-@all", *permitted)
        monkeypatch.setattr("tests.harness.server_url", lambda: f"unix://narrow:word@{server.socket}")
        client.ping()  # a server that never saw the command does not count it
        before = client.info("commandstats")["cmdstat_ping"]["calls"]
        with harness(flavour, "narrow"):
            pass
        # The examination sends one PING, and the handshake of a direct connection another one.
        pings = 2 if chosen_channel() == "direct" else 1
        assert client.info("commandstats")["cmdstat_ping"]["calls"] == before + pings


def test_flavours_send_the_same() -> None:
    logs: list[list[Command]] = [[], []]
    for flavour, log in zip(FLAVOURS, logs, strict=True):
        with fake_harness(flavour, log) as stores:
            assert stores.do(stores.db.health()).serving
    assert logs[0]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_server_that_stops_is_unavailable_at_once(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with configured_server(**WELL) as server:
        monkeypatch.setattr("tests.harness.server_url", lambda: server.url)
        with harness(flavour, "gone", deadline=60) as stores:
            server.process.kill()
            server.process.wait()
            with pytest.raises(StoreUnavailableError):
                stores.do(stores.db.health())


def test_health_reports_to_people_and_probes_whether_the_store_serves(server: Running) -> None:
    arguments = ["--url", server.url, "--package", "compozy_store"]
    result = RUNNER.invoke(app, ["health", *arguments])
    assert result.exit_code == 0
    assert "serving\n" in result.output
    assert "aof everysec" in result.output
    assert "findings     none" in result.output
    with server.client() as client:
        client.config_set("maxmemory", "1")
        result = RUNNER.invoke(app, ["health", *arguments])
        client.config_set("maxmemory", "256mb")
    assert result.exit_code == 1
    assert "NOT SERVING" in result.output
    result = RUNNER.invoke(app, ["health", "--url", "redis://:planted@127.0.0.1:1", "-p", "compozy_store"])
    assert result.exit_code == 2
    assert "planted" not in result.output


def test_json_has_a_stable_shape(server: Running) -> None:
    arguments = ["--url", server.url, "--package", "compozy_store", "--format", "json"]
    reported = [
        json.loads(RUNNER.invoke(app, [command, *arguments]).stdout) for command in ("health", "doctor")
    ]
    levels = reported[1].pop("durability")
    assert [sorted(level) for level in levels] == [["meaning", "name", "standing"]] * 3
    for each in reported:
        assert sorted(each) == [
            "address",
            "clock_skew",
            "command_words",
            "data_schema",
            "encrypted",
            "findings",
            "latency",
            "local",
            "masters",
            "memory_budget",
            "memory_share",
            "schema",
            "sentinels",
            "server",
            "serving",
            "sweep_lag",
            "worst",
        ]
        assert (each["serving"], each["worst"], each["findings"]) == (True, None, [])
        assert each["server"]["eviction_policy"] == "noeviction"


def test_doctor_explains_what_it_finds_and_exits_with_1() -> None:
    with configured_server(maxmemory_policy="allkeys-lru", maxmemory="256mb", appendonly="yes") as server:
        arguments = ["doctor", "--url", server.url, "--package", "compozy_store"]
        result = RUNNER.invoke(app, arguments, env={"COLUMNS": "300"})
        reported = json.loads(RUNNER.invoke(app, [*arguments, "--format", "json"]).stdout)
    assert result.exit_code == 1
    assert "critical  eviction-policy" in result.output
    assert "$ redis-cli CONFIG SET maxmemory-policy noeviction" in result.output
    (finding,) = reported["findings"]
    assert sorted(finding) == ["action", "command", "id", "severity", "what", "why"]
    assert (finding["id"], reported["worst"]) == ("eviction-policy", "critical")


def test_doctor_reports_that_there_are_no_findings(server: Running) -> None:
    result = RUNNER.invoke(app, ["doctor", "--url", server.url, "-p", "compozy_store"])
    assert (result.exit_code, "No findings" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("budget", "status"), [("1gb", 0), ("1kb", 1), ("0", 2), ("some", 2), ("-1gb", 2), ("1.5gb", 2)]
)
def test_a_memory_budget_is_a_size(server: Running, budget: str, status: int) -> None:
    arguments = ["doctor", "--url", server.url, "-p", "compozy_store"]
    result = RUNNER.invoke(app, [*arguments, f"--memory-budget={budget}"])
    assert result.exit_code == status
    assert ("is not a size" in result.output) == (status == 2)
