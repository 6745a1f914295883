"""Linearizability of one register, by the search of Wing and Gong with Lowe's memory of what was visited.

Each operation takes effect at one moment between its beginning and its end. One that may or may not have happened takes
effect at any later moment, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tools.simulate.history import ABSENT, PRESENT

MOST_STATES: Final = 20_000
"""A search that visits more states gives up."""

FOREVER: Final = 1 << 60


class Event(NamedTuple):
    """One operation on the register.

    Attributes:
        began, ended: ticks; `FOREVER` for one that may still happen.
        read: what must hold: a token, ABSENT, PRESENT, `!token` for another one, or None for anything.
        write: what it leaves: a token, ABSENT, or None for what was there.
        certain: it did happen.
        label: names it.
    """

    began: int
    ended: int
    read: str | None
    write: str | None
    certain: bool
    label: str


def linearizable(events: Sequence[Event], initial: str) -> bool | None:
    """Whether there is an order that explains the events; None when the search gave up."""
    ordered = sorted(events, key=lambda event: (not event.certain, event.ended, event.began))
    goal = sum(1 << place for place, event in enumerate(ordered) if event.certain)
    visited: set[tuple[int, str]] = set()
    stack = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & goal == goal:
            return True
        if (done, value) in visited:
            continue
        visited.add((done, value))
        if len(visited) > MOST_STATES:
            return None
        waiting = [(place, event) for place, event in enumerate(ordered) if not done >> place & 1]
        horizon = min(event.ended for _, event in waiting if event.certain)
        # The stack's last is tried first: certain ones, the earliest end first.
        for place, event in reversed(waiting):
            if event.began > horizon or not _holds(event.read, value):
                continue
            if event.write is None:
                if not event.certain:
                    continue
                # A read that holds now may as well happen now.
                stack.append((done | 1 << place, value))
            else:
                stack.append((done | 1 << place, event.write))
    return False


def _holds(read: str | None, value: str) -> bool:
    if read is None or read == value:
        return True
    if read == PRESENT:
        return value != ABSENT
    return read[0] == "!" and value not in (ABSENT, read[1:])
