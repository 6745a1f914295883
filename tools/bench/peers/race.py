"""Races of several processes on every side: unique values that all of them want, and one row that all of them increment.

A process of its own imports the libraries once and forks the racers, so that they begin at the same moment. It runs as
`python -m tools.bench.peers.race`, with a JSON document of `Race` as its only argument.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import msgspec

from tools.bench.peers.opening import SIDES, place
from tools.bench.peers.rows import row

ROOT: Final = Path(__file__).resolve().parents[3]

TARGET: Final = 2_000_000
"""Number of the row that is incremented."""
OWNER: Final = "race"
"""Owner of the rows with unique values that all processes want."""

_FIRST: Final = 3_000_000
_PATIENCE: Final = 60.0


class Race(msgspec.Struct, frozen=True):
    """A race.

    Attributes:
        socket: of the server.
        namespace: of all sides.
        sides: names of the sides that take part, one after another.
        processes: on each side.
        values: unique values, each of which every process tries to take.
        adds: increments of the row `TARGET` by each process.
    """

    socket: str
    namespace: str
    sides: tuple[str, ...]
    processes: int
    values: int
    adds: int


def run(race: Race) -> None:
    """Run the races in processes of their own, and wait for their end.

    Raises:
        RuntimeError: one of them failed.
    """
    words = [sys.executable, "-m", "tools.bench.peers.race", msgspec.json.encode(race).decode()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"peers: the race failed:\n{done.stderr[-2000:]}")


def _racer(race: Race, number: int, barrier: Barrier) -> None:
    for kind in SIDES:
        if kind.name not in race.sides:
            continue
        side = kind(place(kind, race.socket, race.namespace))
        try:
            for value in range(race.values):
                wanted = row(_FIRST + value * race.processes + number, slug=f"race-{value}", owner=OWNER)
                barrier.wait(_PATIENCE)
                side.create_if_free(wanted)
            side.learn([TARGET])
            barrier.wait(_PATIENCE)
            for _ in range(race.adds):
                side.forget()
                side.visit(TARGET)
        finally:
            side.close()


def _main() -> int:
    race = msgspec.json.decode(sys.argv[1], type=Race)
    for kind in SIDES:
        if kind.name in race.sides:
            kind.prepare()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(race.processes)
    racers = [
        context.Process(target=_racer, args=(race, number, barrier)) for number in range(race.processes)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return max(abs(racer.exitcode or 0) for racer in racers)


if __name__ == "__main__":
    sys.exit(_main())
