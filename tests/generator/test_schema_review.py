"""The GitHub Action and the pre-commit hook, on sample histories: what they compare, say and return."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyweave_generator.changes.report_markdown import COMMENT_MARK
from tests.generator.example import ROOT, SALE
from tests.generator.history import GRAVE, HARMLESS, Sample, environment

ACTION = ROOT / ".github/actions/schema-review"
KEYWEAVE = Path(sys.executable).with_name("keyweave")

GH = """#!/usr/bin/env bash
# Stands in for GitHub's command: notes its arguments, lists the comment that COMMENTS names, fails when REFUSE is set.
printf '%s\\n' "$*" >>"$CALLS"
for word; do case $word in body=@*) cp "${word#body=@}" "$CALLS.body" ;; esac; done
[ -z "${REFUSE:-}" ] || exit 1
case "$*" in *--paginate*) printf '%s' "${COMMENTS:-}" ;; esac
"""


@dataclass(frozen=True)
class Outcome:
    """The result of one run of the action's script."""

    status: int
    stdout: str
    summary: str
    outputs: dict[str, str]
    calls: list[str]
    comment: str


@dataclass(frozen=True)
class PullRequest:
    """A clone as the runner has it: the merge of a branch into main, alone."""

    clone: Sample
    base: str
    head: str
    home: Path

    def review(self, **more: str) -> Outcome:
        """Run the script of the action."""
        bin_, calls = self.home / "bin", self.home / "calls"
        bin_.mkdir(exist_ok=True)
        (bin_ / "gh").write_text(GH)
        (bin_ / "gh").chmod(0o755)
        files = {name: self.home / name.lower() for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        variables = {
            "KEYWEAVE": str(KEYWEAVE),
            "RUNNER_TEMP": str(self.home),
            "GITHUB_REPOSITORY": "shop/shop",
            "PULL_REQUEST": "7",
            "BASE": self.base,
            "HEAD": self.head,
            "CALLS": str(calls),
            "PATH": f"{bin_}:{os.environ['PATH']}",
            **{name: str(path) for name, path in files.items()},
        }
        done = subprocess.run(
            [str(ACTION / "review.sh")],
            cwd=self.clone.root,
            env=environment(**{**variables, **more}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        texts = {name: path.read_text() if path.exists() else "" for name, path in files.items()}
        body = Path(f"{calls}.body")
        return Outcome(
            done.returncode,
            done.stdout,
            texts["GITHUB_STEP_SUMMARY"],
            dict(line.split("=", 1) for line in texts["GITHUB_OUTPUT"].splitlines()),
            calls.read_text().splitlines() if calls.exists() else [],
            body.read_text() if body.exists() else "",
        )


def pull_request(tmp_path: Path, sale: str) -> PullRequest:
    """A branch changes the schema, and main has a later change of its own."""
    origin = Sample(tmp_path / "origin")
    origin.write()
    old_base = origin.commit()
    origin.git("checkout", "--quiet", "-b", "topic")
    origin.write(sale)
    head = origin.commit()
    origin.git("checkout", "--quiet", "main")
    (origin.root / "schema/parcel.yaml").write_text(
        "entity: Parcel\ngroup: sales\nkey: id\nfields:\n  id: {type: id}\n"
    )
    origin.commit()
    origin.git("checkout", "--quiet", "-b", "merge")
    origin.git("merge", "--quiet", "--no-ff", "topic")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    origin.git("clone", "--quiet", "--depth=1", "--branch=merge", f"file://{origin.root}", "../clone")
    return PullRequest(Sample(tmp_path / "clone"), old_base, head, tmp_path)


def test_a_grave_change_is_annotated_summed_up_and_commented(tmp_path: Path) -> None:
    outcome = pull_request(tmp_path, GRAVE).review()
    assert outcome.status == 1
    first, last = outcome.stdout.splitlines()
    assert first.startswith(
        "::error file=schema/sale.yaml,line=12,col=10,title=FIELD_TYPE_CHANGED (STORAGE)::"
    )
    assert re.fullmatch(r"against [0-9a-f]{40}: 1 error", last)
    assert outcome.summary.startswith(f"{COMMENT_MARK}\n### Schema review\n")
    assert outcome.comment == outcome.summary == Path(outcome.outputs["markdown"]).read_text()
    assert outcome.outputs["reached"] == "true"
    review = json.loads(Path(outcome.outputs["json"]).read_text())
    assert [finding["rule"] for finding in review["findings"]] == ["FIELD_TYPE_CHANGED"]
    assert [call.split(" --")[-2] for call in outcome.calls[1:]] == [
        "method POST repos/shop/shop/issues/7/comments"
    ]


def test_only_the_pull_requests_own_change_counts(tmp_path: Path) -> None:
    outcome = pull_request(tmp_path, HARMLESS).review()
    assert outcome.status == 0
    assert [line.partition("title=")[2].partition("::")[0] for line in outcome.stdout.splitlines()] == [
        "FIELD_ADDED (SAFE)",
        "",
    ]
    assert outcome.outputs["reached"] == "false"


def test_the_comment_of_the_last_run_is_replaced_even_when_nothing_is_left(tmp_path: Path) -> None:
    outcome = pull_request(tmp_path, SALE + "# a comment\n").review(COMMENTS="31\n32\n")
    assert outcome.status == 0
    assert COMMENT_MARK in outcome.calls[0]
    assert "--method PATCH repos/shop/shop/issues/comments/31 " in outcome.calls[1]
    assert "no change" in outcome.comment


def test_nothing_changed_and_no_comment_yet_makes_none(tmp_path: Path) -> None:
    outcome = pull_request(tmp_path, SALE + "# a comment\n").review()
    assert (outcome.status, len(outcome.calls)) == (0, 1)


@pytest.mark.parametrize("more", [{"COMMENT": "false"}, {"PULL_REQUEST": ""}])
def test_no_comment_is_requested_when_comments_are_disabled(tmp_path: Path, more: dict[str, str]) -> None:
    outcome = pull_request(tmp_path, GRAVE).review(**more)
    assert (outcome.status, outcome.calls) == (1, [])


def test_the_review_succeeds_without_the_permission_to_comment(tmp_path: Path) -> None:
    outcome = pull_request(tmp_path, HARMLESS).review(REFUSE="1")
    assert outcome.status == 0
    assert "::notice::The review could not be written as a comment" in outcome.stdout
    assert outcome.summary


def test_a_revision_can_be_named_and_is_fetched(tmp_path: Path) -> None:
    request = pull_request(tmp_path, HARMLESS)
    outcome = request.review(AGAINST="topic", LEVEL="info")
    assert "ENTITY_ADDED" in outcome.stdout and "FIELD_ADDED" not in outcome.stdout
    assert outcome.status == 1


def test_a_schema_that_cannot_be_read_fails_the_step(tmp_path: Path) -> None:
    request = pull_request(tmp_path, HARMLESS)
    with pytest.raises(AssertionError, match="unknown key"):
        request.review(SCHEMA=str(_broken(request.clone)))


def _broken(clone: Sample) -> Path:
    clone.write(SALE + "view: {}\n")
    return Path("schema")


def test_the_action_hands_every_input_to_the_script_as_a_variable() -> None:
    action: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    install, review = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    assert os.access(ACTION / "review.sh", os.X_OK)
    used = set(re.findall(r"inputs\.(\w+)", json.dumps(review["env"])))
    assert used == set(action["inputs"])
    assert not re.search(
        r"\$\{\{", install["run"] + review["run"]
    )  # an expression in a script is an injection
    script = (ACTION / "review.sh").read_text()
    assert {name for name in review["env"] if f"${{{name}" not in script} == {"GH_TOKEN"}
    outputs = {value["value"] for value in action["outputs"].values()}
    assert outputs == {f"${{{{ steps.review.outputs.{name} }}}}" for name in action["outputs"]}


def hook() -> dict[str, Any]:
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("path", "runs"),
    [
        ("schema/sale.yaml", True),
        ("services/shop/schema/package.yml", True),
        ("schema/readme.md", False),
        ("other/sale.yaml", False),
    ],
)
def test_the_hook_runs_when_a_schema_file_changes(path: str, runs: bool) -> None:
    assert bool(re.search(hook()["files"], path)) is runs


@pytest.mark.parametrize(("sale", "accepted"), [(HARMLESS, True), (GRAVE, False)])
def test_git_runs_the_hook_and_refuses_a_loss_of_data(tmp_path: Path, sale: str, accepted: bool) -> None:
    sample = Sample(tmp_path / "shop")
    sample.write()
    sample.commit()
    command = " ".join([hook()["entry"].replace("keyweave", str(KEYWEAVE), 1), *hook()["args"]])
    script = sample.root / ".git/hooks/pre-commit"
    script.write_text(f"#!/bin/sh\nexec {command}\n")
    script.chmod(0o755)
    sample.write(sale)
    sample.git("add", "--all")
    done = subprocess.run(
        ["git", "commit", "--message", "change"],
        cwd=sample.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is accepted, done.stderr
    assert sample.git("rev-list", "--count", "HEAD") == ("2" if accepted else "1")
    assert ("FIELD_TYPE_CHANGED" in done.stdout + done.stderr) is not accepted
