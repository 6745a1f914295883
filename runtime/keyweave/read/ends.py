"""Ends of stretches: values as the numbers or texts that a view orders by, and whether comparing those is exact."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from sys import float_info
from typing import Any, Final

from keyweave.model.entity import Entity
from keyweave.model.exact import decimal_score, is_exact_score
from keyweave.model.member import HIGHEST, after_prefix, after_text, from_text
from keyweave.model.moment import duration_micros, time_micros, to_days, to_micros
from keyweave.query import Range, StartsWith
from keyweave.read.query import in_text

EXACT: Final = 1 << 53
"""Scores are 64-bit floats, so whole numbers below this one are exact."""


def widest_ends(entity: Entity[Any], order: str) -> tuple[Any, Any]:
    """Return the ends of a whole order: infinite scores, or texts in an order of strings."""
    return (b"", HIGHEST) if in_text(entity, order) else (-math.inf, math.inf)


def order_ends(entity: Entity[Any], order: str, wanted: Range[Any] | StartsWith) -> tuple[Any, Any]:
    """Return the ends of a range in an order, of the kind of `widest_ends`."""
    low, high = widest_ends(entity, order)
    if isinstance(wanted, StartsWith):
        return from_text(wanted.prefix), after_prefix(wanted.prefix)
    text = isinstance(low, bytes)
    if wanted.low is not None:
        low = from_text(wanted.low) if text else _score(wanted.low)
    if wanted.high is not None:
        high = after_text(wanted.high) if text else _score(wanted.high)
    return low, high


def _score(value: Any) -> float:
    """Return a value as a score; the farthest one for a whole number that is beyond every score."""
    score = score_of_value(value)
    try:
        return float(score)
    except OverflowError:
        return float_info.max if score > 0 else -float_info.max


def is_exact(wanted: Range[Any] | StartsWith) -> bool:
    """Return whether comparing scores with the ends is as exact as comparing values."""
    if isinstance(wanted, StartsWith):
        return True
    for end in (wanted.low, wanted.high):
        if isinstance(end, Decimal):
            if not is_exact_score(end):
                return False
        elif (
            end is not None and not isinstance(end, str | float) and not -EXACT < score_of_value(end) < EXACT
        ):
            return False
    return True


def score_of_value(value: Any) -> Any:
    """Return the number that orders a field's value in a view: moments, times and durations in microseconds, dates in days."""
    if isinstance(value, datetime):
        return to_micros(value)
    if isinstance(value, date):
        return to_days(value)
    if isinstance(value, time):
        return time_micros(value)
    if isinstance(value, Decimal):
        return decimal_score(value)
    if isinstance(value, timedelta):
        return duration_micros(value)
    return value
