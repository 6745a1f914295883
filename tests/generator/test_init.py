"""A project that `keyweave init` begins passes its own tests, and nothing that is there already is touched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands
from keyweave_generator.scaffold import EXAMPLE, FILES, MORE, app_name, origin_files, own_requirement, project

ROOT = Path(__file__).resolve().parents[2]
RUNNER = CliRunner()
app = commands.assemble(commands.installed())


def make(folder: Path, *words: str) -> str:
    """Run make in a project with the Python that runs this test; returns what it printed."""
    # Without the variables by which an outer make, and the outer pytest, pass settings to their children.
    environment = {
        "PATH": "/usr/bin:/bin:/usr/local/bin",
        "HOME": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["make", "--no-print-directory", *words, f"PYTHON={sys.executable}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_projects_tests_pass(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    result = RUNNER.invoke(app, ["init", str(folder), "--name", "My Shop"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"next: make -C '{folder}' test 'KEYWEAVE={ROOT}[all]'"
    assert "4 passed" in make(folder, "test")
    assert "up to date" in make(folder, "check")
    assert (folder / "generated" / "my_shop_store" / "manifest.json").is_file()
    assert "make test" in make(folder)
    assert str(ROOT) not in "".join(path.read_text() for path in folder.glob("*") if path.is_file())


def test_the_example_passes_its_tests_and_runs(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    result = RUNNER.invoke(app, ["init", str(folder), "--example"])
    assert result.exit_code == 0, result.output
    steps = result.output.splitlines()[-2:]
    assert steps == [
        f"next: make -C '{folder}' test 'KEYWEAVE={ROOT}[all]'",
        f"then: make -C '{folder}' example",
    ]
    assert "5 passed" in make(folder, "test")
    assert make(folder, "example").splitlines()[-1] == "drift: 0"
    assert "make example" in make(folder)
    assert "up to date" in make(folder, "check")


@pytest.mark.parametrize("more", [[], ["--example"]])
def test_without_make_the_printed_commands_work_as_well(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip is left out: it would ask an index for the pytest that is there."""
    folder = tmp_path / "my shop"
    monkeypatch.setenv("PATH", str(tmp_path))
    result = RUNNER.invoke(app, ["init", str(folder), *more])
    monkeypatch.undo()
    printed = result.output.splitlines()[-1].removeprefix("next: ")
    steps = [step for step in printed.split(" && ") if "pip install pytest" not in step]
    assert len(steps) == len(printed.split(" && ")) - 1
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["sh", "-c", " && ".join(steps)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def shown(folder: Path, *words: str) -> str:
    """The Keyweave that a project's make installs."""
    rule = ["--eval", "shown: ; @echo '$(KEYWEAVE)'", "shown"]
    return make(folder, *words, *rule).strip()


def test_make_alone_installs_the_keyweave_that_began_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    assert RUNNER.invoke(app, ["init", str(folder)]).exit_code == 0
    assert shown(folder) == f"{ROOT}[all]"
    assert shown(folder, "KEYWEAVE=other[all]") == "other[all]"
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Makefile" in listed.stdout
    assert ".keyweave_cache" not in listed.stdout


def test_a_project_from_an_index_installs_from_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda _self, _name: None)
    assert RUNNER.invoke(app, ["init", str(tmp_path)]).exit_code == 0
    assert shown(tmp_path) == "keyweave[all]~=0.1.0"
    assert not (tmp_path / ".keyweave_cache").exists()


@pytest.mark.parametrize(
    "requirement", ["/a path/$HOME/#1[all]", "keyweave[all] @ https://example.org/k.whl#sha=1"]
)
def test_any_origin_is_read_back_by_make(requirement: str, tmp_path: Path) -> None:
    for path, text in {**project("shop"), **origin_files(requirement)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert shown(tmp_path) == requirement


def test_a_python_without_pytest_is_one_line(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["init", str(tmp_path)]).exit_code == 0
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit 1; fi\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "test", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith(f"test: {python} has no pytest; install it there")


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("mine")
    result = RUNNER.invoke(app, ["init", str(tmp_path)])
    assert (result.exit_code, "these files exist already: Makefile;" in result.output) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
    assert (tmp_path / "Makefile").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = RUNNER.invoke(app, ["init", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (None, None),
        ({"url": "file:///home/ada/key%20weave", "dir_info": {"editable": True}}, "/home/ada/key weave[all]"),
        (
            {"url": "file:///srv/wheels/keyweave-1-any.whl", "archive_info": {}},
            "/srv/wheels/keyweave-1-any.whl[all]",
        ),
        (
            {"url": "https://example.org/k.whl", "archive_info": {}},
            "keyweave[all] @ https://example.org/k.whl",
        ),
        (
            {"url": "https://example.org/k.git", "vcs_info": {"vcs": "git", "commit_id": "9f2c"}},
            "keyweave[all] @ git+https://example.org/k.git@9f2c",
        ),
    ],
)
def test_a_project_gets_the_keyweave_that_began_it(
    recorded: dict[str, object] | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = None if recorded is None else json.dumps(recorded)
    monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda _self, _name: text)
    assert own_requirement() == expected


def test_a_project_asks_for_versions_like_the_one_that_began_it() -> None:
    files = project("shop")
    asked = {
        found
        for path in ("Makefile", "pyproject.toml")
        for found in re.findall(r"keyweave(?:\[all\])?(~=[\d.]+)", files[path])
    }
    major, minor, _ = metadata.version("keyweave").split(".")
    assert asked == {f"~={major}.{minor}.0"}


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("shop", "shop"),
        ("My-Shop 2", "my_shop_2"),
        ("2fast", "app_2fast"),
        ("class", "app_class"),
        ("Größe", "gr_e"),
        ("...", "app"),
    ],
)
def test_any_name_makes_a_package_name(name: str, app: str) -> None:
    assert app_name(name) == app
    assert f"package: {app}_store" in project(name)["schema/package.yaml"]
    assert "@app@" not in str(project(name))
    assert "@name@" not in str(project(name))


def test_its_compose_file_is_the_repositorys() -> None:
    assert project("shop")["compose.yaml"] == (ROOT / "compose.yaml").read_text(encoding="utf-8")


def test_every_file_of_the_template_is_written() -> None:
    folder = ROOT / "generator" / "keyweave_generator" / "project"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*FILES.values(), *EXAMPLE.values(), *MORE.values()}
