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


UPSERT: Final = "an upsert that may have landed is tried again as another plan"
LATE: Final = "a first try arrives after its retry was answered, or a retry repeats what was undone meanwhile"

EXPECTED: Final[tuple[Known, ...]] = (
    Known("exactly once: counter.audit", "", "a guard on a row that is only locked counts as proof that a try failed"),
    Known("promise: ", "ended with StoreTimeoutError", "reading the heads of a write that was carried out fails"),
    Known("promise: ", "ended with StoreUnavailableError", "reading the heads of a write that was carried out fails"),
    Known("promise: ", "ended with StoreLoadingError", "reading the heads of a write that was carried out fails"),
    Known("promise: item.upsert", "ended with CodeTakenError", UPSERT),
    Known("promise: box.upsert", "", UPSERT),
    Known("register: item.upsert", "", UPSERT),
    Known("register: item.create, item.upsert", "", UPSERT),
    Known("register: box.upsert", "", UPSERT),
    Known("register", "", LATE),
    Known("drift", "claim without a document", LATE),
    Known("drift", "its documents imply {}", LATE),
)


def known(violation: Violation, expected: tuple[Known, ...] = EXPECTED) -> Known | None:
    """The known fault that a violation is, as far as its words show."""
    for each in expected:
        if violation.signature.startswith(each.signature) and each.text in violation.text:
            return each
    return None
