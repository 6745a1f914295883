"""The generator's commands: what they print, where, and their exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner, Result

from keyweave_generator.cli import app
from tests.generator.example import PACKAGE, REAL, ROOT, SALE


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example schema, as the current folder."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema/package.yaml").write_text(PACKAGE, encoding="utf-8")
    (tmp_path / "schema/sale.yaml").write_text(SALE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_schema_is_summarised_in_one_line() -> None:
    result = run("validate", str(REAL))
    assert result.exit_code == 0
    assert result.stdout == f"{REAL}: 4 entities, 18 views, 3 unique constraints: ok\n"
    assert result.stderr == ""


def test_the_schema_folder_is_the_default(workplace: Path) -> None:
    assert run("validate").stdout == "schema: 1 entity, 0 views, 0 unique constraints: ok\n"


def test_every_mistake_of_an_invalid_schema_is_reported(workplace: Path) -> None:
    (workplace / "schema/sale.yaml").write_text(SALE.replace("key: id", "key: idd") + "view: {}\n")
    for command in ("validate", "generate"):
        result = run(command)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == (
            "schema/sale.yaml:3:6: Sale: key: no field 'idd'; did you mean 'id'?\n"
            "schema/sale.yaml:19:1: unknown key 'view'; did you mean 'views'?\n"
            "schema: 2 problems\n"
        )
    assert not (workplace / "generated").exists()


def test_a_missing_folder_is_one_line(workplace: Path) -> None:
    result = run("validate", "nowhere")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0] == "nowhere: cannot read the schema folder: No such file or directory"
    )


def test_generating_twice_changes_nothing(workplace: Path) -> None:
    first = run("generate")
    assert first.exit_code == 0, first.output
    assert "added" in first.stdout
    before = {path: path.stat().st_mtime_ns for path in (workplace / "generated").rglob("*")}
    second = run("generate")
    assert second.stdout.endswith(": up to date\n")
    assert {path: path.stat().st_mtime_ns for path in (workplace / "generated").rglob("*")} == before


def test_check_names_changed_missing_and_orphaned_files(workplace: Path) -> None:
    run("generate")
    package = workplace / "generated/shop_store"
    assert run("generate", "--check").exit_code == 0
    (package / "models.py").write_text("# edited by hand\n")
    (package / "errors.py").unlink()
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"].append("shop_store/gone.py")
    (package / "manifest.json").write_text(json.dumps(manifest))
    (package / "gone.py").write_text("")
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    result = run("generate", "--check")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "generated/shop_store/errors.py: missing",
        "generated/shop_store/gone.py: orphaned",
        "generated/shop_store/manifest.json: changed",
        "generated/shop_store/models.py: changed",
        "4 files out of date; run: keyweave generate",
    ]
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


def test_the_command_that_repairs_names_the_given_folders(workplace: Path) -> None:
    (workplace / "schema").rename(workplace / "db")
    result = run("generate", "--schema", "db", "--output", "src", "--check")
    assert result.stderr.endswith("run: keyweave generate --schema db --output src\n")


def test_an_output_that_cannot_be_written_is_one_line(workplace: Path) -> None:
    (workplace / "generated").write_text("mine")
    result = run("generate")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "generated" in result.stderr
    assert (workplace / "generated").read_text() == "mine"


def test_the_committed_output_is_that_of_the_schema() -> None:
    result = run("generate", "--schema", str(REAL), "--output", str(ROOT / "generated"), "--check")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("kind", [None, "package", "entity"])
def test_the_json_schema_is_valid_draft_07(kind: str | None) -> None:
    result = run("schema", *(["--for", kind] if kind else []))
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)


def test_the_json_schema_accepts_the_real_files_by_kind() -> None:
    import yaml

    whole, package, entity = (
        Draft7Validator(json.loads(run("schema", *arguments).stdout))
        for arguments in ((), ("--for", "package"), ("--for", "entity"))
    )
    for path in REAL.glob("*.yaml"):
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert whole.is_valid(value)
        assert package.is_valid(value) is (path.name == "package.yaml")
        assert entity.is_valid(value) is (path.name != "package.yaml")


def test_every_key_of_the_json_schema_is_described() -> None:
    definitions = json.loads(run("schema").stdout)["definitions"]

    def undescribed(schema: dict[str, object], path: str) -> list[str]:
        found = []
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        for name, value in properties.items():
            target = value
            if "$ref" in value:
                target = definitions[value["$ref"].rpartition("/")[2]]
            if "description" not in target:
                found.append(f"{path}.{name}")
            found += undescribed(value, f"{path}.{name}")
        inner = schema.get("additionalProperties")
        return found + (undescribed(inner, f"{path}.*") if isinstance(inner, dict) else [])

    assert [miss for name, each in definitions.items() for miss in undescribed(each, name)] == []


@pytest.mark.parametrize("command", ["generate", "validate", "schema"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert f"keyweave {command}" in result.stdout


def test_wrong_arguments_are_exit_status_2() -> None:
    assert run("generate", "--unknown").exit_code == 2
    assert run("schema", "--for", "table").exit_code == 2
