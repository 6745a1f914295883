"""Adopts random databases and an odd one whole, and kills adoptions at random moments while the source changes: `make adopt`."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from tests.adopt.database import Adoption, adoption, database, run, sql
from tests.adopt.test_drawn import accepted
from tests.adopt.test_odd_rows import bring_odd_rows
from tests.servers.running import new_namespace

console: Final = Console()

LONGEST: Final = 3.0
"""Seconds after which a run is killed at the latest."""

CHANGES: Final = (
    "update orders set note = 'changed {number}', total = total + 1 where id = md5('o{pick}')::uuid",
    "update customers set tags = tags || array['r{number}'], updated_at = clock_timestamp() where id = 1 + {pick} % 60",
    "update products set stock = stock + 1 where sku = 'SKU-' || 1 + {pick} % 50 and state <> 'gone'",
    "insert into customers (email, full_name, password_hash) values ('new{number}@x', 'New', '')",
    "update customers set email = 'moved{number}@x' where id = 1 + {pick} % 60",
)


def killed(adopted: Adoption, seconds: float) -> bool:
    """Run the second step, and kill it after some time; return whether it was still running."""
    words = [sys.executable, "-m", "keyweave.cli", "adopt", adopted.url, *adopted.row_options()]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def one_round(adopted: Adoption, draw: random.Random) -> int:
    """Kill and change until a run gets through; return the number of kills. Both sides are equal at the end."""
    kills = 0
    for number in range(6):
        kills += killed(adopted, draw.uniform(0.3, LONGEST))
        for text in draw.sample(CHANGES, 2):
            run(
                adopted.url, text.format(number=f"{number}_{draw.randrange(10**9)}", pick=draw.randrange(100))
            )
    tables = adopted.tables()
    failed = {label: table for label, table in tables.items() if not table["equal"]}
    assert not failed, failed
    return kills


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--schemas", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    began, home = time.monotonic(), Path.cwd()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        odd = Path(folder, "odd")
        odd.mkdir()
        bring_odd_rows(adoption(database(sql("odd"), sql("odd_rows")), odd, patch))
        console.print("the odd database: every row is there, or is reported")
        drawn = database()
        for number in range(options.schemas):
            accepted(drawn, f"{options.seed} {number}")
        console.print(f"{options.schemas} random databases: each schema is accepted")
        shop = Path(folder, "shop")
        shop.mkdir()
        adopted = adoption(database(sql("shop")), shop, patch)
        adopted.schema()
        kills = 0
        for number in range(options.rounds):
            fresh = replace(adopted, namespace=new_namespace("adopt"))
            kills += one_round(fresh, random.Random(f"{options.seed} {number}"))
        os.chdir(home)
    console.print(
        f"{options.rounds} rounds, {kills} kills in {time.monotonic() - began:.0f} s: both sides are equal at the end of each"
    )


if __name__ == "__main__":
    main()
