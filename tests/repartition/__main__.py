"""Rounds of `tests.repartition.load`; `make repartition-load` runs them on a cluster of three masters."""

from __future__ import annotations

import argparse
import sys

from keyweave.exchange import lease
from keyweave.store import doubling
from tests.repartition.load import play


def main() -> None:
    """Run the rounds; an assertion or an error of a worker ends them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # Stores and the command of this process share a short lease, within which their operations end.
    doubling.LEASE = 1.0  # type: ignore[misc]
    lease.may_outlast = lambda *_: False  # type: ignore[attr-defined]
    for seed in range(given.seed, given.seed + given.rounds):
        operations, rows, slowest = play(seed)
        sys.stdout.write(f"seed {seed}: {operations:,} operations, {rows} rows, slowest {slowest:.2f} s\n")
        sys.stdout.flush()


main()
