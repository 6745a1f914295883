"""Every file of the schema folder is read or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyweave_generator.cli import app
from tests.generator.example import PACKAGE, SALE


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema/package.yaml").write_text(PACKAGE, encoding="utf-8")
    (tmp_path / "schema/sale.yaml").write_text(SALE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "schema"


@pytest.mark.parametrize("command", ["validate", "generate"])
def test_what_is_not_read_is_named_every_time(schema: Path, command: str) -> None:
    (schema / "sales").mkdir()
    (schema / "more.yaml").mkdir()
    (schema / "user.YAML").write_text(SALE)
    (schema / "note.json").symlink_to(schema / "sale.yaml")
    (schema / ".sale.yaml.swp").write_text("an editor's")
    (schema / ".#sale.yaml").symlink_to("an-editor@host")
    (schema / "linked.yaml").symlink_to(schema.parent / "other.yaml")
    (schema.parent / "other.yaml").write_text(SALE.replace("Sale", "Other"))
    for _ in range(2):
        result = run(command)
        assert result.exit_code == 0
        assert result.stderr.splitlines() == [
            "schema/more.yaml: not read: it is a folder, and a schema has no folders inside",
            "schema/note.json: not read: the name of a schema file ends in .yaml or .yml",
            "schema/sales: not read: it is a folder, and a schema has no folders inside",
            "schema/user.YAML: not read: the name of a schema file ends in .yaml or .yml",
        ]


@pytest.mark.parametrize("command", ["validate", "generate"])
def test_a_link_to_nothing_is_a_mistake(schema: Path, command: str) -> None:
    (schema / "user.yaml").symlink_to("gone.yaml")
    result = run(command)
    assert result.exit_code == 1
    assert result.stderr == (
        "schema/user.yaml: cannot read the file: it is a link to gone.yaml, which is not there\n"
        "schema: 1 problem\n"
    )


def test_an_entity_in_the_package_file_is_a_mistake_with_a_place(schema: Path) -> None:
    (schema / "package.yaml").write_text(SALE)
    result = run("validate")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "schema: 1 problem"
    assert result.stderr.startswith("schema/package.yaml:1:1: ")
