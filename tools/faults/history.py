"""What writers did and what they learned, and when acknowledged writes may have been lost.

Times are seconds of the monotonic clock, which all processes of one machine share.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

FOREVER: Final = math.inf


class Outcome(enum.StrEnum):
    """How a call ended.

    OK: acknowledged. REFUSED: an error that promises that nothing was written. UNKNOWN: `OutcomeUnknownError`, or the call
    was interrupted or cancelled. UNEXPECTED: an error that is not Keyweave's. STUCK: it has not returned.
    """

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNEXPECTED = "unexpected"
    STUCK = "stuck"


class Settlement(enum.StrEnum):
    """What `store.outcome` said of a call that ended with `OutcomeUnknownError`.

    NONE: it was not asked, or not reached. APPLIED and NEVER: it settled the call. OPEN: it could not.
    """

    NONE = ""
    APPLIED = "applied"
    NEVER = "never"
    OPEN = "open"


class Seen(msgspec.Struct):
    """The tokens of a row as an act read, wrote or deleted it."""

    place: str
    tokens: list[str]
    deleted: bool = False


class Act(msgspec.Struct):
    """One call of a writer.

    Attributes:
        token: unique in a round; a write leaves it in each row of `places`.
        kind: the entity and the verb, such as `counter.change`.
        began, ended: when.
        places: the rows that it writes, such as `Counter:c1`.
        seen: the rows that it read or wrote; of its last attempt.
        error: the class of the error; its message is in `message`, the code of the server's error reply in `code`.
        settled: how an unknown outcome was settled, at the moment `known`.
        returned: the tokens of the row that the settled call would have returned; None when it returns no row.
    """

    token: str
    kind: str
    began: float
    ended: float = FOREVER
    places: list[str] = []
    seen: list[Seen] = []
    outcome: Outcome = Outcome.STUCK
    error: str = ""
    code: str = ""
    message: str = ""
    settled: Settlement = Settlement.NONE
    known: float = 0.0
    returned: list[str] | None = None

    @property
    def verdict(self) -> Outcome:
        """How the call ended, by what its caller learned in the end."""
        if self.settled is Settlement.APPLIED:
            return Outcome.OK
        return Outcome.REFUSED if self.settled is Settlement.NEVER else self.outcome

    @property
    def over(self) -> float:
        """When the caller knew how the call had ended."""
        return max(self.ended, self.known)

    def saw(self, place: str, tokens: Sequence[str], *, deleted: bool = False) -> None:
        """Record the tokens of a row."""
        self.seen.append(Seen(place, list(tokens), deleted))

    def __str__(self) -> str:
        text = f"{self.outcome} {self.error} {self.code}".strip()
        if self.message:
            text += f" ({self.message})"
        if self.settled:
            text += f" and later {self.settled}"
        return f"{self.kind} {self.token}, which was answered {text}"


class Loss(NamedTuple):
    """An interval in which acknowledged writes may have been lost, such as a cut tail or a failover.

    Writes that ended before `began` are lost from some moment on, if at all. Writes that began after `ended` are not lost.

    Attributes:
        began, ended: the interval.
        reach: seconds before the interval in which a lost write may have ended.
    """

    began: float
    ended: float
    reach: float = FOREVER


class Happening(NamedTuple):
    """Something that the campaign did to the site.

    Attributes:
        at: when.
        text: what.
    """

    at: float
    text: str


def epoch_of(act: Act, losses: Sequence[Loss]) -> int | None:
    """Return the number of losses before an act, or None if it was running during one."""
    before = sum(loss.ended <= act.began for loss in losses)
    after = sum(loss.began >= act.over for loss in losses)
    return before if before + after == len(losses) else None
