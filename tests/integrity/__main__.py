"""`python -m tests.integrity --seeds 1000`: many more random damages than a run of the suite has time for."""

from __future__ import annotations

import argparse
import sys

from tests.integrity.test_random_damage import damage_together, let_a_monkey_in


def main() -> int:
    """Damage, check, repair and compare, with one seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.seeds):
        try:
            damage_together(seed)
            let_a_monkey_in(seed)
        except BaseException:
            sys.stderr.write(f"monkeys: seed {seed} shows a fault (--first {seed} --seeds 1)\n")
            raise
        if (seed + 1) % 100 == 0:
            sys.stdout.write(f"monkeys: {seed + 1 - options.first} seeds\n")
    sys.stdout.write(f"monkeys: {options.seeds} seeds, every damage named, nothing lost\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
