"""The workflows of GitHub: what they run exists, what they use is pinned, and what they may do is little.

They run on GitHub only. `make lint-workflows` checks their syntax and expressions with zizmor and actionlint.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS: Final = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))

PINNED: Final = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(?:\.\d+){2}")

MAY: Final = {
    ("release.yml", "publish"): {"id-token": "write"},
    ("release.yml", "notes"): {"contents": "write"},
}
"""Jobs that may do more than read the repository."""


def loaded(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if name is True else name: value for name, value in workflow.items()}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = loaded(path)["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Every step of a workflow or composite action."""
    if path.name == "action.yml":
        yield from loaded(path)["runs"]["steps"]
        return
    for job in jobs(path).values():
        yield from job.get("steps", [])


def targets(path: Path) -> set[str]:
    """The targets of make that a workflow names, those of its matrices included."""
    found = set()
    for step in steps(path):
        found |= {*re.findall(r"(?:^|&& *|; *)make ([a-z0-9-]+)", step.get("run", ""), re.MULTILINE)}
    for job in jobs(path).values():
        matrix = job.get("strategy", {}).get("matrix", {})
        found |= {*matrix.get("target", [])}
        found |= {each["target"] for each in matrix.get("include", []) if "target" in each}
    return found


def label(path: Path) -> str:
    return path.name


def test_there_is_a_workflow_for_each_change_and_one_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    assert set(loaded(WORKFLOWS[0])["on"]) == {"push", "pull_request", "workflow_call"}
    assert loaded(WORKFLOWS[1])["on"] == {"push": {"tags": ["v*"]}}


@pytest.mark.parametrize("path", WORKFLOWS, ids=label)
def test_every_target_of_make_exists(path: Path) -> None:
    there = {*re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)}
    named = targets(path)
    assert named
    assert named - there == set()


def test_ci_runs_every_target_that_the_script_of_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    wanted = {*re.findall(r"^make --no-print-directory ([a-z0-9-]+)", script, re.MULTILINE)}
    assert len(wanted) > 5
    assert wanted <= targets(WORKFLOWS[0])


def test_the_modules_that_a_workflow_runs_exist() -> None:
    named = {
        name
        for path in WORKFLOWS
        for step in steps(path)
        for name in re.findall(r"python3? -m ([\w.]+)", step.get("run", ""))
    }
    assert named == {"tools.release"}
    assert (ROOT / "tools" / "release.py").is_file()


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=label)
def test_every_action_is_pinned_to_a_commit(path: Path) -> None:
    lines = [line.strip(" -") for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    strays = [line for line in lines if PINNED.fullmatch(line) is None]
    assert strays in ([], ["uses: ./.github/workflows/ci.yml"])


def test_one_action_has_one_commit() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in re.findall(r"uses: (\S+@.+)", path.read_text("utf-8")):
            pins.setdefault(line.partition("@")[0], set()).add(line)
    assert [found for found in pins.values() if len(found) > 1] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=label)
def test_a_job_may_read_the_repository_and_no_more(path: Path) -> None:
    workflow = loaded(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        allowed = MAY.get((path.name, name), {"contents": "read"})
        assert job.get("permissions", workflow["permissions"]) == allowed, name
        assert "uses" in job or job["timeout-minutes"] <= 60, name
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=label)
def test_no_command_contains_an_expression(path: Path) -> None:
    """GitHub puts the value of an expression into the text of the command: a branch's name could be a command."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_nothing_is_published_before_the_version_is_right_and_ci_has_passed() -> None:
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert (release["ci"]["needs"], release["ci"]["uses"]) == ("version", "./.github/workflows/ci.yml")
    assert release["version"]["steps"][-1]["run"] == 'make release-check TAG="$GITHUB_REF_NAME"'
    publish = release["publish"]
    assert (publish["needs"], publish["environment"]) == ("ci", {"name": "pypi"})
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert publish["steps"][1]["with"] == {"attestations": True}
    assert (
        "password"
        not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8").partition("jobs:")[2]
    )
    assert release["notes"]["needs"] == "publish"


def test_each_python_of_the_classifiers_is_tested_on_each_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    matrix = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]["strategy"]["matrix"]
    stated = [each.rpartition(" ")[2] for each in project["classifiers"] if ":: 3." in each]
    assert matrix["python"] == stated
    assert project["requires-python"] == f">={stated[0]}"
    assert matrix["server"] == ["embedded", "redis8"]
    assert {each["server"]: each["target"] for each in matrix["include"]} == {
        "embedded": "test",
        "redis8": "test-redis8",
    }
