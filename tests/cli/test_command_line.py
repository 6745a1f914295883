"""The `keyweave` command: what it shows without a command, and how it takes commands from entry points."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import keyweave.cli.main
from keyweave.cli import commands
from tests.generator.example import PACKAGE, SALE

first = typer.Typer()
second = typer.Typer()


@first.command()
def greet() -> None:
    """Greet the caller."""
    typer.echo("hello")


@second.command()
def leave() -> None:
    """Leave with a status of its own."""
    raise typer.Exit(3)


def entry(value: str, name: str = "plugin") -> metadata.EntryPoint:
    return metadata.EntryPoint(name, value, commands.GROUP)


FIRST = entry(f"{__name__}:first", "first")
SECOND = entry(f"{__name__}:second", "second")


def test_commands_of_every_entry_point_join_the_top_level() -> None:
    app = commands.assemble([FIRST, SECOND])
    assert CliRunner().invoke(app, ["greet"]).output == "hello\n"
    assert CliRunner().invoke(app, ["leave"]).exit_code == 3


def test_help_lists_the_commands_and_how_to_start() -> None:
    output = CliRunner().invoke(commands.assemble([FIRST, SECOND]), ["--help"], env={"COLUMNS": "120"}).output
    assert "Greet the caller." in output
    assert "Leave with a status of its own." in output
    assert "keyweave generate --check" in output


def test_version_is_the_installed_distributions() -> None:
    result = CliRunner().invoke(commands.assemble([]), ["--version"])
    assert (result.exit_code, result.output) == (0, f"keyweave {metadata.version('keyweave')}\n")


def test_the_command_runs_as_a_module() -> None:
    """Projects that `keyweave init` began name it in their Makefile."""
    command = [sys.executable, "-m", "keyweave.cli", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == f"keyweave {metadata.version('keyweave')}\n"


def test_unknown_command_exits_with_2_and_names_it() -> None:
    result = CliRunner().invoke(commands.assemble([FIRST, SECOND]), ["grete"])
    assert result.exit_code == 2
    assert "grete" in result.output


@pytest.mark.parametrize("value", ["keyweave_no_such_module:app", f"{__name__}:no_such_attribute"])
def test_entry_point_that_cannot_be_imported_is_reported_and_the_others_work(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = commands.assemble([entry(value, "broken"), FIRST])
    assert "the commands of 'broken' are not available" in capsys.readouterr().err
    assert CliRunner().invoke(app, ["greet"]).output == "hello\n"


def test_missing_cli_extra_is_a_sentence_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyweave.cli.main, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit) as stopped:
        keyweave.cli.main.main()
    assert "pip install 'keyweave[cli]'" in str(stopped.value.code)


def test_the_generators_commands_are_installed() -> None:
    assert "keyweave_generator.cli:app" in [found.value for found in commands.installed()]


def test_only_the_entry_point_that_has_the_command_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    broken = entry("keyweave_no_such_module:app", "broken")
    app = commands.assemble([broken, SECOND, FIRST], "greet")
    assert CliRunner().invoke(app, ["greet"]).output == "hello\n"
    assert capsys.readouterr().err == ""
    app = commands.assemble([broken, FIRST, SECOND], "unknown")
    assert CliRunner().invoke(app, ["greet"]).output == "hello\n"
    assert "the commands of 'broken' are not available" in capsys.readouterr().err


def test_generating_nothing_loads_little(tmp_path: Path) -> None:
    for name, text in (("package", PACKAGE), ("sale", SALE)):
        (tmp_path / "schema").mkdir(exist_ok=True)
        (tmp_path / f"schema/{name}.yaml").write_text(text)
    code = (
        "import sys; sys.argv = ['keyweave', 'generate']\n"
        "from keyweave.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout
        for _ in range(2)
    )
    assert "jinja2" in first.split()
    shown, loaded = second.splitlines()
    assert shown.endswith(": up to date")
    assert not {"black", "jinja2", "jsonschema", "yaml", "keyweave.sync", "keyweave_generator.load"} & {
        *loaded.split()
    }


def test_the_list_of_commands_loads_nothing_that_only_one_of_them_needs() -> None:
    """Readline may write to a terminal's output when it is imported, and the others are slow to import."""
    code = "import sys, keyweave.admin.app; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "typer" in loaded.split()
    assert not {"readline", "rlcompleter", "pygments", "starlette", "uvicorn", "jinja2"} & set(loaded.split())
