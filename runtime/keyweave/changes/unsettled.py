"""A write whose outcome is not known yet, with what is needed to settle it once the server can be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keyweave.changes.answer import Ticket
from keyweave.changes.change import Change
from keyweave.changes.plan import Plan


@dataclass(slots=True)
class Fate:
    """What became of a plan. The errors of all rows of a plan share it.

    Attributes:
        applied: None while it is not known.
        unconfirmed: why a durable store did not have it confirmed, in words; None if nothing was missing.
    """

    applied: bool | None = None
    unconfirmed: str | None = None


@dataclass(slots=True)
class Unsettled:
    """What an `OutcomeUnknownError` carries.

    Attributes:
        plan: what was sent.
        ticket: its place in the ledger.
        until: the server's time, in microseconds since 1970, after which it is not applied.
        changes: what the plan writes, so that the records can remember it.
        result: what the call returns if the plan was applied.
        fate: what became of the plan.
        durable: the level on which the write was to be confirmed; None: on none.
        unconfirmed: why homes on which it rests were not confirmed, in words; None if nothing was missing.
    """

    plan: Plan
    ticket: Ticket
    until: int
    changes: list[Change] = field(default_factory=list)
    result: Any = None
    fate: Fate = field(default_factory=Fate)
    durable: str | None = None
    unconfirmed: str | None = None


class Settled(NamedTuple):
    """The outcome of a write that was unknown.

    Attributes:
        applied: whether the write happened; if not, it never will.
        result: what the call would have returned; None when the write did not happen.
    """

    applied: bool
    result: Any = None
