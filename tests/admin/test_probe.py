"""`keyweave health` as a probe: what the command prints, and little of what the command loads."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from keyweave.admin import probe
from keyweave.cli import commands
from tests.servers.running import Running, configured_server

RUNNER = CliRunner()
APP = commands.assemble(commands.installed())
ROOT = Path(__file__).resolve().parent.parent.parent

LIBRARIES = {
    "asyncio", "black", "click", "concurrent", "difflib", "email", "http", "importlib.resources", "jinja2", "jsonschema",
    "multiprocessing", "opentelemetry", "pydantic", "redis", "rich", "ssl", "subprocess", "tempfile", "typer", "yaml",
}  # fmt: skip
"""What a probe must not load."""

ROOMS = {
    "model", "keyspace", "document", "changes", "store", "exchange", "health", "connection", "telemetry", "opening", "sync",
    "admin", "cli", "errors", "effects",
}  # fmt: skip
"""The packages of the runtime of which a probe loads modules."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server(appendonly="yes", maxmemory="256mb") as running:
        yield running


def url(server: Running) -> str:
    return f"unix://{server.socket}"


def test_a_probe_loads_what_it_needs_and_nothing_else(server: Running) -> None:
    code = (
        "import sys; sys.argv = ['keyweave', 'health', '--url', sys.argv[1]]\n"
        "from keyweave.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print(*sys.modules, end.code, file=sys.stderr)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, url(server)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    *loaded, status = shown.stderr.split()
    assert status == "0"
    assert shown.stdout.startswith(("valkey ", "redis "))
    assert {name for name in loaded if name in LIBRARIES or name.split(".")[0] in LIBRARIES} == set()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("keyweave.")}
    assert rooms == ROOMS
    assert not [name for name in loaded if name.startswith("keyweave_generator")]
    assert len(loaded) < 260


GIVEN = [
    [],
    ["--format", "json"],
    ["-f=json"],
    ["--format=json", "--memory-budget", "1gb"],
    ["-n", "tenant", "--environment=production"],
    ["--memory-budget", "nonsense"],
    ["--namespace", "a{b"],
    ["-p", "json"],
    ["--format", "xml"],
    ["--unknown", "1"],
    ["--format"],
    ["--namespace", ""],
    ["extra"],
]


def steady(text: str) -> list[str]:
    """The lines without the latency, and without the kilobytes that a server may use more from call to call."""
    lines = [line for line in text.splitlines() if "latency" not in line]
    return [re.sub(r"(memory +)[\d.]+ \w+", r"\1some", line) for line in lines]


@pytest.mark.parametrize("more", GIVEN, ids=" ".join)
def test_it_prints_what_the_command_prints(
    server: Running, more: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["--url", url(server), *more]
    if "-p" not in more:
        arguments += ["--package", "compozy_store"]
    status = probe.run(arguments, {})
    shown = capsys.readouterr()
    full = RUNNER.invoke(APP, ["health", *arguments])
    if status is None:
        assert shown.out == shown.err == ""
        assert full.exit_code == 2 or more == ["-f=json"]
        return
    assert status == full.exit_code
    assert shown.err == full.stderr
    assert steady(shown.out) == steady(full.stdout) or "json" in "".join(more)


def test_a_server_that_is_down_is_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert probe.run(["-u", "redis://127.0.0.1:1?connect_timeout=0.2", "-p", "compozy_store"], {}) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("keyweave: ")
    assert len(shown.err.splitlines()) == 1


def test_variables_count_and_empty_ones_are_left_to_the_command(
    server: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    environment = {"KEYWEAVE_URL": url(server), "KEYWEAVE_PACKAGE": "compozy_store"}
    assert probe.run([], environment) == 0
    assert "serving" in capsys.readouterr().out
    assert probe.run([], {**environment, "KEYWEAVE_NAMESPACE": ""}) is None
    assert probe.run([], {}) is None
    assert capsys.readouterr().out == ""


def test_a_probe_takes_both_names_of_the_tenant_and_leaves_all_tenants_to_the_command(
    server: Running,
) -> None:
    common = ["-p", "compozy_store", "--url", url(server)]
    for option in ("--namespace", "--tenant", "-n"):
        assert probe.run([*common, option, "acme"], {}) == 0
    assert probe.run([*common, "--all-tenants"], {}) is None
    assert probe.run([*common, "--tenant", ""], {}) is None


def test_the_probe_knows_every_option_of_the_command() -> None:
    command = typer.main.get_command(APP).commands["health"]  # type: ignore[attr-defined]
    options = {
        each.name: (*each.opts, *[""][len(each.opts) - 1 :], each.envvar or "") for each in command.params
    }
    assert options.pop("all_tenants")[0] == "--all-tenants", "which the probe leaves to the command"
    assert options == probe._OPTIONS
