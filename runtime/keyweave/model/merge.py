"""Keyed merging of lists of records: elements with the same key are combined field by field into one.

The generator writes the key and combine functions of each merge from the schema's rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.exact import EXACT, problem_finder
from keyweave.model.fidelity import TOO_DEEP, same_value
from keyweave.model.message import without_value
from keyweave.model.record import Value

V = TypeVar("V", bound=Value)


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


N = TypeVar("N", int, float)
T = TypeVar("T")
O = TypeVar("O", bound=_Ordered)  # noqa: E741
S = TypeVar("S", bound=_Ordered)


class Merge(msgspec.Struct, Generic[V], frozen=True):
    """The rules by which a list field merges.

    Attributes:
        entity: name of the entity.
        field: name of the list field.
        record: type of the elements.
        key: returns the key of an element. Elements with equal keys are combined; the result is sorted by key.
        combine: merges the second element into the first, in place.
        tidy: brings one element into the form that merging produces, such as sorted sets.
        normalize: trims and derives values of one element in place, or None.
    """

    entity: str
    field: str
    record: type[V]
    key: Callable[[V], tuple[str, ...]]
    combine: Callable[[V, V], None]
    tidy: Callable[[V], None]
    normalize: Callable[[V], bool] | None = None

    def merged(self, present: Iterable[V] | None, added: Iterable[V]) -> list[V]:
        """Return `present` with `added` merged in, sorted by key. The arguments are not modified.

        Raises:
            ValidationError: an element breaks its type or limits.
        """
        result: dict[tuple[str, ...], V] = {}
        for element in self._checked_copies([*(present or ()), *added]):
            key = self.key(element)
            if key in result:
                self.combine(result[key], element)
            else:
                result[key] = element
        return [result[key] for key in sorted(result)]

    def _checked_copies(self, elements: list[V]) -> list[V]:
        """Return copies of the elements: checked, normalized and in their stored form, so that merging may modify them."""
        for element in elements:
            if not isinstance(element, self.record):
                rule = f"expected {self.record.__name__}, got {type(element).__name__}"
                raise self._invalid(f"{self.field}[]", self.field, rule)
            find = problem_finder(self.record)
            problem = find(element) if find is not None else None
            if problem is not None:
                field = f"{self.field}[].{problem[0]}"
                raise self._invalid(field, field, problem[1])
        try:
            copies: list[V] = _reader(self.record)(msgspec.json.encode(elements))
            faithful = same_value(elements, copies)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            faithful = False
        if not faithful:
            # One by one, so that the error names the invalid field.
            copies = [self._read_back(element) for element in elements]
        for copy in copies:
            if self.normalize is not None:
                self.normalize(copy)
            self.tidy(copy)
        return copies

    def _read_back(self, element: V) -> V:
        try:
            copy = msgspec.json.decode(msgspec.json.encode(element), type=self.record)
        except RecursionError:
            raise self._invalid(self.field, self.field, TOO_DEEP) from None
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            rule, _, path = without_value(str(error)).partition(" - at `$.")
            field = f"{self.field}[].{path.rstrip('`')}" if path else self.field
            raise self._invalid(field, field, rule) from None
        for name in self.record.__struct_fields__:
            value = getattr(element, name)
            if not same_value(value, getattr(copy, name)):
                field = f"{self.field}[].{name}"
                rule = f"a {type(value).__name__} would be read back as another value"
                raise self._invalid(field, field, rule)
        return copy

    def _invalid(self, path: str, field: str, rule: str) -> ValidationError:
        return ValidationError(f"{self.entity}.{path}: {rule}", entity=self.entity, field=field, rule=rule)


@cache
def _reader(record: type[V]) -> Callable[[bytes], list[V]]:
    """Return the decoder for lists of a record type. Decoders are expensive to build."""
    return msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]


@overload
def add(left: N, right: N) -> N: ...
@overload
def add(left: N | None, right: N | None) -> N | None: ...
def add(left: N | None, right: N | None) -> N | None:
    """Return the sum. An absent value does not count; two absent values give None."""
    if left is None or right is None:
        return right if left is None else left
    return left + right


@overload
def add_exact(left: Decimal, right: Decimal) -> Decimal: ...
@overload
def add_exact(left: Decimal | None, right: Decimal | None) -> Decimal | None: ...
def add_exact(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Return the exact sum of two decimals. An absent value does not count; two absent values give None."""
    if left is None or right is None:
        return right if left is None else left
    return EXACT.add(left, right)


@overload
def least(left: O, right: O) -> O: ...
@overload
def least(left: O | None, right: O | None) -> O | None: ...
def least(left: O | None, right: O | None) -> O | None:
    """Return the smaller of two values. An absent value does not count."""
    if left is None or right is None:
        return right if left is None else left
    return right if right < left else left


@overload
def greatest(left: O, right: O) -> O: ...
@overload
def greatest(left: O | None, right: O | None) -> O | None: ...
def greatest(left: O | None, right: O | None) -> O | None:
    """Return the larger of two values. An absent value does not count."""
    if left is None or right is None:
        return right if left is None else left
    return right if left < right else left


def union(left: list[S] | None, right: list[S] | None) -> list[S]:
    """Return every element once, sorted."""
    return sorted({*(left or ()), *(right or ())})


def union_of_sets(left: set[T] | None, right: set[T] | None) -> set[T]:
    """Return the set of all elements."""
    return {*(left or ()), *(right or ())}


def first(left: T, right: T) -> T:
    """Return the left value, or the right one when the left one is absent."""
    return right if left is None else left
