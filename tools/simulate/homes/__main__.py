"""The command: `python -m tools.simulate.homes --seeds 10000`. Exits with 1 when a promise was broken, or a planted fault not found."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tools.simulate.homes.mutants import MUTANTS, find
from tools.simulate.homes.play import crashes, play
from tools.simulate.homes.scenario import Scenario, scenario

CONSOLE = Console(highlight=False)


def main() -> int:
    """Play seeds, or plant faults."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate.homes", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--crashes", action="store_true", help="of each seed, one run for a crash at each exchange"
    )
    parser.add_argument("--mutants", action="store_true", help="plant faults and see that each is found")
    options = parser.parse_args()
    if options.mutants:
        return _hunt(options.first)
    return _play(options.first, options.seeds, each_crash=options.crashes)


def _play(first: int, seeds: int, *, each_crash: bool) -> int:
    began, runs, exchanges, left, broken = time.process_time(), 0, 0, 0, 0
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        for each in _runs(seed, each_crash=each_crash):
            played = play(each)
            runs, exchanges, left = runs + 1, exchanges + len(played.places), left + played.left
            faults += played.faults
            outcomes += played.outcomes
            for violation in played.violations:
                broken += 1
                CONSOLE.print(
                    f"seed {seed} {each.crash or ''}: {violation.promise}: {violation.text}", markup=False
                )
    spent = time.process_time() - began
    CONSOLE.print(
        f"{seeds:,} seeds, {runs:,} runs, {exchanges:,} exchanges in {spent:.0f} s of the processor, {broken} violations"
    )
    CONSOLE.print("operations: " + ", ".join(f"{number:,} {name}" for name, number in outcomes.most_common()))
    CONSOLE.print("faults: " + ", ".join(f"{number:,} {name}" for name, number in faults.most_common()))
    CONSOLE.print(f"homes without a row, removed at the end: {left:,}")
    return 1 if broken else 0


def _runs(seed: int, *, each_crash: bool) -> Iterator[Scenario]:
    if each_crash:
        yield from crashes(scenario(seed))
    else:
        yield scenario(seed)


def _hunt(first: int) -> int:
    table, missed = Table("planted fault", "seed", "found as"), 0
    for mutant in MUTANTS:
        found = find(mutant, first)
        missed += found is None
        table.add_row(mutant.name, *((str(found[0]), found[1].promise) if found else ("", "not found")))
    CONSOLE.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
