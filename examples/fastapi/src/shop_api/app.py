"""The application: its store is opened before the first request and closed after the last one."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shop_api import customers, health, orders, problems, products
from web_shop.aio import Store

logger = logging.getLogger("shop_api")


def create_app(
    url: str, *, namespace: str | None = None, deadline: float = 5, client_name: str = "shop-api"
) -> FastAPI:
    """Return the application on the store at a URL.

    Args:
        url: of the server.
        namespace: the tenant; the schema's by default.
        deadline: seconds that one operation of the store may take. It is shorter than the patience of a proxy, so that
            a client reads the application's answer.
        client_name: of the connections, in the server's list of them.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = Store.open(url, namespace=namespace, deadline=deadline, timeout=2, client_name=client_name)
        async with opening as store:
            app.state.store = store
            yield
        logger.info("the store is closed")

    app = problems.Application(title="Shop", version="1", lifespan=lifespan)
    problems.install(app)
    for module in (products, customers, orders, health):
        app.include_router(module.router)
    return app


def from_environment() -> FastAPI:
    """Return the application with the settings `SHOP_STORE_URL`, `SHOP_NAMESPACE` and `SHOP_DEADLINE`."""
    return create_app(
        os.environ["SHOP_STORE_URL"],
        namespace=os.environ.get("SHOP_NAMESPACE"),
        deadline=float(os.environ.get("SHOP_DEADLINE", "5")),
    )
