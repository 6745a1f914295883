"""Handles: what the handles of rows of both flavours share. A handle is immutable and makes no IO until rows are asked for.

What is wrong with a query is reported then, before anything is sent.
"""

from __future__ import annotations

from typing import Any, Final, Self

from keyweave.model.keyed import K, KeyedRows, T
from keyweave.read.query import Having, Query
from keyweave.store.context import Context


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
        """Only rows to which one of `rows` refers; `via` is the field of the reference, if there are several."""
        return self._with(self._query.where_having(Having(rows._query, via)))

    def scan(self) -> Self:
        """The same rows, with permission to read all rows of the entity to find them."""
        return self._with(self._query.scanning())

    def __or__(self, other: Self) -> Self:
        """Rows in either handle, each once, in their common order.

        Raises:
            ValidationError: the handles have other entities, orders or directions.
        """
        return self._with(self._query.or_(other._query))

    def _with(self, query: Query) -> Self:
        return type(self)(self._run, self._context, query)

    def __repr__(self) -> str:
        query = self._query
        return f"<{type(self).__name__} of {query.entity.name}, order {query.order}>"
