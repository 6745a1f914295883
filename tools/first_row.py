"""From nothing to a first row, with the commands of docs/getting-started.md only: `python -m tools.first_row` (`make first-row`).

Builds the wheel, lays it into an empty folder, and does there what the section "Three minutes" of the page says, block after block.
What the commands print has to be what the page shows. Ends with 1 if something differs or if all of it takes longer than `LIMIT`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.pages.console import Console
from tests.snippets import Snippet, snippets

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "getting-started.md"
SECTION: Final = "Three minutes"
LIMIT: Final = 180.0
"""Seconds that the section may take, the installation included, and the building of the wheel not."""

OF_THE_OUTER_RUN: Final = re.compile(
    r"MAKE.*|MFLAGS|PYTEST_.*|PYTHON.*|VIRTUAL_ENV|KEYWEAVE.*|PIP_CONSTRAINT|COLUMNS"
)
"""Variables of an outer make and pytest, which a new user does not have."""


def section() -> list[Snippet]:
    """The blocks of the section, in order."""
    page = PAGE.read_text(encoding="utf-8")
    begin = page.index(f"\n## {SECTION}\n")
    end = page.index("\n## ", begin + 1)
    return snippets(page[begin:end])


def main() -> int:
    """Do what the page says; return 1 if it does not work as it stands."""
    with tempfile.TemporaryDirectory(prefix="first-row-") as name:
        folder = Path(name) / "new"
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        begun = time.monotonic()
        try:
            follow(section(), Console(folder, environment(Path(name)), Path(name) / "state"))
        except AssertionError as error:
            print(f"first-row: {error}", file=sys.stderr)
            return 1
        taken = time.monotonic() - begun
    print(f"{taken:6.1f} s  in all; the limit is {LIMIT:.0f} s")
    return int(taken > LIMIT)


def environment(folder: Path) -> dict[str, str]:
    """The variables of a new user, with the versions that this release was tested with."""
    found = {name: value for name, value in os.environ.items() if OF_THE_OUTER_RUN.fullmatch(name) is None}
    constraints = folder / "constraints.txt"
    constraints.write_text((ROOT / "constraints.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return {**found, "PIP_CONSTRAINT": str(constraints), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def follow(steps: list[Snippet], console: Console) -> None:
    """Write the files and run the commands of the page, and print how long each command took.

    Raises:
        AssertionError: a command does not do what the page shows.
    """
    for step in steps:
        if step.path is not None:
            (console.folder / step.path).write_text(step.text, encoding="utf-8")
        elif step.language == "console":
            for ran in console.run(step.text, step.exits):
                print(f"{ran.seconds:6.1f} s  $ {ran.command}", flush=True)
        else:
            raise AssertionError(f"the page has a block that is neither a file nor a console: {step.text}")


if __name__ == "__main__":
    sys.exit(main())
