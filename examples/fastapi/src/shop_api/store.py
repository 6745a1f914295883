"""The store of the application, as an argument of its endpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from web_shop.aio import Store


async def store_of(request: Request) -> Store:
    """Return the store that the lifespan opened."""
    store: Store = request.app.state.store
    return store


Shop = Annotated[Store, Depends(store_of)]
