"""Conditions: the filters of a part of a query, checked, brought into the stored form, and as tests of records.

Everything that can be wrong with a query is found here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from operator import eq
from typing import Any, Final
from uuid import UUID

from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.model.exact import decimal_text
from keyweave.model.keytext import check_value
from keyweave.model.moment import from_micros
from keyweave.model.record import Record, memory_of
from keyweave.query import Contains, IsNot, OneOf, Predicate, Range, StartsWith
from keyweave.read.ends import is_exact, order_ends, score_of_value, widest_ends
from keyweave.read.query import Part, Query

MOST_VALUES: Final = 1000
"""Maximum number of values of one `one_of`."""

MOMENTS: Final = ("created", "revision")
"""The orders that are no fields: moments in the head of a document."""

_ORDERED: Final = ("int", "float", "Decimal", "datetime", "date", "time", "timedelta", "str")
"""The kinds of fields that have an order."""

Test = Callable[[Any], bool]
"""Whether a field's value matches."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The filters of one part of a query.

    Attributes:
        equal: the value that a field has, by name; null is not among them.
        any_of: the values of which a field has one, by name.
        elements: an element that a list or set has, by name.
        ranges: the ends of a field or moment, or how it begins, by name.
        tests: the tests of each filtered field. `created` and `revision` stand for the moments of the document's head.
    """

    equal: dict[str, Any] = field(default_factory=dict)
    any_of: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    elements: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, list[Range[Any] | StartsWith]] = field(default_factory=dict)
    tests: dict[str, list[Test]] = field(default_factory=dict)

    @property
    def impossible(self) -> bool:
        """Whether no row can match."""
        return any(not values for values in self.any_of.values())

    def left(self, covered: Collection[str], decided: Collection[str] = ()) -> list[str]:
        """Return the names of the filters that documents are compared with.

        Args:
            covered: fields of which views, keys or unique values have the value.
            decided: fields whose ranges the order of a view decides.
        """
        found = []
        for name, tests in self.tests.items():
            known = len(self.ranges.get(name, ())) if name in decided else 0
            if name in covered or (name in decided and name in self.equal):
                known += 1
            if known < len(tests):
                found.append(name)
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
    found = Conditions()
    if part.view:
        view = entity.views[part.view]
        for name, value in zip(view.selecting, part.values, strict=True):
            (
                _add(found, entity, name, Contains(value))
                if name == view.each
                else _add_equal(found, entity, name, value)
            )
    for name, value in part.filters.items():
        _add(found, entity, name, value)
    for low, high in part.stretches:
        _add_range(found, order, _checked_range(entity, order, Range(low, high), open_ends=True))
    return found


def matches(entity: Entity[Any], tests: Mapping[str, Sequence[Test]], record: Record) -> bool:
    """Return whether a record passes every test."""
    for name, each in tests.items():
        value = value_of(entity, record, name)
        for test in each:
            if not test(value):
                return False
    return True


def value_of(entity: Entity[Any], record: Record, name: str) -> Any:
    """Return the value of a field or moment of a record. A moment that the server has not set yet is now."""
    if name in MOMENTS or name in entity.managed:
        stored = memory_of(record)
        assert stored is not None
        micros = stored.created if name in ("created", entity.created) else stored.revision
        return from_micros(micros) if micros > 0 else datetime.now(UTC)
    return getattr(record, name)


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
        wanted = _checked_range(entity, order, Range(*stretch), open_ends=True)
        bottom, top = order_ends(entity, order, wanted)
        low, high = max(low, bottom), min(high, top)
        exact = exact and is_exact(wanted)
    return (low, high) if exact and low <= high else None


def order_fields(entity: Entity[Any], order: str) -> frozenset[str]:
    """Return the names under which a filter can give ends of an order."""
    shown = {"created": entity.created, "revision": entity.updated}.get(order)
    return frozenset({order, shown} if shown is not None else {order})


def _add_range(found: Conditions, name: str, wanted: Range[Any]) -> None:
    found.ranges.setdefault(name, []).append(wanted)
    found.tests.setdefault(name, []).append(_range_test(wanted))


def _add(found: Conditions, entity: Entity[Any], name: str, value: Any) -> None:
    kind = entity.filters.get(name)
    if kind is None:
        rule = f"no field {name!r} to filter by"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, field=name, rule="filter")
    if value is None and name in entity.nullable:
        found.tests.setdefault(name, []).append(_is_null)
    elif not isinstance(value, Predicate):
        _add_equal(found, entity, name, value)
    elif type(value) is Range and kind in _ORDERED and name not in entity.enums:
        _add_range(found, name, _checked_range(entity, name, value))
    else:
        found.tests.setdefault(name, []).append(_predicate_test(found, entity, name, kind, value))


def _add_equal(found: Conditions, entity: Entity[Any], name: str, value: Any) -> None:
    value = checked_field(entity, name, value)
    found.equal[name] = value
    found.tests.setdefault(name, []).append(partial(eq, value))


def _predicate_test(
    found: Conditions, entity: Entity[Any], name: str, kind: str, predicate: Predicate[Any]
) -> Test:
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
            return frozenset(distinct).__contains__
        case IsNot(None) if name in entity.nullable:
            return _is_not_null
        case IsNot(value) if not kind.startswith("list["):
            unwanted = checked_field(entity, name, value)
            return lambda each: each is not None and each != unwanted
        case StartsWith(prefix) if kind == "str" and not enumerated:
            start = _checked_kind(entity, name, prefix, "str")
            if start:
                found.ranges.setdefault(name, []).append(StartsWith(start))
            return lambda each: each is not None and each.startswith(start)
        case Contains(element) if kind.startswith("list["):
            wanted = _checked_kind(entity, name, element, kind[5:-1])
            found.elements.setdefault(name, wanted)
            return lambda each: each is not None and wanted in each
    type_ = "an enum" if enumerated else f"type {kind}"
    raise _refused(entity, name, f"{_word(predicate)} does not fit a field of {type_}")


def _checked_range(
    entity: Entity[Any], name: str, wanted: Range[Any], *, open_ends: bool = False
) -> Range[Any]:
    """Return a range with both ends checked.

    Raises:
        ValidationError: an end has another type, both are open, or the low end is above the high one.
    """
    kind = "datetime" if name in MOMENTS else entity.filters[name]
    ends = [
        _checked_kind(entity, name, end, kind) if end is not None else None
        for end in (wanted.low, wanted.high)
    ]
    low, high = ends
    if low is None and high is None and not open_ends:
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
    return value.strip() if name in entity.trimmed else value


def _checked_kind(entity: Entity[Any], name: str, value: Any, kind: str) -> Any:
    return check_value(value, kind, entity=entity.name, field=name)


def _refused(entity: Entity[Any], name: str, rule: str) -> ValidationError:
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


def _is_null(value: Any) -> bool:
    return value is None


def _is_not_null(value: Any) -> bool:
    return value is not None


def _range_test(wanted: Range[Any]) -> Test:
    low, high = wanted.low, wanted.high
    if low is None and high is None:
        return _is_not_null
    if low is None:
        return lambda value: value is not None and bool(value <= high)
    if high is None:
        return lambda value: value is not None and bool(value >= low)
    return lambda value: value is not None and bool(low <= value <= high)


def canonical(value: Any) -> Any:
    """Return a filter's value or predicate as plain values, the same for equal filters in every process."""
    if isinstance(value, Predicate):
        parts = [canonical(getattr(value, each.name)) for each in fields(value)]
        return [type(value).__name__, *parts]
    if isinstance(value, tuple | list):
        return [canonical(each) for each in value]
    if isinstance(value, Mapping):
        return [[name, canonical(value[name])] for name in sorted(value)]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, bool | int | float) or value is None else score_of_value(value)
