"""Which views help with a filter. That depends on the names of the fields and the order alone, so it is worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keyweave.model.entity import View


@dataclass(frozen=True, slots=True)
class AccessPath:
    """The views that help with a filter.

    Attributes:
        readable: those in the order that is wanted, most fields first: any of them finds every row that matches.
        narrowing: those in other orders, for fields that none of `readable` has: every row that matches is in them.
        covered: the fields whose values some of these views answers for.
    """

    readable: tuple[View, ...]
    narrowing: tuple[View, ...]
    covered: frozenset[str]

    @property
    def views(self) -> tuple[View, ...]:
        """All of them."""
        return (*self.readable, *self.narrowing)

    def single_view(self, filters: Mapping[str, Any]) -> View | None:
        """The view that answers for all of `filters`; None where that takes several, or a look at the documents."""
        if len(self.readable) > 1 or self.narrowing or not self.covered.issuperset(filters):
            return None
        return self.readable[0]


def access_path_of(ordered: Iterable[View], others: Iterable[View]) -> AccessPath:
    """The access by views in the wanted order and in others; each view's fields are all filtered."""
    readable = widest(ordered)
    narrowing = widest(others, [name for view in readable for name in view.fields])
    covered = frozenset(name for view in (*readable, *narrowing) for name in view.fields)
    return AccessPath(tuple(readable), tuple(narrowing), covered)


def widest(views: Iterable[View], covered: Iterable[str] | None = None) -> list[View]:
    """Views by number of fields, then name, without those whose fields `covered`, or one that is kept, has as well."""
    kept: list[View] = []
    known = [] if covered is None else [frozenset(covered)]
    for view in sorted(views, key=lambda view: (-len(view.fields), view.name)):
        if not any(fields.issuperset(view.fields) for fields in known):
            kept.append(view)
            known.append(frozenset(view.fields))
    return kept
