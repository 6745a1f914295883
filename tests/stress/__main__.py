"""`make stress`: each concurrent story of the contract, many times in a row, on the server under test."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.contract.test_auth import test_one_of_fifty_becomes_the_first_admin, test_one_of_many_gets_an_email
from tests.contract.test_completion import test_of_concurrent_completions_one_writes
from tests.contract.test_transactions import (
    test_a_child_may_be_written_before_its_parent_is_locked,
    test_twenty_children_update_their_parent_one_after_the_other,
)
from tests.contract.test_usage import test_concurrent_merges_lose_nothing
from tests.servers.partitions import chosen_partitions
from tests.servers.running import chosen_server

STORIES: Final[dict[str, Callable[[str], None]]] = {
    "one of fifty callers becomes the first admin": test_one_of_fifty_becomes_the_first_admin,
    "one of ten callers gets an email": test_one_of_many_gets_an_email,
    "one of ten completions writes": test_of_concurrent_completions_one_writes,
    "sixty merges of usage lose nothing": test_concurrent_merges_lose_nothing,
    "twenty children update a locked parent": test_twenty_children_update_their_parent_one_after_the_other,
    "twenty children are written, then lock their parent": test_a_child_may_be_written_before_its_parent_is_locked,
}


def main(
    runs: Annotated[int, typer.Option(help="How many times in a row each story has to hold.", min=1)] = 200,
) -> None:
    """Run each concurrent story of the contract many times in a row. The first failure ends it with 1.

    The server is the one that tests use: KEYWEAVE_TEST_SERVER is `embedded` or `redis8`, KEYWEAVE_TEST_CHANNEL may be `cluster`, and
    KEYWEAVE_TEST_PARTITIONS is the number of partitions of the executions.
    """
    console, errors = Console(), Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.monotonic()
    with Progress(*columns, console=errors) as progress:
        for name, story in STORIES.items():
            bar = progress.add_task(name, total=runs)
            for run in range(runs):
                try:
                    story("server")
                except Exception:  # noqa: BLE001 - whatever goes wrong is shown with the run in which it did
                    errors.print(traceback.format_exc(), markup=False, highlight=False)
                    console.print(f"stress: run {run + 1} of {runs} FAILED: {name}")
                    raise typer.Exit(1) from None
                progress.advance(bar)
    elapsed = time.monotonic() - started
    where = (
        f"{chosen_server()}, {chosen_partitions()} partitions" if chosen_partitions() > 1 else chosen_server()
    )
    console.print(f"stress: {len(STORIES)} stories held {runs} runs in a row on {where}, {elapsed:.0f} s")


if __name__ == "__main__":
    typer.run(main)
