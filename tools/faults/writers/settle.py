"""Settling calls whose outcome is unknown: now and then between a writer's calls, and all of them after the round."""

from __future__ import annotations

import time
from typing import Any, Final

from keyweave.errors import KeyweaveError, OutcomeUnknownError
from tools.faults.history import Settlement
from tools.faults.writers.desk import Desk
from tools.faults.writers.steps import Steps

SETTLE: Final = "settle"
"""The kind of such a call. It writes no row."""

PATIENCE: Final = 10.0
"""Seconds in which the server is reached after a round."""


def settle(desk: Desk) -> Steps:
    """Ask for the outcome of the writer's oldest call that is unknown. An error says that the server was not reached."""
    act, error = desk.unknown[0]
    try:
        settled = yield desk.store.outcome(error)
    except OutcomeUnknownError:
        act.settled = Settlement.OPEN
    else:
        act.settled = Settlement.APPLIED if settled.applied else Settlement.NEVER
        act.returned = _tokens_of(settled.result)
    act.known = time.monotonic()
    del desk.unknown[0]


def settle_all(desk: Desk, until: float) -> Steps:
    """Settle everything, and try again until a moment when the server cannot be reached."""
    while desk.unknown:
        try:
            yield from settle(desk)
        except KeyweaveError:
            if time.monotonic() > until:
                return


def _tokens_of(row: Any) -> list[str] | None:
    if hasattr(row, "tokens"):
        return list(row.tokens)
    return [row.token] if hasattr(row, "token") else None
