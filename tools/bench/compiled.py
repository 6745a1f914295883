"""`make bench-compiled`: what a compiled build of the runtime and the generated code would gain of the client's time.

Each build is a copy of this checkout, of which a part is compiled, unchanged. Its worker makes calls whose replies are at hand, in
turns with the workers of the other builds. A copy that is not compiled is among them: how far it is from 1.00 is the error.
A process has one of two speeds for as long as it lives, about 5 µs of a call with a link apart. So the workers are started several
times, and the quickest process of each build counts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from tests.servers.running import new_namespace, server_url
from tools.bench.compiled_worker import CASES, LAYERS

ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = Path(__file__).with_name("compiled_worker.py")
BUILDER: Final = Path(__file__).with_name("compiled_build.py")
FOLDERS: Final = ("runtime", "generated", "engine")

CODEC: Final = (
    "runtime/keyweave/changes/packed.py",
    "runtime/keyweave/document/*.py",
    "generated/compozy_store/entities/*.py",
)
"""What makes plans and records of the values of one row."""
FLOWS: Final = (
    *CODEC,
    "runtime/keyweave/effects.py",
    *(
        f"runtime/keyweave/{package}/*.py"
        for package in ("changes", "commit", "exchange", "keyspace", "model", "read", "store", "write")
    ),
)
"""The same, and every flow of reads and writes with what it works on."""
ALL: Final = (
    *FLOWS,
    "runtime/keyweave/aio/*.py",
    "runtime/keyweave/connection/direct/*.py",
    "generated/compozy_store/aio/*.py",
)
"""The same, and repositories, shells, pools and links."""


@dataclass(frozen=True, slots=True)
class Build:
    """A copy of this checkout.

    Attributes:
        name: how the report calls it.
        compiler: `cython` or `mypyc`; empty when nothing is compiled.
        parts: patterns of the files that are compiled.
    """

    name: str
    compiler: str = ""
    parts: Sequence[str] = ()

    def files(self) -> list[str]:
        """The files that are compiled, as paths in the tree."""
        found = {path for part in self.parts for path in ROOT.glob(part) if path.name != "__init__.py"}
        return sorted(str(path.relative_to(ROOT)) for path in found)


INTERPRETED: Final = Build("interpreted")
AGAIN: Final = Build("interpreted again")
BUILDS: Final = (
    INTERPRETED,
    AGAIN,
    Build("codec, mypyc", "mypyc", CODEC),
    Build("codec, Cython", "cython", CODEC),
    Build("flows, Cython", "cython", FLOWS),
    Build("all, Cython", "cython", ALL),
)


def compile_parts(compiler: str, folder: Path, python: Path) -> Path:
    """Compile what the builds of a compiler need, in a copy of this checkout. Returns the folder with the libraries.

    Args:
        compiler: `cython` or `mypyc`.
        folder: for the copy.
        python: the interpreter of an environment with both compilers.

    Raises:
        SystemExit: a module does not compile.
    """
    tree = _copy(folder / compiler)
    files = sorted({path for build in BUILDS if build.compiler == compiler for path in build.files()})
    words = [str(python.absolute()), str(BUILDER), str(tree), compiler, *files]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench-compiled: {compiler} fails:\n{done.stdout}{done.stderr}")
    return tree / "lib"


def assemble(build: Build, folder: Path, libraries: Path | None) -> Path:
    """Copy this checkout into a folder, with the libraries of a build beside the files that they stand for."""
    tree = _copy(folder / build.name.replace(", ", "-").replace(" ", "-"))
    if libraries is None:
        return tree
    for path in build.files():
        root, *inside = Path(path).with_suffix("").parts
        (library,) = libraries.glob(f"{'/'.join(inside)}.*.so")
        shutil.copy(library, tree / root / Path(*inside).parent)
    for shared in libraries.glob("*.so"):  # mypyc puts the code of all modules into one library
        shutil.copy(shared, tree / "runtime")
    return tree


def _copy(tree: Path) -> Path:
    for each in FOLDERS:
        shutil.copytree(ROOT / each, tree / each, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


class Worker:
    """A process that makes the calls on the code of a tree."""

    def __init__(self, tree: Path, url: str) -> None:
        path = os.pathsep.join(str(tree / each) for each in FOLDERS)
        # One seed of hashes for all: which rows a process remembers depends on it.
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), url, new_namespace("compiled")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.compiled: Final[int] = json.loads(self._line())

    def run(self, layer: str, case: str, rounds: int) -> list[int]:
        """Make calls; the nanoseconds of each."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([layer, case, rounds]) + "\n")
        self._process.stdin.flush()
        taken: list[int] = json.loads(self._line())
        return taken

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("bench-compiled: a worker ended; its error stands above")
        return line


@dataclass(frozen=True, slots=True)
class Measured:
    """What a build took for one case in one layer, in microseconds: the median of its quickest process."""

    layer: str
    case: str
    build: str
    micros: float


def measure(trees: dict[str, Path], *, starts: int, turns: int, rounds: int) -> Iterator[Measured]:
    """Run every build in turns. The first turn of a process warms it and does not count.

    Args:
        trees: the trees of the builds, by the builds' names.
        starts: how often the processes are started.
        turns: of each case and layer, in one process.
        rounds: calls in one turn.
    """
    chance, url = random.Random(1), server_url()
    medians: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(starts):
        workers = {name: Worker(trees[name], url) for name in chance.sample(list(trees), len(trees))}
        taken: dict[tuple[str, str, str], list[int]] = {}
        for turn in range(turns + 1):
            for layer in LAYERS:
                for case in CASES:
                    for name in chance.sample(list(workers), len(workers)):
                        times = workers[name].run(layer, case, rounds)
                        taken.setdefault((layer, case, name), []).extend(times if turn else ())
        for worker in workers.values():
            worker.close()
        for key, times in taken.items():
            medians.setdefault(key, []).append(statistics.median(times) / 1000)
    for layer, case, name in product(LAYERS, CASES, trees):
        yield Measured(layer, case, name, min(medians[layer, case, name]))


def table(found: Sequence[Measured]) -> Table:
    """The microseconds of the interpreted build, and how many times as fast the other builds are."""
    micros = {(each.layer, each.case, each.build): each.micros for each in found}
    names = list(dict.fromkeys(each.build for each in found))
    made = Table(title="processor time of a call with its replies at hand: interpreted / compiled")
    for column in ("layer", "case", f"{names[0]} µs", *names[1:]):
        made.add_column(column, justify="left" if column in ("layer", "case") else "right")
    for layer in LAYERS:
        for case in CASES:
            first = micros[layer, case, names[0]]
            ratios = [f"{first / micros[layer, case, name]:.2f}x" for name in names[1:]]
            made.add_row(layer, case, f"{first:.1f}", *ratios)
    return made


def main(
    compiler: Annotated[Path, typer.Option(help="Interpreter of an environment with Cython and mypyc.")],
    starts: Annotated[int, typer.Option(min=1, help="How often the processes are started.")] = 7,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each case in one process.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Calls in one turn.")] = 30,
) -> None:
    """Compile parts of this checkout, and compare the client's time."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        libraries = {}
        for each in ("mypyc", "cython"):
            console.print(f"bench-compiled: {each} compiles")
            libraries[each] = compile_parts(each, Path(folder), compiler)
        trees = {build.name: assemble(build, Path(folder), libraries.get(build.compiler)) for build in BUILDS}
        console.print("bench-compiled: calls, in turns")
        console.print(table(list(measure(trees, starts=starts, turns=turns, rounds=rounds))))


if __name__ == "__main__":
    typer.run(main)
