"""Keyed merging of lists of records: entries with one key become one entry, field by field.

The generator writes the key and combination functions of each merge from the schema's rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.message import without_value
from keyweave.model.record import Value

V = TypeVar("V", bound=Value)


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


N = TypeVar("N", int, float)
T = TypeVar("T")
O = TypeVar("O", bound=_Ordered)  # noqa: E741
S = TypeVar("S", bound=_Ordered)


@dataclass(frozen=True, slots=True)
class Merge(Generic[V]):
    """How a list field merges.

    Attributes:
        entity: name of the entity.
        field: name of the list field.
        record: type of the elements.
        key: what two elements must share to become one; also the order of the result.
        combine: folds the second element into the first, in place.
        tidy: brings one element into the form that merging gives it, such as sorted sets.
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
        """`present` with `added` merged in, ordered by key. The arguments stay as they were.

        Raises:
            ValidationError: an element breaks its type or limits.
        """
        result: dict[tuple[str, ...], V] = {}
        for own in self._own([*(present or ()), *added]):
            key = self.key(own)
            if key in result:
                self.combine(result[key], own)
            else:
                result[key] = own
        return [result[key] for key in sorted(result)]

    def _own(self, elements: list[V]) -> list[V]:
        """Copies of elements that may be changed: checked, normalized and tidy."""
        for element in elements:
            if not isinstance(element, self.record):
                rule = f"expected {self.record.__name__}, got {type(element).__name__}"
                raise self._refusal(f"{self.field}[]", self.field, rule)
        try:
            own: list[V] = _reader(self.record)(msgspec.json.encode(elements))
        except (msgspec.MsgspecError, TypeError, ValueError):
            own = [self._read_back(element) for element in elements]  # it says what is wrong
        for each in own:
            if self.normalize is not None:
                self.normalize(each)
            self.tidy(each)
        return own

    def _read_back(self, element: V) -> V:
        try:
            return msgspec.json.decode(msgspec.json.encode(element), type=self.record)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            rule, _, path = without_value(str(error)).partition(" - at `$.")
            field = f"{self.field}[].{path.rstrip('`')}" if path else self.field
            raise self._refusal(field, field, rule) from None

    def _refusal(self, place: str, field: str, rule: str) -> ValidationError:
        return ValidationError(f"{self.entity}.{place}: {rule}", entity=self.entity, field=field, rule=rule)


@cache
def _reader(record: type[V]) -> Callable[[bytes], list[V]]:
    """Reads lists of a record type. Decoders are costly to build."""
    return msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]


@overload
def add(left: N, right: N) -> N: ...
@overload
def add(left: N | None, right: N | None) -> N | None: ...
def add(left: N | None, right: N | None) -> N | None:
    """The sum; absent and absent stays absent."""
    if left is None or right is None:
        return right if left is None else left
    return left + right


@overload
def least(left: O, right: O) -> O: ...
@overload
def least(left: O | None, right: O | None) -> O | None: ...
def least(left: O | None, right: O | None) -> O | None:
    """The smaller of two values; an absent one does not count."""
    if left is None or right is None:
        return right if left is None else left
    return right if right < left else left


@overload
def greatest(left: O, right: O) -> O: ...
@overload
def greatest(left: O | None, right: O | None) -> O | None: ...
def greatest(left: O | None, right: O | None) -> O | None:
    """The larger of two values; an absent one does not count."""
    if left is None or right is None:
        return right if left is None else left
    return right if left < right else left


def union(left: list[S] | None, right: list[S] | None) -> list[S]:
    """Every element once, sorted."""
    return sorted({*(left or ()), *(right or ())})


def first(left: T, right: T) -> T:
    """The value that was there first, unless it is absent."""
    return right if left is None else left
