"""Access paths: the views that serve a filter. They depend only on field names and order, so they can be cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keyweave.model.entity import View


@dataclass(frozen=True, slots=True)
class AccessPath:
    """The views that serve a filter.

    Attributes:
        readable: views in the requested order, most fields first. Each of them contains every matching row.
        narrowing: views in other orders, for fields that no view of `readable` has. They contain every matching row.
        covered: the fields of these views. Rows that are in all views match the filter on these fields.
    """

    readable: tuple[View, ...]
    narrowing: tuple[View, ...]
    covered: frozenset[str]

    @property
    def views(self) -> tuple[View, ...]:
        """The readable views, then the narrowing ones."""
        return (*self.readable, *self.narrowing)

    def single_view(self, filters: Mapping[str, Any]) -> View | None:
        """Return the view that covers all of `filters`; None when that needs several views, or the documents."""
        if len(self.readable) > 1 or self.narrowing or not self.covered.issuperset(filters):
            return None
        return self.readable[0]


def access_path_of(ordered: Iterable[View], others: Iterable[View]) -> AccessPath:
    """Return the access path from views in the requested order and in other orders, whose fields are all filtered."""
    readable = widest(ordered)
    narrowing = widest(others, [name for view in readable for name in view.fields])
    covered = frozenset(name for view in (*readable, *narrowing) for name in view.fields)
    return AccessPath(tuple(readable), tuple(narrowing), covered)


def widest(views: Iterable[View], covered: Iterable[str] | None = None) -> list[View]:
    """Return views by descending number of fields, then name, without redundant ones.

    A view is redundant when `covered`, or a view that is kept, has all of its fields.
    """
    kept: list[View] = []
    known = [] if covered is None else [frozenset(covered)]
    for view in sorted(views, key=lambda view: (-len(view.fields), view.name)):
        if not any(fields.issuperset(view.fields) for fields in known):
            kept.append(view)
            known.append(frozenset(view.fields))
    return kept
