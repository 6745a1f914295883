"""Values that a view cannot order: the server reads scores as 64-bit floats, and an entry holds a string as it is.

Without this check, two whole numbers beyond 2**53 could have one score, and the order between them would be that of their ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from keyweave.model.entity import Entity
from keyweave.model.entry import Entry, ViewEntry
from keyweave.model.member import LONGEST_TEXT, split_member

_EXACT: Final = 1 << 53
"""Every whole number up to this one is a 64-bit float."""

_INEXACT: Final = (
    "an order takes whole numbers beyond 2**53, and microseconds beyond the year 2255, only if a 64-bit float holds them exactly"
)
_TOO_LONG: Final = f"an order of strings takes at most {LONGEST_TEXT:,} characters"


def order_problem(entity: Entity[Any], entries: Iterable[Entry]) -> tuple[str, str] | None:
    """Return the first field whose value a view cannot order exactly, and the rule that it breaks; None if there is none."""
    for entry in entries:
        if type(entry) is not ViewEntry:
            continue
        score = entry.score
        if type(score) is int:
            if not -_EXACT <= score <= _EXACT and not _is_float(score):
                return entity.views[entry.view].order, _INEXACT
            if len(entry.member) > LONGEST_TEXT:
                view = entity.views[entry.view]
                if view.by_text and len(split_member(entry.member)[0]) > LONGEST_TEXT:
                    return view.order, _TOO_LONG
    return None


def _is_float(score: int) -> bool:
    try:
        return int(float(score)) == score
    except OverflowError:
        return False
