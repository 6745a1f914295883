"""`make parity`: many random histories on Keyweave and on PostgreSQL, on several processes."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tests.parity.running import Count, work
from tests.servers.partitions import chosen_partitions
from tests.servers.running import server_url


def main(
    histories: Annotated[int, typer.Option(help="How many random histories to run.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Which ones; the same seed draws the same histories.")] = 2026,
    processes: Annotated[int, typer.Option(help="On how many processes.", min=1)] = os.cpu_count() or 1,
) -> None:
    """Run random histories of at least 30 steps on Keyweave and on PostgreSQL, and compare every result and error.

    KEYWEAVE_TEST_PARTITIONS is the number of partitions of the executions, and KEYWEAVE_TEST_CHANNEL=cluster puts them on a cluster.
    With several, each transaction stays inside one execution, and so does each task.
    """
    partitions, where = chosen_partitions(), "one partition"
    if partitions > 1:
        where = f"{partitions} partitions (each transaction inside one execution)"
    started = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    reported: Any = spawning.Queue()
    shares = [histories // processes + (number < histories % processes) for number in range(processes)]
    workers = [
        spawning.Process(target=work, args=(server_url(), seed + number, share, reported), daemon=True)
        for number, share in enumerate(shares)
        if share
    ]
    for worker in workers:
        worker.start()
    total, failure, running = Count(), "", len(workers)
    columns = (
        TextColumn("histories"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("histories", total=histories)
        while running and not failure:
            try:
                kind, value = reported.get(timeout=1)
            except queue.Empty:
                failure = _killed(workers)
                continue
            if kind == "step":
                progress.advance(bar)
            elif kind == "done":
                running -= 1
                total.histories += value.histories
                total.steps += value.steps
                total.methods += value.methods
            else:
                failure = value
    for worker in workers:
        if failure:
            worker.terminate()
        worker.join()
    console = Console()
    if failure:
        console.print(failure, markup=False, highlight=False)
        console.print(f"parity: DRIFT (seed {seed})")
        raise typer.Exit(1)
    elapsed = time.monotonic() - started
    console.print(
        f"parity: zero drift in {total.histories} histories, {total.steps} calls of {len(total.methods)} methods, "
        f"{where}, seeds {seed} to {seed + len(workers) - 1}, {elapsed:.0f} s"
    )


def _killed(workers: Sequence[Any]) -> str:
    """The exit of a process that ended without a report; empty if there is none."""
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    return f"a process ended with {codes[0]} before its histories were reported" if codes else ""


if __name__ == "__main__":
    typer.run(main)
