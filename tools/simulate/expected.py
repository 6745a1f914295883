"""Faults that are known and not fixed yet. Remove a line when its fault is fixed: from then on it is a violation again.

A line is the beginning of a signature, a part of the violation's text or nothing, and the fault's name.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tools.simulate.run import Violation


class Known(NamedTuple):
    """A known fault.

    Attributes:
        signature: what the violation's signature begins with.
        text: a part of its text.
        name: of the fault.
    """

    signature: str
    text: str
    name: str


LOCKED: Final = "a guard on a row that is only locked counts as proof that a try did not land"
HEADS: Final = "a write was carried out, and reading the heads that it wrote fails"
AGAIN: Final = (
    "a try that may have landed is made again as another plan, or after it was undone, or arrives late"
)
TWICE: Final = "a revision is handed out twice: once before a tail was lost, once behind it"
FORGET: Final = "a late plan of `forget` meets a row that came back and was freed again"

_REPEATED: Final = Known("", " ", TWICE)

EXPECTED: Final[tuple[Known, ...]] = (
    _REPEATED,
    Known("exactly once: counter.audit", "", LOCKED),
    Known("promise, in doubt: counter.audit", "", LOCKED),
    Known("promise, in doubt: ", "ended with StoreTimeoutError", HEADS),
    Known("promise, in doubt: ", "ended with StoreUnavailableError", HEADS),
    Known("promise, in doubt: ", "ended with StoreLoadingError", HEADS),
    Known("promise, in doubt: ", "", AGAIN),
    Known("exactly once: account.buy", "", AGAIN),
    Known("register, ", "", AGAIN),
    Known("drift", "Ticket.", FORGET),
)


def known(violation: Violation, expected: tuple[Known, ...] = EXPECTED) -> Known | None:
    """The known fault that a violation is, as far as its words show."""
    if " after a repeated revision" in violation.checker:
        return _REPEATED if _REPEATED in expected else None
    for each in expected:
        if (
            each is not _REPEATED
            and violation.signature.startswith(each.signature)
            and each.text in violation.text
        ):
            return each
    return None
