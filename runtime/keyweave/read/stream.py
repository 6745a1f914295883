"""Streams: sorted lists of a view that reads merge by (score, member), each asked after the same position.

A member names the row to read. Filters, `one_of`, `|` and pages are all made of streams.
"""

from __future__ import annotations

import math

import msgspec

from keyweave.model.entity import View


class Stream(msgspec.Struct, frozen=True, gc=False):
    """A list of a view, or a stretch of it.

    Attributes:
        view: the view.
        values: key texts of its fields.
        ends: lowest and highest score, both included, as the server reads them; empty for the whole list.
    """

    view: View
    values: tuple[str, ...]
    ends: tuple[str, str] | tuple[()] = ()

    def holds(self, score: float) -> bool:
        """Whether a score is between the ends."""
        return not self.ends or float(self.ends[0]) <= score <= float(self.ends[1])


def ends_of(low: float, high: float) -> tuple[str, str] | tuple[()]:
    """Return the ends of a stretch; infinite ends are open."""
    if math.isinf(low) and math.isinf(high):
        return ()
    return (score_text(low), score_text(high))


def score_text(score: float) -> str:
    """Return a score as the server writes and reads it."""
    if math.isinf(score):
        return "-inf" if score < 0 else "+inf"
    return f"{score:.17g}"
