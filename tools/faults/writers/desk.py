"""What an operation works with: the store, a source of chance, and the act that it reports."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from keyweave.errors import KeyweaveError, OutcomeUnknownError
from tools.faults.history import Act, Outcome
from tools.faults.writers.steps import Steps, closure

COUNTERS: Final = tuple(f"c{number}" for number in range(4))
ACCOUNTS: Final = tuple(f"a{number}" for number in range(6))
ITEMS: Final = tuple(f"i{number}" for number in range(4))
BOXES: Final = tuple(f"b{number}" for number in range(3))
PARTS: Final = tuple(f"p{number}" for number in range(24))
CODES: Final = tuple(f"code{number}" for number in range(24))
"""Ids of rows and unique codes. They are few, so that writers meet."""

_FRAMES: Final = 6

BALANCE: Final = 100
"""What every account begins with."""


class Desk:
    """One writer's place of work.

    Args:
        store: of either flavour.
        flavour: `sync` or `aio`.
        models: the generated package.
        number: of the writer.
        chance: decides what the writer does.

    Attributes:
        act: the present call.
        claims: ids of the claims that this writer holds, as far as it knows.
        unknown: calls whose outcome is unknown and not settled, with their errors; the oldest first.
    """

    def __init__(self, store: Any, flavour: str, models: Any, number: int, chance: random.Random) -> None:
        self.store: Final = store
        self.flavour: Final = flavour
        self.models: Final = models
        self.chance: Final = chance
        self.claims: list[str] = []
        self.unknown: list[tuple[Act, OutcomeUnknownError]] = []
        self.act: Act
        self._number: Final = number
        self._acts = 0

    def begin(self, kind: str, now: float) -> Act:
        """Begin an act with a new token."""
        self._acts += 1
        self.act = Act(f"{self._number}-{self._acts}", kind, now)
        return self.act

    def transact(self, function: Callable[[Any], Steps]) -> Any:
        """Run steps in a transaction. They begin anew in every attempt."""

        def attempt(transaction: Any) -> Steps:
            self.act.seen = []
            return (yield from function(transaction))

        return self.store.transact(closure(self.flavour, attempt))

    def note_outcome(self, error: BaseException | None, now: float) -> None:
        """Record how the present act ended."""
        act = self.act
        act.ended = now
        if error is None:
            act.outcome = Outcome.OK
            return
        act.error, act.code = type(error).__name__, getattr(error, "code", "")
        act.message = str(error)[:200]
        if isinstance(error, OutcomeUnknownError):
            act.outcome = Outcome.UNKNOWN
            self.unknown.append((act, error))
        elif act.error in INTERRUPTIONS:
            act.outcome = Outcome.UNKNOWN
        elif isinstance(error, KeyweaveError):
            act.outcome = Outcome.REFUSED
        else:
            act.outcome = Outcome.UNEXPECTED

    def two(self, ids: tuple[str, ...]) -> list[str]:
        """Draw two different ids, in their order: transactions that lock in one order do not block each other."""
        return sorted(self.chance.sample(ids, 2))


def place(stack: traceback.StackSummary) -> str:
    """Return the innermost frames of a call that has not returned."""
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in stack[-_FRAMES:])


INTERRUPTIONS: Final = frozenset({"Interrupted", "TimeLimitError", "CancelledError"})
"""Classes of what a process throws into its own writers."""
