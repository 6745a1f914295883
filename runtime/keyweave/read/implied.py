"""Implication: whether what is known of a field decides a condition on it.

A partial view has every row that a filter asks for if the filter implies the view's condition, and its entries decide about
a filter that the condition implies. Values are compared exactly, as the generated code compares them. A claim that cannot be
proven here is not made, so a view may be left unused, but never gives other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import ge, gt, le, lt
from typing import Any, Final

from keyweave.model.entity import Condition

STARTS: Final = "starts with"
"""The operator of `starts_with`, which no condition of an index has."""

CONTAINS: Final = "contains"
"""The operator of `contains`, which no condition of an index has."""

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def implies(known: Sequence[Condition], wanted: Condition) -> bool:
    """Return whether `wanted` holds for every value of its field for which all of `known` hold; these are of the same field."""
    if not known:
        return False
    if any(each.operator == "is null" for each in known):
        return wanted.operator == "is null"
    if wanted.operator == "is null":
        return False
    if wanted.operator == "is not null":
        return True
    sets = [each for each in known if each.operator in ("==", "in")]
    if sets:
        scalar = [each for each in known if each.operator != CONTAINS]
        values = [value for value in sets[0].values if all(_holds(value, each) for each in scalar)]
        return all(_holds(value, wanted) for value in values)
    return any(_decides(each, wanted) for each in known) or _by_parts(known, wanted)


def implied(known: Iterable[Condition], wanted: Iterable[Condition]) -> bool:
    """Return whether all of `wanted` hold for every row for which all of `known` hold."""
    by_field: dict[str, list[Condition]] = {}
    for each in known:
        by_field.setdefault(each.field, []).append(each)
    return all(implies(by_field.get(each.field, ()), each) for each in wanted)


def _by_parts(known: Sequence[Condition], wanted: Condition) -> bool:
    """Return whether several conditions together decide about one: of several values about each, of a point by both ends."""
    if wanted.operator == "not in":
        return all(
            any(_decides(each, Condition(wanted.field, "!=", (value,))) for each in known)
            for value in wanted.values
        )
    if wanted.operator in ("==", "in"):
        points = [each.values[0] for each in known if each.operator == ">="]
        points = [point for point in points if _at_most(known, point)]
        return any(point in wanted.values for point in points)
    return False


def _at_most(known: Sequence[Condition], point: Any) -> bool:
    return any(each.operator == "<=" and each.values[0] <= point for each in known)


def _holds(value: Any, condition: Condition) -> bool:
    """Return whether a condition holds for a value that is not null."""
    operator, values = condition.operator, condition.values
    match operator:
        case "==" | "in":
            return value in values
        case "!=" | "not in":
            return value not in values
        case "is null":
            return False
        case "is not null":
            return True
        case "starts with":
            return bool(value.startswith(values[0]))
        case "contains":
            return False  # a list has no equal value
    return _COMPARE[operator](value, values[0])


def _decides(known: Condition, wanted: Condition) -> bool:
    """Return whether a condition that does not name all values implies another one that is no test for null."""
    if known == wanted:
        return True
    if wanted.operator == "not in" and len(wanted.values) == 1:
        wanted = Condition(wanted.field, "!=", wanted.values)
    match known.operator:
        case "!=" | "not in":
            return wanted.operator in ("!=", "not in") and set(wanted.values) <= set(known.values)
        case "<" | "<=" | ">" | ">=":
            return _interval_decides(known, wanted)
        case "starts with":
            return _prefix_decides(known.values[0], wanted)
    return False


def _interval_decides(known: Condition, wanted: Condition) -> bool:
    end = known.values[0]
    if wanted.operator == "!=":
        return not _holds(wanted.values[0], known)
    if wanted.operator not in _COMPARE or wanted.operator[0] != known.operator[0]:
        return False
    other = wanted.values[0]
    if end == other:
        return wanted.operator in (known.operator, f"{known.operator[0]}=")
    return bool(end < other) if known.operator[0] == "<" else bool(end > other)


def _prefix_decides(prefix: str, wanted: Condition) -> bool:
    """Return whether all strings that begin with `prefix` satisfy a condition: they are from it on, and before what follows."""
    value = wanted.values[0]
    match wanted.operator:
        case "starts with":
            return prefix.startswith(value)
        case "!=":
            return not value.startswith(prefix)
        case ">=":
            return bool(prefix >= value)
        case ">":
            return bool(prefix > value)
        case "<" | "<=":
            return bool(value > prefix) and not value.startswith(prefix)
    return False
