"""What a round left behind for the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tools.faults.history import Act, Happening, Loss, Outcome
from tools.faults.pulse import Stall
from tools.faults.settings import Settings


class Violation(NamedTuple):
    """A promise that was broken.

    Attributes:
        checker: which checker found it.
        signature: what it has in common with others of its kind.
        text: what happened.
        act: the call that it is about, if it is about one.
    """

    checker: str
    signature: str
    text: str
    act: Act | None = None


class Report(NamedTuple):
    """What one process of writers reported, except for its acts.

    Attributes:
        flavour: `sync` or `aio`.
        pool: connections that are open, idle and waited for, after the last call; None when a call has not returned.
        interrupted: how many calls were interrupted.
        recovery: the error of a read after the round; empty when it was answered.
    """

    flavour: str
    pool: tuple[int, int, int] | None
    interrupted: int
    recovery: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One round.

    Attributes:
        settings: of the round.
        acts: every call of every writer.
        losses: when acknowledged writes may have been lost, in their order.
        rows: every live row, by name of its entity.
        drift: what `store.check()` found, with numbers.
        reports: of the processes of writers.
        struck: how often each kind of fault happened.
        happenings: what the faults did.
        began: when the writers began.
        stalls: when the machine did not run the campaign.
        violations: what the judge found.
        lost: acknowledged writes that were lost and may be.
    """

    settings: Settings
    acts: Sequence[Act]
    losses: Sequence[Loss]
    rows: Mapping[str, Sequence[Any]]
    drift: Mapping[str, int]
    reports: Sequence[Report]
    struck: Mapping[str, int]
    happenings: Sequence[Happening] = ()
    began: float = 0.0
    stalls: Sequence[Stall] = ()
    violations: list[Violation] = field(default_factory=list)
    lost: list[Act] = field(default_factory=list)

    def complain(self, checker: str, signature: str, text: str, act: Act | None = None) -> None:
        """Record a violation."""
        self.violations.append(Violation(checker, signature, text, act))

    def may_be_lost(self, act: Act) -> bool:
        """Whether a fault of the round may have lost an acknowledged act."""
        return any(act.began <= loss.ended and act.over >= loss.began - loss.reach for loss in self.losses)

    def seconds(self, act: Act) -> float:
        """Return how long an act took, without the time in which the machine did not run the campaign."""
        stalled = (min(act.ended, stall.ended) - max(act.began, stall.began) for stall in self.stalls)
        return act.ended - act.began - sum(max(0.0, each) for each in stalled)

    def ended(self, outcome: Outcome) -> int:
        """Return the number of acts that ended so."""
        return sum(act.outcome is outcome for act in self.acts)
