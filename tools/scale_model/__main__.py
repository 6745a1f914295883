"""`make scale-model`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from tools.scale_model.measure import faults, measure
from tools.scale_model.page import page
from tools.scale_model.project import Assumptions

NUMBERS: Final = (1, 4, 16, 64)
_DEFAULT: Final = Assumptions()


def main(
    price: Annotated[
        float, typer.Option(help="Of one gigabyte of memory for one hour.", min=0.0)
    ] = _DEFAULT.price,
    node_gb: Annotated[float, typer.Option(help="Memory of a node.", min=0.1)] = _DEFAULT.node_gb,
    copies: Annotated[int, typer.Option(help="Of the data, with replicas.", min=1)] = _DEFAULT.copies,
    calls: Annotated[int, typer.Option(help="Calls of each kind in one round.", min=1)] = 40,
    rounds: Annotated[int, typer.Option(help="Rounds, of which the median counts.", min=1)] = 7,
    docs: Annotated[Path | None, typer.Option(help="Write scale-model.md into this folder.")] = None,
) -> None:
    """Measure calls on 1, 4, 16 and 64 partitions, and project nodes and money. Exit 1 when a cost is not flat that should be."""
    found = measure(NUMBERS, calls, rounds)
    assumed = _DEFAULT._replace(price=price, node_gb=node_gb, copies=copies)
    text = "\n".join(page(found, assumed, os.getloadavg()[0]))
    typer.echo(text)
    if docs is not None:
        (docs / "scale-model.md").write_text(text, encoding="utf-8")
    problems = faults(found.costs)
    for problem in problems:
        typer.echo(f"scale-model: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
