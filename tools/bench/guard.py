"""`make bench-guard`: this checkout beside another commit, call by call in turn, on one server and in one run.

Both sides run at once as processes that wait for each other, so that what the machine does hits both. A case fails when
the ratio of the medians is worse than the limit.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from tests.servers.running import new_namespace, server_url

ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = Path(__file__).with_name("guard_worker.py")
FOLDERS: Final = ("runtime", "generated", "engine", "generator")
CASES: Final = {
    "sync.get": 400,
    "sync.page": 120,
    "sync.save": 250,
    "sync.create": 200,
    "sync.remove": 200,
    "sync.locked": 120,
    "sync.lookup": 300,
    "sync.count": 300,
    "sync.revoke": 150,
    "sync.family": 80,
    "aio.get": 300,
    "aio.page": 100,
    "aio.save": 200,
    "aio.family": 80,
}
"""Cases with the rounds of one turn. `create` makes what the next turn's `remove` deletes; `revoke` deletes one row to which none
can refer, `family` a row with three others."""


class Side:
    """A worker process on the code of one tree."""

    def __init__(self, tree: Path, url: str, namespace: str) -> None:
        path = os.pathsep.join(str(tree / folder) for folder in FOLDERS)
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), url, namespace],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()
        self.taken: dict[str, list[int]] = {case: [] for case in CASES}

    def run(self, case: str, rounds: int, *, counted: bool) -> None:
        """Run a case; the rounds before the machine is warm are not counted."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([case, rounds]) + "\n")
        self._process.stdin.flush()
        taken = json.loads(self._line())
        if counted:
            self.taken[case] += taken

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("bench-guard: a side ended; its error stands above")
        return line


def main(
    base: Annotated[str, typer.Option(help="The commit to compare with.")] = "HEAD~1",
    turns: Annotated[int, typer.Option(min=1, help="Turns of each case and side.")] = 12,
    limit: Annotated[float, typer.Option(help="Largest ratio of the medians, this checkout / base.")] = 1.08,
) -> None:
    """Compare this checkout with a commit; exit with 1 when a case is slower than the limit allows."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", base, *FOLDERS], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        url = server_url()
        here, there = Side(ROOT, url, new_namespace("here")), Side(Path(folder), url, new_namespace("there"))
        for turn in range(turns + 1):
            for case, rounds in CASES.items():
                for side in chance.sample((here, there), 2):
                    side.run(case, rounds, counted=turn > 0)
        here.close()
        there.close()
    slower = _print(here, there, base, limit)
    if slower:
        raise SystemExit(f"bench-guard: slower than {limit:g}x of {base}: {', '.join(slower)}")


def _print(here: Side, there: Side, base: str, limit: float) -> list[str]:
    table = Table(title=f"this checkout beside {base}, medians")
    for column in ("case", "here µs", "base µs", "ratio"):
        table.add_column(column, justify="left" if column == "case" else "right")
    slower = []
    for case in CASES:
        ours, theirs = statistics.median(here.taken[case]), statistics.median(there.taken[case])
        ratio = ours / theirs
        table.add_row(case, f"{ours / 1000:.1f}", f"{theirs / 1000:.1f}", f"{ratio:.3f}")
        if ratio > limit:
            slower.append(case)
    Console(width=100).print(table)
    return slower


if __name__ == "__main__":
    typer.run(main)
