"""Every option and argument of every command, given an empty value: what is wrong is said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from keyweave.cli.commands import assemble, installed
from keyweave.errors import ConfigurationError
from keyweave.opening.locate import locate
from tests.servers.running import new_namespace, server_url

APP = assemble(installed())
COMMANDS: dict[str, Any] = typer.main.get_command(APP).commands  # type: ignore[attr-defined]


def words_of(parameter: Any, value: str) -> list[str]:
    """The words that give a parameter a value."""
    return [parameter.opts[0], value] if parameter.param_type_name == "option" else [value]


def takes_value(parameter: Any) -> bool:
    return not (getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))


def cases() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if takes_value(parameter) and parameter.name != "help":
                yield name, parameter.name


@pytest.mark.parametrize(("name", "empty"), list(cases()))
@pytest.mark.parametrize("by", ["word", "variable"])
def test_an_empty_value_is_one_line_and_no_traceback(
    name: str, empty: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {
        "package": "compozy_store",
        "url": server_url(),
        "namespace": new_namespace("empty"),
        "file": str(tmp_path / "file"),
    }
    words: list[str] = []
    variables: dict[str, str] = {}
    for parameter in COMMANDS[name].params:
        if parameter.name == empty:
            if by == "variable":
                if not parameter.envvar:
                    return
                variables[parameter.envvar] = ""
            else:
                words += words_of(parameter, "")
        elif parameter.name in usual:
            words += words_of(parameter, usual[parameter.name])
        elif parameter.required:
            words += words_of(parameter, "x")
    result = CliRunner().invoke(APP, [name, *words], env=variables)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if by == "word":
        parameter = next(each for each in COMMANDS[name].params if each.name == empty)
        named = parameter.opts[0] if parameter.param_type_name == "option" else "an argument"
        assert (result.exit_code, result.stderr) == (2, f"keyweave: {named}: the value is empty\n")
        assert list(tmp_path.iterdir()) == []


def test_an_empty_value_behind_an_equals_sign_is_refused_too() -> None:
    result = CliRunner().invoke(APP, ["health", "--package="])
    assert (result.exit_code, result.stderr) == (2, "keyweave: --package: the value is empty\n")


@pytest.mark.parametrize(
    "package", ["", ".", "..", ".store", "store.", "a b", "a/b", "no_such_store", "json"]
)
def test_a_package_that_is_none_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError):
        locate(package, Path(), hint="")
    monkeypatch.setenv("KEYWEAVE_PACKAGE", package or ".")
    result = CliRunner().invoke(APP, ["health", "--url", "redis://localhost:1"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
