"""The command: `python -m tools.simulate.partitions --seeds 10000`. Exits with 1 when a promise was broken, or a planted fault not found."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from rich.console import Console
from rich.table import Table

from tools.simulate.campaign import Tally
from tools.simulate.partitions.mutants import MUTANTS, find
from tools.simulate.partitions.run import play
from tools.simulate.partitions.scenario import scenario
from tools.simulate.report import explain, shrunk
from tools.simulate.run import Violation
from tools.simulate.scenario import Scenario

CONSOLE = Console(highlight=False, soft_wrap=True)

_AT_ONCE: Final = 50
"""Seeds that a process is given at once."""

_PATIENCE: Final = 600.0
"""Seconds of the processor for which a planted fault is hunted. The one that shows least often takes about 200."""


def main() -> int:
    """Play seeds, shrink and print the first that breaks a promise; or plant faults."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate.partitions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes to play on")
    parser.add_argument(
        "--crashes", action="store_true", help="of each seed, one run for a crash at each exchange"
    )
    parser.add_argument("--mutants", action="store_true", help="plant faults and see that each is found")
    options = parser.parse_args()
    if options.mutants:
        return _hunt(options.first)
    return _play(options.first, options.seeds, options.jobs, each_crash=options.crashes)


def _play(first: int, seeds: int, jobs: int, *, each_crash: bool) -> int:
    total = Tally()
    work = crash_everywhere if each_crash else tally
    parts = [range(at, min(at + _AT_ONCE, first + seeds)) for at in range(first, first + seeds, _AT_ONCE)]
    if jobs == 1:
        for part in parts:
            total.add(work(part))
    else:
        with ProcessPoolExecutor(jobs) as pool:
            for each in pool.map(work, parts):
                total.add(each)
    CONSOLE.print(
        f"{total.seeds:,} runs, {total.exchanges:,} exchanges, {sum(total.faults.values()):,} faults "
        f"in {total.seconds:.0f} s of the processor, {len(total.violations)} violations"
    )
    CONSOLE.print("operations: " + _listed(total.outcomes))
    CONSOLE.print("faults: " + _listed(total.faults))
    CONSOLE.print(f"histories that were too long to judge: {total.undecided}")
    if not total.violations:
        return 0
    for seed, violation in total.violations:
        CONSOLE.print(f"seed {seed}: {violation.signature}", markup=False)
    if not each_crash:
        _explain(*min(total.violations, key=lambda pair: pair[0]))
    return 1


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counter.most_common())


def _explain(seed: int, violation: Violation) -> None:
    whole = scenario(seed)
    small = shrunk(whole, play(whole), violation, playing=play)
    for line in explain(small, violation, playing=play):
        CONSOLE.print(line, markup=False, emoji=False)


def tally(seeds: range) -> Tally:
    """Play seeds in this process."""
    return _tally((seed, scenario(seed)) for seed in seeds)


def crash_everywhere(seeds: range) -> Tally:
    """Play seeds without faults, once for each exchange with a crash of the process that sends it."""
    return _tally(_crashes(seeds))


def _crashes(seeds: range) -> Iterator[tuple[int, Scenario]]:
    for seed in seeds:
        quiet = scenario(seed).without(rates={}, events=())
        for place in play(quiet).places:
            yield seed, quiet.without(rates={"crash": 1.0}, only=frozenset((place,)))


def _tally(scenarios: Iterable[tuple[int, Scenario]]) -> Tally:
    found, began = Tally(), time.process_time()
    for seed, each in scenarios:
        played = play(each)
        found.seeds += 1
        found.exchanges += played.exchanges
        found.undecided += played.undecided
        found.faults.update(kind for _, kind in played.faults)
        found.faults.update(f"server: {kind}" for kind in played.events.elements())
        found.outcomes.update(played.outcomes)
        found.violations += [(seed, violation) for violation in played.violations]
    found.seconds = time.process_time() - began
    return found


def _hunt(first: int) -> int:
    table, missed = Table("planted fault", "seed", "found as"), 0
    for mutant in MUTANTS:
        found = find(mutant, first, _PATIENCE)
        missed += found is None
        table.add_row(mutant.name, *((str(found[0]), found[1].signature) if found else ("", "not found")))
    CONSOLE.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
