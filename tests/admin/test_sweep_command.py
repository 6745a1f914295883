"""`keyweave sweep`: what it removes, prints and answers; and that --watch continues until a signal ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compozy_store import Component, Status, TaskState, WorkflowState, sync
from keyweave.cli import commands
from keyweave.effects import Send
from tests.servers.running import new_namespace, server_url

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[sync.Store]:
    """A store with one execution; its tasks end at once. The environment names it for the command."""
    name = new_namespace("command")
    with sync.Store.open(
        server_url(), namespace=name, retention={"TaskState": timedelta(microseconds=1)}
    ) as opened:
        settings = opened.session.shell.settings
        url = f"unix://{settings.path}" if settings.path else server_url()
        for variable, value in (("URL", url), ("NAMESPACE", name), ("PACKAGE", "compozy_store")):
            monkeypatch.setenv(f"KEYWEAVE_{variable}", value)
        opened.workflow_states.create(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        )
        yield opened


def add_dead(store: sync.Store, count: int) -> None:
    for number in range(count):
        store.task_states.create(
            TaskState(
                task_exec_id=f"dead{number}",
                task_id="t",
                workflow_exec_id="w",
                workflow_id="f",
                component=Component.TASK,
                status=Status.SUCCESS,
            )
        )


def send(store: sync.Store, *command: Any) -> Any:
    def flow() -> Any:
        (reply,) = yield Send((command,))
        return reply

    return store.session.run(flow())


def expiry(store: sync.Store) -> str:
    return store.session.context.keyspace.partition("execution").expiry


def sweep(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["sweep", "--share", "1", *arguments])


def test_it_removes_due_rows_and_prints_their_number(store: sync.Store) -> None:
    add_dead(store, 20)
    result = sweep()
    assert (result.exit_code, result.stdout) == (0, "swept 20 rows\n")
    assert send(store, "ZCARD", expiry(store)) == 0


def test_it_stops_at_its_limit(store: sync.Store) -> None:
    add_dead(store, 20)
    assert sweep("--limit", "7").stdout == "swept 7 rows\n"
    assert send(store, "ZCARD", expiry(store)) == 13


def test_programs_get_json(store: sync.Store) -> None:
    add_dead(store, 2)
    assert json.loads(sweep("--format", "json").stdout) == {"swept": 2, "kept": 0}


def test_what_cannot_be_removed_is_found(store: sync.Store) -> None:
    add_dead(store, 2)
    send(store, "ZADD", expiry(store), 1, "Forgotten:x")
    result = sweep()
    assert (result.exit_code, result.stdout) == (1, "swept 2 rows, 1 could not be removed\n")


@pytest.mark.parametrize("arguments", [("--share", "0"), ("--share", "2"), ("--interval", "0")])
def test_an_invalid_pace_is_refused(store: sync.Store, arguments: tuple[str, str]) -> None:
    result = RUNNER.invoke(app, ["sweep", *arguments])
    assert result.exit_code == 2
    assert "sweeper: " in result.output


def test_an_invalid_environment_variable_stops_it(store: sync.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYWEAVE_RETENTION_TASK_STATE", "soon")
    result = sweep()
    assert result.exit_code == 2
    assert "KEYWEAVE_RETENTION_TASK_STATE" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_continues_until_a_signal_ends_it(store: sync.Store, number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "keyweave.cli",
        "sweep",
        "--watch",
        "--interval",
        "0.01",
        "-f",
        "json",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        for _ in range(2):
            add_dead(store, 5)
            limit = time.monotonic() + 60
            while send(store, "ZCARD", expiry(store)):
                assert time.monotonic() < limit and process.poll() is None
                time.sleep(0.01)
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, json.loads(printed)) == (0, {"swept": 10, "kept": 0})
    assert said.strip() == "keyweave: stopped"
