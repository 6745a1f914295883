"""`make parity-partitions`: many random calls on one partition and on several."""

from __future__ import annotations

from typing import Annotated

import typer

from tests.partitioned.parity.play import play

BLOCK = 250
"""Steps on the rows of one seed."""


def main(
    steps: Annotated[int, typer.Option(help="How many random calls to compare.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="The first seed; each one draws the same calls again.")] = 2026,
) -> None:
    """Compare random calls on 1, 8 and 16 partitions; KEYWEAVE_TEST_CHANNEL=cluster puts them on a cluster."""
    for number, start in enumerate(range(0, steps, BLOCK)):
        play(seed + number, min(BLOCK, steps - start))
        typer.echo(f"seed {seed + number}: {min(steps, start + BLOCK):,} calls, no difference")


if __name__ == "__main__":
    typer.run(main)
