"""Predicates: what a filter of `where` may ask for beside one value.

    from keyweave.query import between, one_of

    store.products.where(price=between(10, 80), category=one_of(Category.SHOES, Category.BAGS))

A comparison with null is false, as in SQL's WHERE: no predicate matches a field that is null, except `is_not(None)`, which
asks for the rest. Strings are compared by code point. A value that does not fit its field is a type error for a type checker,
and a `ValidationError` before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

__all__ = [
    "Choice",
    "Contains",
    "Elements",
    "IsNot",
    "OneOf",
    "Ordered",
    "Predicate",
    "Range",
    "StartsWith",
    "Text",
    "at_least",
    "at_most",
    "between",
    "contains",
    "is_not",
    "one_of",
    "starts_with",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Predicate(Generic[T_co]):
    """What a filter asks for. The functions of this module make them."""


@dataclass(frozen=True, slots=True)
class Range(Predicate[T_co]):
    """Values from `low` to `high`, both included; None for an open end."""

    low: T_co | None
    high: T_co | None


@dataclass(frozen=True, slots=True)
class OneOf(Predicate[T_co]):
    """Any of these values."""

    values: tuple[T_co, ...]


@dataclass(frozen=True, slots=True)
class IsNot(Predicate[T_co]):
    """Every value but this one; with None, every value but null."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Contains(Predicate[T_co]):
    """Lists with all of these elements."""

    elements: tuple[T_co, ...]


@dataclass(frozen=True, slots=True)
class StartsWith(Predicate[str]):
    """Strings that begin with this text."""

    prefix: str


Choice: TypeAlias = T | OneOf[T] | IsNot[T]
"""What a filter on a field of an enum, bool or bytes may be."""

Ordered: TypeAlias = T | Range[T] | OneOf[T] | IsNot[T]
"""What a filter on a field of numbers, moments or durations may be."""

Text: TypeAlias = str | Range[str] | OneOf[str] | IsNot[str] | StartsWith
"""What a filter on a field of strings may be."""

Elements: TypeAlias = Contains[T]
"""What a filter on a field of lists may be."""


def between(low: T, high: T) -> Range[T]:
    """Values from `low` to `high`, both included."""
    return Range(low, high)


def at_least(low: T) -> Range[T]:
    """Values from `low` on, `low` included."""
    return Range(low, None)


def at_most(high: T) -> Range[T]:
    """Values up to `high`, `high` included."""
    return Range(None, high)


def one_of(*values: T) -> OneOf[T]:
    """Any of the values, at most 1,000; none of them match no row."""
    return OneOf(values)


def is_not(value: T) -> IsNot[T]:
    """Every value but this one, and not null; `is_not(None)` asks for all that is not null."""
    return IsNot(value)


def contains(element: T, *more: T) -> Contains[T]:
    """Lists and sets with this element, and with each of the others, if there are more; at most 64."""
    return Contains((element, *more))


def starts_with(prefix: str) -> StartsWith:
    """Strings that begin with this text, by code point."""
    return StartsWith(prefix)
