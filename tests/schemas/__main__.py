"""`make fuzz-schemas`: random schemas, each refused with places, or a package that imports, has types, and works."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.schemas.hold import PYRIGHT, hold, mypy_finds, pyright_finds

_BATCH: Final = 100


def main(
    schemas: Annotated[int, typer.Option(help="Number of schemas.", min=1)] = 2000,
    seed: Annotated[int | None, typer.Option(help="The first seed; a new one by default.")] = None,
    pyright: Annotated[bool, typer.Option(help="Check types with pyright too; needs make pyright.")] = True,
) -> None:
    """Generate the packages of many random schemas, check their types, and use them on the server under test.

    A failure is printed with its seed; `--schemas 1 --seed n` plays it again. The exit status is 1 if there was one.
    """
    first = secrets.randbelow(10**9) if seed is None else seed
    if pyright and not PYRIGHT.exists():
        typer.echo(f"{PYRIGHT}: pyright is not there; run: make pyright", err=True)
        raise typer.Exit(2)
    typer.echo(f"fuzz-schemas: {schemas} schemas from seed {first}")
    started, number, failed = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as home:
        for start in range(first, first + schemas, _BATCH):
            folder = Path(home) / str(start)
            folder.mkdir()
            seeds = range(start, min(start + _BATCH, first + schemas))
            packages, failures = hold(seeds, folder)
            number += len(packages)
            for found in (
                *failures,
                mypy_finds(folder, packages, Path(home) / "mypy") if packages else "",
                pyright_finds(folder) if pyright else "",
            ):
                if found:
                    failed += 1
                    typer.echo(found, err=True)
            typer.echo(f"fuzz-schemas: {seeds.stop - first} schemas, {number} accepted, {failed} failures")
    typer.echo(f"fuzz-schemas: {number} of {schemas} accepted, {time.monotonic() - started:.0f} s")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
