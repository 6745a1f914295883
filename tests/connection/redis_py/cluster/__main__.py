"""`make cluster-load`: a hot slot moves, a master hands over and a master dies, again and again under 16 writers."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.console import Console

from tests.connection.redis_py.cluster.load import MOST_LOST, WRITERS, Load, move
from tests.servers.cluster import Cluster, running_cluster

FLAVOURS: Final = ("sync", "aio")


def main(
    rounds: Annotated[
        int, typer.Option(help="How many times each flavour goes through everything.", min=1)
    ] = 20,
) -> None:
    """Print the longest pause of a writer for each event. The first broken promise ends it with an error."""
    console = Console(highlight=False)
    with running_cluster() as cluster:
        events = ["key by key", *(["whole"] if cluster.migrates_atomically else []), "handed over", "killed"]
        pauses: dict[str, list[float]] = {event: [] for event in events}
        writes, missing = 0, 0
        for number in range(rounds * len(FLAVOURS)):
            for event in events:
                load = Load(cluster, FLAVOURS[number % 2])
                began = time.monotonic()
                with load.running():
                    pauses[event].append(_happen(cluster, load, event))
                assert load.errors == [], (event, load.errors)
                missing += load.judge(lost=MOST_LOST if event == "killed" else 0)
                writes += load.total
                cluster.restore()
                took = time.monotonic() - began
                console.print(
                    f"cluster-load: {load.flavour}: {event}: {pauses[event][-1]:.3f} s, {took:.0f} s in all"
                )
    for event, found in pauses.items():
        console.print(
            f"cluster-load: {event}: longest pause of a writer: median {sorted(found)[len(found) // 2]:.3f} s, worst {max(found):.3f} s"
        )
    console.print(
        f"cluster-load: {rounds} rounds, {writes} acknowledged writes, of which killed masters took {missing} along, no error reached a caller"
    )


def _happen(cluster: Cluster, load: Load, event: str) -> float:
    if event in ("key by key", "whole"):
        return move(cluster, load, whole=event == "whole")
    load.pauses.clear()
    if event == "killed":
        cluster.kill(cluster.owner(load.slot))
    else:
        cluster.fail_over(cluster.replica_of(cluster.owner(load.slot)))
    load.progress(4 * WRITERS)
    return float(max(load.pauses.values(), default=0))


if __name__ == "__main__":
    typer.run(main)
