"""Orders of the caller. A request that places one has an Idempotency-Key, so that it can be repeated safely."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from shop_api.auth import Caller
from shop_api.pages import LINK, Listing, Paged
from shop_api.place import cancel, place
from shop_api.problems import answers
from shop_api.store import Shop
from web_shop import Order, OrderNotFoundError

router = APIRouter(prefix="/orders", tags=["orders"])


class WantedLine(BaseModel, extra="forbid"):
    """A product, and how many of it."""

    sku: Annotated[str, Field(min_length=1, max_length=40)]
    count: Annotated[int, Field(ge=1, le=1000)]


class OrderRequest(BaseModel, extra="forbid"):
    """What a customer wants. The shop knows the prices."""

    lines: Annotated[list[WantedLine], Field(min_length=1, max_length=20)]


IdempotencyKey = Annotated[
    str,
    Header(
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
        description="Chosen by the client, new for each order, and the same when it repeats the request.",
    ),
]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": Order, "description": "A repeated request."}, **answers(401, 409, 422, 503)},
)
async def place_order(
    wanted: OrderRequest, idempotency_key: IdempotencyKey, store: Shop, caller: Caller, response: Response
) -> Order:
    """Place an order: 201 for a new one, 200 for the one that an earlier request with this key has placed."""
    counts: dict[str, int] = {}
    for line in wanted.lines:
        counts[line.sku] = counts.get(line.sku, 0) + line.count
    order, is_new = await place(store, caller.id, idempotency_key, counts)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/orders/{order.id}"
    return order


@router.get("", responses={200: {"headers": LINK}, **answers(401, 422, 503)})
async def list_orders(store: Shop, paging: Paged, caller: Caller) -> Listing[Order]:
    """List the caller's orders, newest first."""
    return await paging.page(store.orders.by_customer(caller.id))


@router.get("/{order_id}", responses=answers(401, 404, 422, 503))
async def get_order(order_id: str, store: Shop, caller: Caller) -> Order:
    """Return an order of the caller's; another customer's is not found."""
    order = await store.orders.get(order_id)
    if order.customer_id != caller.id:
        raise OrderNotFoundError("another customer's", entity="Order")
    return order


@router.post("/{order_id}/cancellation", responses=answers(401, 404, 409, 422, 503))
async def cancel_order(order_id: str, store: Shop, caller: Caller) -> Order:
    """Cancel an order that is not packed. A repeated request changes nothing more."""
    return await cancel(store, caller.id, order_id)
