"""Releases: one version in every file that states it, and in the changelog.

`python -m tools.release prepare 0.2.0` sets it, `check v0.2.0` compares a tag with it, and `notes v0.2.0` prints its changes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

STATED: Final = {
    "pyproject.toml": r'^version = "(.+)"$',
    "engine/pyproject.toml": r'^version = "(.+)"$',
    "runtime/keyweave/__init__.py": r'^__version__ = "(.+)"$',
}
"""File -> the line that states the version."""

VERSION: Final = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
"""A version as tags name it; pre-releases as Python writes them."""

CHANGELOG: Final = "CHANGELOG.md"

_UNRELEASED: Final = "## Unreleased\n"
_HEADING: Final = re.compile(r"^## (\S+) - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def versions(root: Path) -> dict[str, str]:
    """Return the version that each file states; the changelog states that of its first dated heading."""
    found = {}
    for name, pattern in STATED.items():
        (found[name],) = re.findall(pattern, (root / name).read_text("utf-8"), re.MULTILINE)
    heading = _HEADING.search((root / CHANGELOG).read_text("utf-8"))
    found[CHANGELOG] = heading[1] if heading else ""
    return found


def problems(root: Path, tag: str) -> list[str]:
    """Return why a tag is not a release of the files in `root`; nothing if it is."""
    version = tag.removeprefix("v")
    if tag == version or VERSION.fullmatch(version) is None:
        return [f"{tag}: not a tag of a release, such as v0.2.0"]
    found = [
        f"{name}: version {stated or 'missing'}, and the tag is {tag}"
        for name, stated in versions(root).items()
        if stated != version
    ]
    unreleased = (root / CHANGELOG).read_text("utf-8").partition(_UNRELEASED)[2]
    if _HEADING.split(unreleased)[0].strip():
        found.append(f"{CHANGELOG}: there are changes under Unreleased")
    return found


def notes(root: Path, tag: str) -> str:
    """Return the changes of a version.

    Raises:
        ValueError: the changelog has no such heading.
    """
    parts = _HEADING.split((root / CHANGELOG).read_text("utf-8"))
    for position in range(1, len(parts), 3):
        if parts[position] == tag.removeprefix("v"):
            return parts[position + 2].strip()
    raise ValueError(f"{CHANGELOG}: no heading for {tag}")


def prepare(root: Path, version: str, day: str) -> None:
    """Set the version in every file, and move the changes under Unreleased below its heading.

    Args:
        root: the top of the repository.
        version: the new one.
        day: of the release, as 2026-01-31.

    Raises:
        ValueError: it is not a version, it is released already, or nothing is under Unreleased. No file was changed.
    """
    changelog = (root / CHANGELOG).read_text("utf-8")
    if VERSION.fullmatch(version) is None:
        raise ValueError(f"{version}: not a version, such as 0.2.0")
    if any(heading[1] == version for heading in _HEADING.finditer(changelog)):
        raise ValueError(f"{version}: is in the changelog already")
    before, found, after = changelog.partition(_UNRELEASED)
    if not found or not _HEADING.split(after)[0].strip():
        raise ValueError(f"{CHANGELOG}: no changes under Unreleased")
    for name, pattern in STATED.items():
        path = root / name
        text = path.read_text("utf-8")
        match = re.search(pattern, text, re.MULTILINE)
        assert match is not None, name
        path.write_text(text[: match.start(1)] + version + text[match.end(1) :], "utf-8")
    (root / CHANGELOG).write_text(f"{before}{_UNRELEASED}\n## {version} - {day}\n{after}", "utf-8")


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run a command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("command", choices=("prepare", "check", "notes"))
    parser.add_argument("version", help="0.2.0; a tag, v0.2.0, for check and notes")
    given = parser.parse_args(arguments)
    try:
        if given.command == "prepare":
            prepare(root, given.version, datetime.now(UTC).date().isoformat())
        elif given.command == "notes":
            sys.stdout.write(f"{notes(root, given.version)}\n")
        else:
            found = problems(root, given.version)
            sys.stderr.writelines(f"{each}\n" for each in found)
            return bool(found)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
