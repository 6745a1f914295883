"""Lists in pages: the cursor of the next page in the body, and the same as a `Link` header (RFC 8288).

The links are relative to the request's own address, so they hold behind any proxy, and nothing that a client sends as its
host gets into them. Parameters are percent-encoded: no value can end the link or the header.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Response
from pydantic import BaseModel

from keyweave.aio.rows import Rows

T = TypeVar("T")


class Listing(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None
    """The `cursor` of the next page; null at the end."""


LINK = {"Link": {"description": "The next page, and the first one (RFC 8288).", "schema": {"type": "string"}}}
"""The header of lists, for OpenAPI."""


class Paging:
    """What a client says about the page that it wants, and the answer."""

    def __init__(
        self,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> None:
        self._response = response
        self._limit = limit
        self._cursor = cursor

    async def page(self, rows: Rows[T], **filters: Any) -> Listing[T]:
        """Return a page of rows, and set its links.

        Args:
            rows: of the whole list.
            filters: the other parameters of the request, which the links repeat; None for those that it left out.

        Raises:
            InvalidCursorError: the cursor belongs to another list.
        """
        page = await rows.page(self._limit, self._cursor)
        given = {"limit": self._limit} | {name: value for name, value in filters.items() if value is not None}
        links = [f'<?{urlencode(given)}>; rel="first"']
        if page.cursor is not None:
            links.append(f'<?{urlencode({**given, "cursor": page.cursor})}>; rel="next"')
        self._response.headers["Link"] = ", ".join(links)
        return Listing(items=list(page), next=page.cursor)


Paged = Annotated[Paging, Depends()]
