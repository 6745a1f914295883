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


EXPECTED: Final[tuple[Known, ...]] = ()


def known(violation: Violation, expected: tuple[Known, ...] = EXPECTED) -> Known | None:
    """The known fault that a violation is, as far as its words show."""
    for each in expected:
        if violation.signature.startswith(each.signature) and each.text in violation.text:
            return each
    return None
