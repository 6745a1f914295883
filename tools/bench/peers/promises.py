"""What each side promises, counted: unique values and increments under a race, and what expired rows leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.bench.peers import race
from tools.bench.peers.results import Guarantees
from tools.bench.peers.rows import row
from tools.bench.peers.side import Side, Taken

ENDING: Final = "ending"
"""Owner of the rows that expire."""

_FIRST: Final = 4_000_000
_TAKEN: Final = 5_000_000
_PATIENCE: Final = 15.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is tried: see `Race`; `ended` rows expire."""

    processes: int
    values: int
    adds: int
    ended: int


def count(sides: Sequence[Side], socket: str, namespace: str, amounts: Amounts) -> tuple[Guarantees, ...]:
    """Count what every side promises. Rows of the races stay where they are."""
    for side in sides:
        side.create(row(race.TARGET))
    names = tuple(side.name for side in sides)
    race.run(race.Race(socket, namespace, names, amounts.processes, amounts.values, amounts.adds))
    before = [side.entries() for side in sides]
    for side in sides:
        for number in range(amounts.ended):
            side.create_ending(row(_FIRST + number, slug=f"ending-{number}", owner=ENDING))
    return tuple(_guarantees(side, amounts, entries) for side, entries in zip(sides, before, strict=True))


def _guarantees(side: Side, amounts: Amounts, before: int) -> Guarantees:
    _wait_until_ended(side, amounts.ended)
    visible = max(len(side.page("owner", ENDING)), side.count("owner", ENDING))
    entries = side.entries() - before
    free = side.create_if_free(row(_TAKEN, slug="ending-0"))
    if free:
        side.delete(_TAKEN)
    side.clean()
    cleaned = side.entries() - before
    side.forget()
    counted = side.plain(side.get(race.TARGET)).visits
    return Guarantees(
        side=side.name,
        values=amounts.values,
        rows=side.count("owner", race.OWNER),
        added=amounts.processes * amounts.adds,
        counted=counted,
        ended=amounts.ended,
        visible=visible,
        entries=entries,
        cleaned=cleaned,
        free=free,
        refuses=_refuses(side),
    )


def _refuses(side: Side) -> bool:
    """Whether a second row with a unique value is refused by the library itself."""
    try:
        side.create(row(_TAKEN + 1, slug="slug-0"))
    except Taken:
        return True
    return False


def _wait_until_ended(side: Side, ended: int) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        side.forget()
        if all(side.get(_FIRST + number) is None for number in range(ended)):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"peers: {side.name}: rows that should have expired are still there")
        time.sleep(0.02)  # asked again until they are gone or the deadline passes
