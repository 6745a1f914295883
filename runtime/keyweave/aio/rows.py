"""Handles of the asyncio flavour: rows, rows with those that refer to them, and groups of rows."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any, Final, Generic, TypeVar

from keyweave.aio.watch import Run
from keyweave.model.entity import Entity
from keyweave.model.keyed import K
from keyweave.model.page import Page
from keyweave.read import answers, gather, query_page
from keyweave.read.count import group_counts
from keyweave.read.explain import Explanation, explain
from keyweave.read.query import Handle
from keyweave.store.context import Context

R = TypeVar("R")
C = TypeVar("C")
G = TypeVar("G")


class Rows(Handle[R, K]):
    """The rows of a query: lazy and immutable. Methods that choose rows return another handle, without IO.

    Methods that read rows raise:
        ValidationError: a filter, value, predicate, order or limit is not valid; nothing was sent.
        UnboundedQueryError: no view bounds the query; nothing was sent. `scan` allows it.
        ViewNotBuiltError: a view that the query needs is not built yet.
        StoreUnavailableError: the server cannot be used.
    """

    __slots__ = ()

    async def page(self, limit: int = 50, cursor: str | None = None) -> Page[R]:
        """One page of at most `limit` rows, 1 to 1,000, from `cursor` on, which an earlier page of this query has.

        Pages stay correct while others write.

        Raises:
            InvalidCursorError: the cursor is damaged, or belongs to another query.
        """
        query = self._query
        found: Page[R] = await self._run(
            query_page.page(self._context, query, limit, cursor), "page", query.view
        )
        return found

    async def batches(self, size: int = 200) -> AsyncIterator[builtins.list[R]]:
        """All rows in lists of at most `size`. Rows that are written meanwhile may be missing."""
        cursor: str | None = None
        while True:
            found = await self.page(size, cursor)
            if found.rows:
                yield found.rows
            cursor = found.cursor
            if cursor is None:
                return

    async def __aiter__(self) -> AsyncIterator[R]:
        async for rows in self.batches():
            for row in rows:
                yield row

    async def list(self) -> builtins.list[R]:
        """All rows as one list, each once. Iterating holds no more than a batch in memory."""
        query = self._query
        found: builtins.list[R] = await self._run(answers.list_rows(self._context, query), "list", query.view)
        return found

    async def first(self) -> R | None:
        """The first row, or None."""
        query = self._query
        found: R | None = await self._run(answers.first(self._context, query), "first", query.view)
        return found

    async def one(self) -> R:
        """The only row.

        Raises:
            NotFoundError: there is none; the entity's own error.
            MultipleRowsError: there are several.
        """
        query = self._query
        found: R = await self._run(answers.one(self._context, query), "one", query.view)
        return found

    async def count(self) -> int:
        """The number of rows; without reading them where the sizes of views give it."""
        query = self._query
        number: int = await self._run(answers.count(self._context, query), "count", query.view)
        return number

    async def exists(self) -> bool:
        """Whether there is a row."""
        query = self._query
        found: bool = await self._run(answers.exists(self._context, query), "exists", query.view)
        return found

    async def keys(self) -> builtins.list[K]:
        """The keys of all rows in order; without reading documents where views cover the filters."""
        query = self._query
        found: builtins.list[K] = await self._run(answers.keys(self._context, query), "keys", query.view)
        return found

    async def sum(self, field: str) -> Any:
        """The sum of a field of numbers or durations. Reads the documents of all rows; null counts as nothing.

        Raises:
            ValidationError: the field is of another type.
        """
        query = self._query
        return await self._run(answers.total(self._context, query, field), "sum", query.view)

    async def min(self) -> Any:
        """The lowest value of the order, from its end; None without rows."""
        query = self._query
        return await self._run(answers.lowest(self._context, query), "min", query.view)

    async def max(self) -> Any:
        """The highest value of the order, from its end; None without rows."""
        query = self._query
        return await self._run(answers.highest(self._context, query), "max", query.view)

    async def explain(self, limit: int = 50) -> Explanation:
        """How a page of `limit` rows would be read: views, what is compared on documents, and trips. Reads no document."""
        query = self._query
        found: Explanation = await self._run(explain(self._context, query, limit), "explain", query.view)
        return found


class Pairs(Generic[R, C]):
    """Rows, each with the rows that refer to it, in the order of their view. Errors as for `Rows`."""

    __slots__ = ("_child", "_field", "_rows")

    def __init__(self, rows: Rows[R, Any], child: str, field: str, context: Context | None = None) -> None:
        if context is not None:
            rows.require_namespace(context)
        self._rows: Final[Rows[R, Any]] = rows
        self._child: Final = child
        self._field: Final = field

    async def page(self, limit: int = 50, cursor: str | None = None) -> Page[tuple[R, builtins.list[C]]]:
        """One page of the rows; see `Rows.page`."""
        rows = self._rows
        flow = gather.page_with(rows._context, rows._query, self._child, self._field, limit, cursor)
        found: Page[tuple[R, builtins.list[C]]] = await rows._run(flow, "page_with")
        return found

    async def __aiter__(self) -> AsyncIterator[tuple[R, builtins.list[C]]]:
        cursor: str | None = None
        while True:
            found = await self.page(200, cursor)
            for row in found.rows:
                yield row
            cursor = found.cursor
            if cursor is None:
                return

    async def list(self) -> builtins.list[tuple[R, builtins.list[C]]]:
        """All rows as one list."""
        rows = self._rows
        flow = gather.list_with(rows._context, rows._query, self._child, self._field)
        found: builtins.list[tuple[R, builtins.list[C]]] = await rows._run(flow, "list_with")
        return found

    async def first(self) -> tuple[R, builtins.list[C]] | None:
        """The first row with those that refer to it, or None."""
        rows = self._rows
        flow = gather.first_with(rows._context, rows._query, self._child, self._field)
        found: tuple[R, builtins.list[C]] | None = await rows._run(flow, "first_with")
        return found


class Groups(Generic[G]):
    """The lists of a view by the values of its last field."""

    __slots__ = ("_context", "_entity", "_run", "_type", "_values", "_view")

    def __init__(
        self,
        run: Run,
        context: Context,
        entity: Entity[Any],
        view: str,
        values: tuple[Any, ...],
        type_: type[G],
    ) -> None:
        self._run: Final = run
        self._context: Final = context
        self._entity: Final = entity
        self._view: Final = view
        self._values: Final = values
        self._type: Final[Any] = type_

    async def group_counts(self) -> dict[G, int]:
        """The number of rows for each value of the field, without reading them; a value without rows is left out."""
        flow = group_counts(self._context, self._entity, self._view, self._values)
        counts = await self._run(flow, "group_counts", self._view)
        made: Any = self._type if self._type is not bool else "true".__eq__
        return {made(text): number for text, number in counts.items()}
