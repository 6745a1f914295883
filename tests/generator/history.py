"""A small git repository with a schema, for tests of what compares revisions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.generator.example import PACKAGE, SALE

PEOPLE = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
HARMLESS = SALE.replace("  note:", "  remark: {type: string, optional: true}\n  note:")
GRAVE = SALE.replace("  note: {type: string, optional: true}", "  note: {type: int, optional: true}")


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without the git settings of the user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, **PEOPLE, **ALONE, **more}


class Sample:
    """A repository on the branch main."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, sale: str = SALE, *, package: str = PACKAGE, folder: str = "schema") -> None:
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / folder / "package.yaml").write_text(package, encoding="utf-8")
        (self.root / folder / "sale.yaml").write_text(sale, encoding="utf-8")

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")
