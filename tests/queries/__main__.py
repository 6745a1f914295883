"""`make parity-queries`: many random queries on Keyweave and on PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from tests.queries.compare import play

BLOCK = 250
"""Queries on the rows of one seed."""


def main(
    queries: Annotated[int, typer.Option(help="How many random queries to compare.", min=1)] = 10_000,
    seed: Annotated[
        int, typer.Option(help="The first seed; each one draws the same rows and queries again.")
    ] = 2026,
) -> None:
    """Compare random queries, with writes between them and between their pages."""
    for number, start in enumerate(range(0, queries, BLOCK)):
        play(seed + number, min(BLOCK, queries - start))
        typer.echo(f"seed {seed + number}: {min(queries, start + BLOCK):,} queries, no difference")


if __name__ == "__main__":
    typer.run(main)
