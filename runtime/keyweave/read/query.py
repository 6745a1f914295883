"""Queries: what a handle of rows asks for, before anything is checked or sent, and what handles of both flavours share.

A query is immutable and cheap to make. A handle makes a new one for each of its methods that choose rows. What is wrong with
a query is reported when rows are asked for, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from keyweave.errors import ValidationError
from keyweave.model.entity import Entity
from keyweave.model.keyed import K, KeyedRows, T
from keyweave.store.context import Context

NO_FILTERS: Final[Mapping[str, Any]] = {}


MOMENTS: Final = ("created", "revision")
"""The orders that are no fields: moments in the head of a document."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """Rows for which everything in it holds. The rows of a query are in at least one of its parts.

    Attributes:
        view: the view whose lists are read; empty to let the planner choose.
        values: the values of that view's fields.
        filters: values, None for null, or predicates by field name.
        stretches: low and high ends of the order, None for an open end; all of them hold.
        having: conditions on rows that refer to the row.
    """

    view: str = ""
    values: tuple[Any, ...] = ()
    filters: Mapping[str, Any] = NO_FILTERS
    stretches: tuple[tuple[Any, Any], ...] = ()
    having: tuple[Having, ...] = ()


class Query(msgspec.Struct, frozen=True, gc=False):
    """What a handle asks for.

    Attributes:
        entity: the entity of the rows.
        parts: at least one; see `Part`.
        order: `created`, `revision` or the name of a field.
        reverse: against the order's own direction.
        scan: reading all rows is allowed.
    """

    entity: Entity[Any]
    parts: tuple[Part, ...]
    order: str
    reverse: bool = False
    scan: bool = False

    @property
    def descending(self) -> bool:
        """Whether the highest value comes first."""
        return _descends(self.entity, self.parts, self.order) != self.reverse

    @property
    def view(self) -> str:
        """The view that the query names; empty if it names none, or several."""
        return self.parts[0].view if len(self.parts) == 1 else ""

    def reversed(self) -> Query:
        """The same rows in the opposite direction."""
        return Query(self.entity, self.parts, self.order, not self.reverse, self.scan)

    def ordered(self, order: str) -> Query:
        """The same rows in another order."""
        return Query(self.entity, self.parts, order, self.reverse, self.scan)

    def scanning(self) -> Query:
        """The same rows, with permission to read all rows."""
        return Query(self.entity, self.parts, self.order, self.reverse, True)

    def within(self, low: Any, high: Any) -> Query:
        """The rows of a stretch of the order."""
        return self._each(lambda part: _replace(part, stretches=(*part.stretches, (low, high))))

    def where_having(self, condition: Having) -> Query:
        """The rows for which another condition holds."""
        return self._each(lambda part: _replace(part, having=(*part.having, condition)))

    def or_(self, other: Query) -> Query:
        """The rows of either query.

        Raises:
            ValidationError: the queries have other entities, orders or directions.
        """
        name = self.entity.name
        if other.entity is not self.entity:
            rule = f"rows of {other.entity.name} cannot be combined with rows of {name}"
            raise ValidationError(f"{name}: {rule}", entity=name, rule=rule)
        descending = self.descending
        if (other.order, other.descending) != (self.order, descending):
            rule = "both sides of `|` need one order and direction"
            raise ValidationError(f"{name}: {rule}", entity=name, field="order", rule=rule)
        parts = (*self.parts, *other.parts)
        reverse = _descends(self.entity, parts, self.order) != descending
        return Query(self.entity, parts, self.order, reverse, self.scan or other.scan)

    def _each(self, change: Any) -> Query:
        parts = tuple(change(part) for part in self.parts)
        return Query(self.entity, parts, self.order, self.reverse, self.scan)


class Having(msgspec.Struct, frozen=True, gc=False):
    """A condition of a semi-join: a row of `rows` refers to the row.

    Attributes:
        rows: the referring rows.
        via: the field of the reference; empty if there is only one.
    """

    rows: Query
    via: str = ""


def _descends(entity: Entity[Any], parts: tuple[Part, ...], order: str) -> bool:
    """Return whether an order begins with the highest value by default: that of views in their own order, if they agree."""
    if len(parts) == 1:  # a single page asks three times, so this makes no set
        view = entity.views[parts[0].view] if parts[0].view else None
        return view.descending if view is not None and view.order == order else not in_text(entity, order)
    ways = {
        entity.views[part.view].descending if part.view and entity.views[part.view].order == order else None
        for part in parts
    }
    way = ways.pop()
    return not in_text(entity, order) if ways or way is None else way


def in_text(entity: Entity[Any], order: str) -> bool:
    """Return whether an order is one of strings."""
    return entity.filters.get(order) == "str" and order not in MOMENTS


def view_query(entity: Entity[Any], view: str, values: tuple[Any, ...]) -> Query:
    """Return the query for the rows of a view."""
    return Query(entity, (Part(view, values),), entity.views[view].order)


def where_query(entity: Entity[Any], filters: Mapping[str, Any]) -> Query:
    """Return the query for the rows that all filters match, in the order of their creation."""
    return Query(entity, (Part("", (), filters),), "created")


def _replace(part: Part, **changes: Any) -> Part:
    return msgspec.structs.replace(part, **changes)


class Handle(KeyedRows[T, K]):
    """The rows of a query. Each method returns another handle."""

    __slots__ = ("_context", "_query", "_run")

    def __init__(self, run: Any, context: Context, query: Query) -> None:
        self._run: Final = run
        self._context: Final = context
        self._query: Final = query

    def reverse(self) -> Self:
        """The same rows in exactly the opposite order."""
        return self._with(self._query.reversed())

    def between(self, low: Any, high: Any) -> Self:
        """The rows from `low` to `high` in their order, both ends included; None for an open end.

        The order `created` or `revision` takes datetimes, and a field's order takes values of the field.
        """
        return self._with(self._query.within(low, high))

    def order_by(self, order: str) -> Self:
        """The same rows in another order: `created`, `revision`, or a field of numbers, moments or strings.

        Rows without a value in that field are left out. If no view has the order, the rows are read whole and sorted.
        """
        return self._with(self._query.ordered(order))

    def having(self, rows: Handle[Any, Any], via: str = "") -> Self:
        """Only rows to which one of `rows` refers; `via` is the field of the reference, if there are several.

        Raises:
            ValidationError: the handles are of two tenants or namespaces.
        """
        self.require_namespace(rows._context)
        return self._with(self._query.where_having(Having(rows._query, via)))

    def scan(self) -> Self:
        """The same rows, with permission to read all rows of the entity to find them."""
        return self._with(self._query.scanning())

    def __or__(self, other: Self) -> Self:
        """Rows in either handle, each once, in their common order.

        Raises:
            ValidationError: the handles have other entities, orders or directions, or are of two tenants or namespaces.
        """
        self.require_namespace(other._context)
        return self._with(self._query.or_(other._query))

    def require_namespace(self, context: Context) -> None:
        """Refuse to be combined with rows of another namespace: a query is answered with the rows of one.

        Raises:
            ValidationError: `context` is that of another tenant or namespace.
        """
        own, its = self._context.keyspace, context.keyspace
        if own is not its and own.namespace != its.namespace:
            name = self._query.entity.name
            rule = "rows of two tenants or namespaces cannot be combined"
            raise ValidationError(f"{name}: {rule}", entity=name, rule=rule)

    def _with(self, query: Query) -> Self:
        return type(self)(self._run, self._context, query)

    def __repr__(self) -> str:
        query = self._query
        return f"<{type(self).__name__} of {query.entity.name}, order {query.order}>"
