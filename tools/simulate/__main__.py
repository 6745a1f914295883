"""The command: `python -m tools.simulate --seeds 1000`. Exits with 1 when a promise was broken."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import defaultdict

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tools.simulate.campaign import Tally, campaign
from tools.simulate.report import explain, shrunk
from tools.simulate.run import Violation, play
from tools.simulate.scenario import scenario

CONSOLE = Console(highlight=False)


def main() -> int:
    """Play seeds, shrink and print the first that breaks a promise, and print a table of all."""
    options = _options()
    if options.mutants:
        from tools.simulate.mutants import hunt

        return hunt(CONSOLE, options.first or 0)
    first = options.first if options.first is not None else secrets.randbelow(1 << 40)
    if options.seconds is None:
        CONSOLE.print(f"simulate: seeds from {first}; again with FIRST={first} SEEDS={options.seeds}")
    else:
        CONSOLE.print(f"simulate: fresh seeds from {first} on, for {options.seconds:g} s or until one fails")
    total, started = Tally(), time.monotonic()

    def more() -> bool:
        if options.seconds is None:
            return True
        return not total.violations and time.monotonic() - started < options.seconds

    with Live(console=CONSOLE, refresh_per_second=4, transient=True) as live:
        for part in campaign(first, options.seeds, options.jobs, more):
            total.add(part)
            live.update(_progress(total, time.monotonic() - started))
    CONSOLE.print(_progress(total, time.monotonic() - started))
    if options.seconds is not None:
        CONSOLE.print(f"simulate: played seeds {first} to {first + total.seeds - 1}")
    return _conclude(total)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to play at most")
    parser.add_argument("--first", type=int, help="the first seed; a fresh one by default")
    parser.add_argument(
        "--seconds", type=float, help="begin no more seeds after this time, or after a violation"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes to play on")
    parser.add_argument("--mutants", action="store_true", help="plant faults and see that each is found")
    return parser.parse_args()


def _progress(total: Tally, elapsed: float) -> Text:
    faults = sum(total.faults.values())
    return Text(
        f"{total.seeds:,} seeds, {total.exchanges:,} exchanges in {elapsed:.0f} s "
        f"({total.pace:,.0f} a minute of one core), {faults:,} faults, {len(total.violations)} violations"
    )


def _conclude(total: Tally) -> int:
    CONSOLE.print(
        "operations: " + ", ".join(f"{number:,} {name}" for name, number in total.outcomes.most_common())
    )
    CONSOLE.print("faults: " + ", ".join(f"{number:,} {name}" for name, number in total.faults.most_common()))
    CONSOLE.print(f"longest over budget and timeout: {total.overshoot:.3f} s; undecided: {total.undecided}")
    if not total.violations:
        return 0
    CONSOLE.print(_table(total.violations))
    seed, violation = min(total.violations, key=lambda pair: pair[0])
    whole = scenario(seed)
    CONSOLE.print(f"shrinking seed {seed}; the whole of it: FIRST={seed} SEEDS=1")
    small = shrunk(whole, play(whole), violation)
    for line in explain(small, violation):
        CONSOLE.print(line, soft_wrap=True, markup=False, emoji=False)
    return 1


def _table(violations: list[tuple[int, Violation]]) -> Table:
    table = Table("signature", "seeds")
    seeds: dict[str, set[int]] = defaultdict(set)
    for seed, violation in violations:
        seeds[violation.signature].add(seed)
    for signature, failed in sorted(seeds.items()):
        table.add_row(signature, f"{len(failed)}: {', '.join(map(str, sorted(failed)[:5]))}")
    return table


if __name__ == "__main__":
    sys.exit(main())
