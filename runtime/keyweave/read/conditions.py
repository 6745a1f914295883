"""Conditions: the filters of a part of a query, checked, brought into the stored form, and as tests of records.

Everything that can be wrong with a query is found here, before anything is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from typing import Any, Final

from keyweave.errors import ValidationError
from keyweave.model.entity import Condition, Entity, View
from keyweave.model.keytext import check_value
from keyweave.model.numbering import IntKey
from keyweave.query import Contains, IsNot, OneOf, Predicate, Range, StartsWith
from keyweave.read.ends import is_exact, order_ends, widest_ends
from keyweave.read.implied import CONTAINS, STARTS, implies
from keyweave.read.query import MOMENTS, Part, Query

MOST_VALUES: Final = 1000
"""Maximum number of values of one `one_of`."""

MOST_ELEMENTS: Final = 64
"""Maximum number of elements of one `contains`."""

_ORDERED: Final = ("int", "float", "Decimal", "datetime", "date", "time", "timedelta", "str")
"""The kinds of fields that have an order."""

_NONE: Final[frozenset[str]] = frozenset()

Test = Callable[[Any], bool]
"""Whether a field's value matches."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The filters of one part of a query.

    Attributes:
        equal: the value that a field has, by name; null is not among them.
        any_of: the values of which a field has one, by name.
        elements: the elements that a list or set has, by name.
        ranges: the ends of a field or moment, or how it begins, by name.
        tests: the tests of each filtered field, and of moments of the document's head; see `condition_name`.
        terms: what each of these tests is, in the same places.
        view: the partial view in which a row has to be, because the query names it; None for any other query.
    """

    equal: dict[str, Any] = field(default_factory=dict)
    any_of: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    elements: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    ranges: dict[str, list[Range[Any] | StartsWith]] = field(default_factory=dict)
    tests: dict[str, list[Test]] = field(default_factory=dict)
    terms: dict[str, list[tuple[Condition, ...]]] = field(default_factory=dict)
    view: View | None = None

    @property
    def impossible(self) -> bool:
        """Whether no row can match."""
        return any(not values for values in self.any_of.values())

    @property
    def known(self) -> list[Condition]:
        """Everything that the filters say about a row."""
        return [term for tests in self.terms.values() for terms in tests for term in terms]

    @property
    def bounding(self) -> frozenset[str]:
        """The names of ranges that do not reach from one end of all values to the other."""
        if not self.ranges:
            return _NONE
        return frozenset([name for name, ranges in self.ranges.items() if any(map(_bounds, ranges))])

    def left(
        self, covered: Collection[str], decided: Collection[str] = (), held: Sequence[Condition] = ()
    ) -> list[str]:
        """Return the names of the filters that documents are compared with.

        Args:
            covered: fields of which views, keys or unique values have the value, or all elements.
            decided: fields whose ranges the order of a view decides.
            held: conditions that hold for all rows of the views.
        """
        found = []
        for name, tests in self.terms.items():
            for terms in tests:
                operator = terms[0].operator
                if name in covered and operator in ("==", "in", CONTAINS):
                    continue
                if name in decided and operator in ("==", ">=", "<=", STARTS):
                    continue
                if not held or not _hold(held, terms):
                    found.append(name.removeprefix("@"))
                    break
        return sorted(found)

    def ends(self, entity: Entity[Any], order: str) -> tuple[Any, Any, frozenset[str]]:
        """Return the ends of an order for `ends_of`, and the filters about which the order decides."""
        low, high = widest_ends(entity, order)
        decided: set[str] = set()
        for name in order_fields(entity, order):
            ranges = list(self.ranges.get(name, ()))
            if name in self.equal and name != entity.key and name not in entity.enums:
                ranges.append(Range(self.equal[name], self.equal[name]))
            for each in ranges:
                bottom, top = order_ends(entity, order, each)
                low, high = max(low, bottom), min(high, top)
            if ranges and all(map(is_exact, ranges)):
                decided.add(name)
        return low, high, frozenset(decided)


def _hold(held: Sequence[Condition], terms: Sequence[Condition]) -> bool:
    of = [each for each in held if each.field == terms[0].field]
    return bool(of) and all(implies(of, term) for term in terms)


def check_order(query: Query) -> None:
    """Check that rows can be in the order of a query.

    Raises:
        ValidationError: the entity has no such order.
    """
    entity, order = query.entity, query.order
    if order in MOMENTS or entity.filters.get(order) in _ORDERED:
        return
    rule = "an order is 'created', 'revision' or a field of numbers, moments or strings"
    raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, field="order", rule=rule)


def conditions_of(query: Query, part: Part) -> Conditions:
    """Return the checked conditions of a part.

    Raises:
        ValidationError: a filter names no field, or its value or predicate does not fit the field.
    """
    entity, order = query.entity, query.order
    view = entity.views[part.view] if part.view else None
    found = Conditions(view=view if view is not None and view.where else None)
    if view is not None:
        for name, value in zip(view.selecting, part.values, strict=True):
            if name == view.each:
                _add(found, entity, name, Contains((value,)))
            else:
                _add_equal(found, entity, name, value)
    for name, value in part.filters.items():
        _add(found, entity, name, value)
    name = condition_name(order)
    for low, high in part.stretches:
        if low is not None or high is not None:
            _add_range(found, name, _checked_range(entity, name, Range(low, high)))
    return found


def condition_name(order: str) -> str:
    """Return the name under which conditions hold ends of an order. A field may be called as a moment is."""
    return f"@{order}" if order in MOMENTS else order


def stretch_of(
    entity: Entity[Any], order: str, stretches: Sequence[tuple[Any, Any]]
) -> tuple[Any, Any] | None:
    """Return the ends of stretches of an order for `ends_of`; None if the order does not decide, or no row can be in all.

    Raises:
        ValidationError: an end does not fit the order, or the low end is above the high one.
    """
    low, high = widest_ends(entity, order)
    exact = True
    for stretch in stretches:
        if stretch == (None, None):
            continue
        wanted = _checked_range(entity, condition_name(order), Range(*stretch))
        bottom, top = order_ends(entity, order, wanted)
        low, high = max(low, bottom), min(high, top)
        exact = exact and is_exact(wanted)
    return (low, high) if exact and low <= high else None


def order_fields(entity: Entity[Any], order: str) -> frozenset[str]:
    """Return the names under which a filter can give ends of an order."""
    shown = {"created": entity.created, "revision": entity.updated}.get(order)
    name = condition_name(order)
    return frozenset({name, shown} if shown is not None else {name})


def _add_test(found: Conditions, name: str, test: Test, *terms: Condition) -> None:
    found.tests.setdefault(name, []).append(test)
    found.terms.setdefault(name, []).append(terms)


def _add_range(found: Conditions, name: str, wanted: Range[Any]) -> None:
    found.ranges.setdefault(name, []).append(wanted)
    ends = ((">=", wanted.low), ("<=", wanted.high))
    terms = [Condition(name, operator, (end,)) for operator, end in ends if end is not None]
    _add_test(found, name, _range_test(wanted), *terms)


def _add(found: Conditions, entity: Entity[Any], name: str, value: Any) -> None:
    kind = entity.filters.get(name)
    if kind is None:
        rule = f"no field {name!r} to filter by"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, field=name, rule="filter")
    if value is None and name in entity.nullable:
        _add_test(found, name, _is_null, Condition(name, "is null"))
    elif not isinstance(value, Predicate):
        _add_equal(found, entity, name, value)
    elif type(value) is Range and kind in _ORDERED and name not in entity.enums:
        _add_range(found, name, _checked_range(entity, name, value))
    else:
        _add_predicate(found, entity, name, kind, value)


def _add_equal(found: Conditions, entity: Entity[Any], name: str, value: Any) -> None:
    value = checked_field(entity, name, value)
    found.equal[name] = value
    _add_test(found, name, partial(eq, value), Condition(name, "==", (value,)))


def _add_predicate(
    found: Conditions, entity: Entity[Any], name: str, kind: str, predicate: Predicate[Any]
) -> None:
    enumerated = name in entity.enums
    match predicate:
        case OneOf(values) if not kind.startswith("list["):
            if len(values) > MOST_VALUES:
                raise _refused(
                    entity, name, f"one_of takes at most {MOST_VALUES:,} values, got {len(values):,}"
                )
            distinct = tuple(dict.fromkeys([checked_field(entity, name, value) for value in values]))
            if len(distinct) == 1:
                found.equal[name] = distinct[0]
            else:
                found.any_of[name] = distinct
            _add_test(
                found,
                name,
                frozenset(distinct).__contains__,
                Condition(name, "in" if len(distinct) > 1 else "==", distinct),
            )
        case IsNot(None) if name in entity.nullable:
            _add_test(found, name, _is_not_null, Condition(name, "is not null"))
        case IsNot(value) if not kind.startswith("list["):
            unwanted = checked_field(entity, name, value)
            _add_test(
                found,
                name,
                lambda each: each is not None and each != unwanted,
                Condition(name, "!=", (unwanted,)),
            )
        case StartsWith(prefix) if kind == "str" and not enumerated:
            start = _checked_kind(entity, name, prefix, "str")
            if start:
                found.ranges.setdefault(name, []).append(StartsWith(start))
            _add_test(
                found,
                name,
                lambda each: each is not None and each.startswith(start),
                Condition(name, STARTS, (start,)),
            )
        case Contains(elements) if kind.startswith("list["):
            if len(elements) > MOST_ELEMENTS:
                raise _refused(
                    entity, name, f"contains takes at most {MOST_ELEMENTS} elements, got {len(elements):,}"
                )
            wanted = tuple(
                dict.fromkeys([_checked_kind(entity, name, each, kind[5:-1]) for each in elements])
            )
            found.elements[name] = wanted
            _add_test(
                found,
                name,
                lambda each: each is not None and all(element in each for element in wanted),
                Condition(name, CONTAINS, wanted),
            )
        case _:
            type_ = "an enum" if enumerated else f"type {kind}"
            raise _refused(entity, name, f"{_word(predicate)} does not fit a field of {type_}")


def _checked_range(entity: Entity[Any], name: str, wanted: Range[Any]) -> Range[Any]:
    """Return a range with both ends checked.

    Raises:
        ValidationError: an end has another type, both are open, or the low end is above the high one.
    """
    kind = "datetime" if name.startswith("@") else entity.filters[name]
    ends = [
        _checked_kind(entity, name, end, kind) if end is not None else None
        for end in (wanted.low, wanted.high)
    ]
    low, high = ends
    if low is None and high is None:
        raise _refused(entity, name, "a range needs an end")
    if low is not None and high is not None and low > high:
        raise _refused(entity, name, "the low end of a range is above its high end")
    return Range(low, high)


def checked_field(entity: Entity[Any], name: str, value: Any) -> Any:
    """Return a value of a field in its stored form.

    Raises:
        ValidationError: the field cannot have the value.
    """
    kind = entity.filters[name]
    if kind.startswith("list["):
        raise _refused(entity, name, "a list is filtered by contains(element) or for null")
    value = _checked_kind(entity, name, value, kind)
    if name in entity.referring:
        return IntKey(value)
    return value.strip() if name in entity.trimmed else value


def _checked_kind(entity: Entity[Any], name: str, value: Any, kind: str) -> Any:
    return check_value(value, kind, entity=entity.name, field=name.removeprefix("@"))


def _refused(entity: Entity[Any], name: str, rule: str) -> ValidationError:
    name = name.removeprefix("@")
    return ValidationError(f"{entity.name}.{name}: {rule}", entity=entity.name, field=name, rule=rule)


def _word(predicate: Predicate[Any]) -> str:
    words = {
        Range: "a range",
        OneOf: "one_of",
        IsNot: "is_not",
        Contains: "contains",
        StartsWith: "starts_with",
    }
    return words.get(type(predicate), type(predicate).__name__)


def _bounds(wanted: Range[Any] | StartsWith) -> bool:
    if isinstance(wanted, StartsWith):
        return True
    return wanted.low not in (None, -math.inf, "") or wanted.high not in (None, math.inf)


def _is_null(value: Any) -> bool:
    return value is None


def _is_not_null(value: Any) -> bool:
    return value is not None


def _range_test(wanted: Range[Any]) -> Test:
    low, high = wanted.low, wanted.high
    if low is None:
        return lambda value: value is not None and bool(value <= high)
    if high is None:
        return lambda value: value is not None and bool(value >= low)
    return lambda value: value is not None and bool(low <= value <= high)
