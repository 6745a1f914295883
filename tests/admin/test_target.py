"""Which store an admin command works on, and the error when none is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands
from keyweave_generator.load import load_sources
from keyweave_generator.render import render
from tests.generator.example import PACKAGE, SALE

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


OPTIONS = {
    "KEYWEAVE_NAMESPACE": "--namespace",
    "KEYWEAVE_ENVIRONMENT": "--environment",
    "KEYWEAVE_URL": "--url",
    "KEYWEAVE_PACKAGE": "--package",
}


@pytest.mark.parametrize("variable", OPTIONS)
@pytest.mark.parametrize("command", ["sweep", "health", "check", "doctor"])
def test_an_empty_variable_is_refused(command: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"--url": "embedded:", "--package": "compozy_store"}
    given.pop(OPTIONS[variable], None)
    monkeypatch.setenv(variable, "")
    words = [word for option in given.items() for word in option]
    result = RUNNER.invoke(app, [command, *words])
    assert result.exit_code == 2
    assert result.output == f"keyweave: the variable {variable} is empty; unset it, or give it a value\n"


def test_an_option_stands_above_an_empty_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYWEAVE_NAMESPACE", "")
    words = ["sweep", "--url", "embedded:", "--package", "compozy_store", "--namespace", "t"]
    assert RUNNER.invoke(app, words).output == "swept 0 rows\n"


BROKEN = {
    "syntax": ("package.py", "PACKAGE = (\n"),
    "name": ("package.py", "PACKAGE = Packag()\n"),
    "type": ("entities/sale.py", "from keyweave.model.entity import Entity\nEntity(colour=1)\n"),
    "raise": ("package.py", 'raise RuntimeError("two\\nlines")\n'),
    "merge": ("models.py", "<<<<<<< HEAD\n"),
    "lua": ("lua/apply.lua", None),
    "empty": ("package.py", ""),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("command", ["check", "acl", "health"])
def test_a_broken_generated_package_is_one_line(
    command: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"broken_{kind}_store"
    schema = load_sources({"package.yaml": PACKAGE.replace("shop_store", package), "sale.yaml": SALE})
    for path, text in render(schema).items():
        (tmp_path / "generated" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "generated" / path).write_text(text)
    place, code = BROKEN[kind]
    (tmp_path / "generated" / package / place).unlink()
    if code is not None:
        (tmp_path / "generated" / package / place).write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    url = [] if command == "acl" else ["--url", "embedded:"]
    result = RUNNER.invoke(app, [command, *url])
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1, result.output
    assert result.output.startswith(f"keyweave: cannot import the generated package '{package}': ")
