"""Releases: a tag, the files that state a version, and the changelog agree, or the release does not begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.release import CHANGELOG, ROOT, STATED, main, notes, prepare, problems, versions


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that state a version, with a changelog of two releases."""
    for name in STATED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / CHANGELOG).write_text(
        "# Changelog\n\n## Unreleased\n\n### Added\n\n- Tea.\n\n## 0.1.0 - 2026-01-31\n\n### Added\n\n- Cups.\n"
    )
    return tmp_path


def test_every_file_of_this_repository_states_the_same_version() -> None:
    stated = versions(ROOT)
    assert len(stated) == 4
    assert len({*stated.values()}) == 1


def test_a_prepared_version_can_be_released(checkout: Path) -> None:
    assert main(["prepare", "7.2.0rc1"], root=checkout) == 0
    assert {*versions(checkout).values()} == {"7.2.0rc1"}
    assert problems(checkout, "v7.2.0rc1") == []
    assert notes(checkout, "v7.2.0rc1") == "### Added\n\n- Tea."
    assert notes(checkout, "v0.1.0") == "### Added\n\n- Cups."
    assert (checkout / CHANGELOG).read_text().count("## Unreleased\n\n## 7.2.0rc1 - ") == 1
    differing = [
        name for name in STATED if (checkout / name).read_text().splitlines() != _with(name, "7.2.0rc1")
    ]
    assert differing == []


def _with(name: str, version: str) -> list[str]:
    """The lines of a file of this repository with another version."""
    stated = versions(ROOT)[name]
    lines = (ROOT / name).read_text().splitlines()
    return [line.replace(stated, version) if "version" in line and "=" in line else line for line in lines]


@pytest.mark.parametrize("tag", ["7.2.0", "v7.2", "v7.2.0-rc1", "v7.2.0\n", "latest", "", "v7.2.0; rm -rf /"])
def test_a_tag_of_another_form_is_refused(checkout: Path, tag: str) -> None:
    prepare(checkout, "7.2.0", "2026-11-29")
    assert problems(checkout, tag) == [f"{tag}: not a tag of a release, such as v0.2.0"]


@pytest.mark.parametrize("name", [*STATED, CHANGELOG])
def test_a_file_with_another_version_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    prepare(checkout, "7.2.0", "2026-11-29")
    path = checkout / name
    path.write_text(path.read_text().replace("7.2.0", "7.2.1"))
    assert main(["check", "v7.2.0"], root=checkout) == 1
    assert capsys.readouterr().err == f"{name}: version 7.2.1, and the tag is v7.2.0\n"


def test_changes_that_are_not_in_the_release_are_named(checkout: Path) -> None:
    prepare(checkout, "7.2.0", "2026-11-29")
    path = checkout / CHANGELOG
    path.write_text(path.read_text().replace("## Unreleased\n", "## Unreleased\n\n- Late.\n"))
    assert problems(checkout, "v7.2.0") == [f"{CHANGELOG}: there are changes under Unreleased"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.1.0", "0.1.0: is in the changelog already"),
        ("v7.2.0", "v7.2.0: not a version, such as 0.2.0"),
        ("7.2", "7.2: not a version, such as 0.2.0"),
    ],
)
def test_what_cannot_be_prepared_changes_no_file(checkout: Path, version: str, message: str) -> None:
    before = versions(checkout)
    with pytest.raises(ValueError, match=message):
        prepare(checkout, version, "2026-11-29")
    (checkout / CHANGELOG).write_text("## Unreleased\n\n## 0.1.0 - 2026-01-31\n")
    with pytest.raises(ValueError, match="no changes under Unreleased"):
        prepare(checkout, "7.2.0", "2026-11-29")
    assert versions(checkout) == before
    with pytest.raises(ValueError, match="no heading for v7"):
        notes(checkout, "v7.2.0")
