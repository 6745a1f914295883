"""Access paths: the views that serve a filter. They depend only on field names and order, so they can be cached."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final

import msgspec

from keyweave.model.entity import Entity, Unique, View


class AccessPath(msgspec.Struct, frozen=True):
    """The views that serve a filter.

    Attributes:
        readable: views in the requested order, most fields first. Each of them contains every matching row.
        narrowing: views in other orders, for fields that no view of `readable` has. They contain every matching row.
        covered: the fields of these views, and those that have an entry for each element. Rows that are in all views match the
            filters on these fields.
    """

    readable: tuple[View, ...]
    narrowing: tuple[View, ...]
    covered: frozenset[str]

    @property
    def views(self) -> tuple[View, ...]:
        """The readable views, then the narrowing ones."""
        return (*self.readable, *self.narrowing)


class Choice(msgspec.Struct, frozen=True):
    """Views of which one list each has exactly the rows of a kind of filters in common.

    Attributes:
        readable: those in the order of the query.
        narrowing: those in other orders.
        ranges: the filters that are stretches of its order.
    """

    readable: tuple[View, ...]
    narrowing: tuple[View, ...]
    ranges: tuple[str, ...]


class Choices:
    """What the planner has chosen for filters of an entity, where its choice depends on their kinds alone.

    Attributes:
        conditional: the fields on whose values conditions of indexes depend, and so does the choice. Whether a value is null is a
            matter of its kind.
        known: the choices by kind of filters.
    """

    __slots__ = ("conditional", "known")

    _MOST: Final = 1024

    def __init__(self, entity: Entity[Any]) -> None:
        indexes: tuple[View | Unique, ...] = (*entity.views.values(), *entity.uniques.values())
        self.conditional: Final = frozenset(
            [
                condition.field
                for index in indexes
                for condition in index.conditions or ()
                if condition.operator not in ("is null", "is not null")
            ]
        )
        self.known: Final[dict[Hashable, Choice]] = {}

    def remember(self, kind: Hashable, choice: Choice) -> None:
        """Remember a choice. A program has few kinds of filters, but conditions may depend on many values."""
        if len(self.known) >= self._MOST:
            self.known.clear()
        self.known[kind] = choice


def access_path_of(ordered: Iterable[View], others: Iterable[View]) -> AccessPath:
    """Return the access path from views in the requested order and in other orders, whose fields are all filtered."""
    readable = widest(ordered)
    decided = [each.field for view in readable for each in view.conditions or () if each.operator == "=="]
    narrowing = widest(others, [*decided, *[name for view in readable for name in view.selecting]])
    covered = frozenset(name for view in (*readable, *narrowing) for name in view.selecting)
    return AccessPath(tuple(readable), tuple(narrowing), covered)


class Candidates(msgspec.Struct, frozen=True):
    """The views that can be read for a filter. They depend only on its fields and the order, so they can be cached.

    Attributes:
        equal: the views in the order of the query, if all of their fields have one value.
        leading: those that have only some of the rows.
        others: views in other orders that have only some of the rows.
        whole: a view of all rows, in the order of the query if there is one; empty if there is none.
        narrowed: that view, with the views in other orders whose fields have one value.
    """

    equal: AccessPath | None
    leading: tuple[View, ...]
    others: tuple[View, ...]
    whole: tuple[View, ...]
    narrowed: AccessPath | None


def candidates_of(
    order: str, usable: Iterable[View], bounded: Iterable[View], equal: frozenset[str]
) -> Candidates:
    """Return the candidates among the usable views: those that contain every matching row.

    Args:
        order: the order of the query.
        usable: the views.
        bounded: those that have only some of the rows.
        equal: the fields that have one value.
    """
    bounded = list(bounded)
    leading = widest([view for view in bounded if view.order == order])
    others = widest([view for view in bounded if view.order != order])
    # Members of a view in an order of strings are no ids that other views could have.
    narrowing = [
        view for view in others if view.selecting and equal.issuperset(view.fields) and not view.by_text
    ]
    every = [view for view in usable if view.has_all(order) and not view.fields]
    whole = ([view for view in every if view.order == order] or every)[:1]
    same = bool(leading) and all(equal.issuperset(view.fields) for view in leading)
    return Candidates(
        access_path_of(leading, narrowing) if same else None,
        tuple(leading),
        tuple(others),
        tuple(whole),
        access_path_of(whole, narrowing) if whole and narrowing else None,
    )


def widest(views: Iterable[View], covered: Iterable[str] | None = None) -> list[View]:
    """Return views by descending number of fields, partial ones first, then by name, without redundant ones.

    A view is redundant when `covered`, or a view that is kept and has no rows besides, has all of its fields.
    """
    kept: list[View] = []
    known = frozenset(covered) if covered is not None else None
    for view in sorted(views, key=lambda view: (-len(view.selecting), not view.where, view.name)):
        fields = view.selecting
        if known is not None and known.issuperset(fields):
            continue
        if not any(set(fields) <= set(other.selecting) and view.where in ("", other.where) for other in kept):
            kept.append(view)
    return kept
