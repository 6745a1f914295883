"""Exact values: decimals within the limits of their field, local times, and arithmetic that never rounds.

Decoding JSON checks types, lengths and patterns, but not these: a decimal with too many places, a float in a field of
decimals, NaN, and a time of day with a time zone that would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from keyweave.model.record import Value

EXACT: Final = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, clamp=0, traps=[InvalidOperation, Inexact]
)
"""The arithmetic of checks and merges: Python's own context rounds to 28 digits."""

MOST_SCORE_DIGITS: Final = 15
"""Digits up to which different decimals have different scores."""

MOST_DIGITS: Final = 1000
"""Digits of a decimal whose field declares none, as many as PostgreSQL's `numeric` can declare."""

Problem: TypeAlias = tuple[str, str]
"""The path of a value, such as `lines[0].price`, and the rule that it breaks."""

Find: TypeAlias = Callable[[Any], Problem | None]
"""Returns the first problem of a value, if it has one."""


class DecimalLimits(msgspec.Struct, frozen=True):
    """The limits of a decimal, as an annotation of its type.

    Attributes:
        digits: most digits, before and after the point together.
        places: most digits after the point, for which `digits` keeps room; None for as many as `digits` allows.
        ge, le: smallest and largest value, or None.
    """

    digits: int = MOST_DIGITS
    places: int | None = None
    ge: Decimal | None = None
    le: Decimal | None = None

    def problem(self, value: object) -> str:
        """Return the rule that a value breaks; empty if it breaks none. Zeros at the end of a fraction do not count."""
        if value is None:
            return ""  # decoding checks whether the field may be null
        if not isinstance(value, Decimal):
            return f"expected Decimal, got {type(value).__name__}"
        if not value.is_finite():
            return "expected a finite decimal"
        places = places_of(value)
        if self.places is not None and places > self.places:
            return f"expected a decimal with at most {self.places} places"
        whole = max(value.adjusted() + 1, 0) if value else 0
        if whole + (places if self.places is None else self.places) > self.digits:
            room = "" if self.places is None else f", {self.places} of them after the point"
            return f"expected a decimal with at most {self.digits} digits{room}"
        if self.ge is not None and value < self.ge:
            return f"expected a decimal >= {self.ge}"
        if self.le is not None and value > self.le:
            return f"expected a decimal <= {self.le}"
        return ""


def places_of(value: Decimal) -> int:
    """Return the number of digits after the point, without zeros at the end; the value is finite."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    places = max(-exponent, 0)
    for digit in reversed(digits):
        if digit or not places:
            return places
        places -= 1
    return 0


def decimal_text(value: Decimal) -> str:
    """Return the one text of a finite decimal: without an exponent, without zeros at the end of a fraction."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def decimal_score(value: Decimal) -> float:
    """Return a decimal of at most 15 digits as the server orders it; different values have different scores."""
    return float(value) + 0.0  # no negative zero


def is_exact_score(value: Decimal) -> bool:
    """Return whether comparing scores of decimals with that of `value` is as exact as comparing the decimals."""
    return len(value.normalize(EXACT).as_tuple().digits) <= MOST_SCORE_DIGITS


@cache
def problem_finder(kind: type[Value]) -> Find | None:
    """Return the function that finds the first value in a record that breaks its type, as a problem; None if decoding checks everything."""
    hints = get_type_hints(kind, include_extras=True)
    finders = [(name, find) for name in kind.__struct_fields__ if (find := finder(hints[name])) is not None]
    return partial(_in_record, finders) if finders else None


def finder(hint: Any) -> Find | None:
    """Return the function that finds the first problem of a value of a type; None if decoding checks everything."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = next((each for each in parts[1:] if isinstance(each, DecimalLimits)), None)
        return partial(_in_value, limits.problem) if limits is not None else finder(parts[0])
    if hint is Decimal:
        return partial(_in_value, DecimalLimits().problem)
    if hint is time:
        return partial(_in_value, _time_problem)
    if origin in (Union, UnionType):
        return next(filter(None, map(finder, parts)), None)
    if origin in (list, set, dict):
        inside = finder(parts[-1])
        return partial(_in_container, origin, inside) if inside is not None else None
    if isinstance(hint, type) and issubclass(hint, Value):
        return problem_finder(hint)
    return None


def _time_problem(value: object) -> str:
    return "expected a time without a time zone" if isinstance(value, time) and value.tzinfo else ""


def _in_value(problem: Callable[[object], str], value: object) -> Problem | None:
    rule = problem(value)
    return ("", rule) if rule else None


def _in_container(origin: Any, inside: Find, values: Any) -> Problem | None:
    if not isinstance(values, origin):
        return None
    for index, value in enumerate(values.values() if origin is dict else values):
        found = inside(value)
        if found is not None:
            place = f"[{index}]" if origin is list else "[...]"
            return _below(place, found)
    return None


def _in_record(finders: list[tuple[str, Find]], record: Any) -> Problem | None:
    if not isinstance(record, Value):
        return None
    for name, find in finders:
        found = find(getattr(record, name))
        if found is not None:
            return _below(name, found)
    return None


def _below(place: str, found: Problem) -> Problem:
    path, rule = found
    return f"{place}{'' if path[:1] in ('', '[') else '.'}{path}", rule
