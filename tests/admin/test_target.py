"""Which store an admin command works on, and the error when none is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYWEAVE_URL", raising=False)
    result = RUNNER.invoke(app, ["sweep"])
    assert result.exit_code == 2
    assert "--url or KEYWEAVE_URL" in result.output


def test_the_package_must_be_named_where_it_cannot_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, ["sweep", "--url", "redis://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "--package or KEYWEAVE_PACKAGE" in result.output


def test_something_that_is_no_package_is_refused() -> None:
    result = RUNNER.invoke(app, ["sweep", "--url", "redis://127.0.0.1:1", "--package", "json"])
    assert result.exit_code == 2
    assert "cannot import the generated package 'json'" in result.output


def test_a_server_that_is_down_is_named_and_its_password_is_not() -> None:
    url = "redis://:planted@127.0.0.1:1?deadline=0.2"
    result = RUNNER.invoke(app, ["sweep", "--url", url, "--package", "compozy_store"])
    assert result.exit_code == 2
    assert "127.0.0.1:1" in result.output
    assert "planted" not in result.output


def test_an_embedded_store_is_opened_swept_and_closed() -> None:
    result = RUNNER.invoke(app, ["sweep", "--url", "embedded:", "--package", "compozy_store"])
    assert (result.exit_code, result.output) == (0, "swept 0 rows\n")
