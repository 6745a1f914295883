"""Placing and cancelling an order: the order and the stock of its products change in one atomic step."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from keyweave.model.ids import uuid7_text
from shop_api.problems import Refusal
from web_shop import Line, Order, OrderNotFoundError, ProductNotFoundError, RequestRepeatedError, State
from web_shop.aio import Store, Transaction


class OutOfStock(Refusal):
    """There is not enough of a product; of one that is not for sale, nothing."""

    def __init__(self, sku: str, left: int) -> None:
        super().__init__(409, "out-of-stock", f"{sku}: {left} left")


async def place(
    store: Store, customer_id: str, request_id: str, counts: Mapping[str, int]
) -> tuple[Order, bool]:
    """Place an order, and return it with whether it is new.

    The row of an order holds the key of its request, and the pair of customer and key is unique. So a repeated request
    finds the order that an earlier one has placed, whichever process answers it, and two at the same time place one order.

    Args:
        store: of the shop.
        customer_id: of the buyer.
        request_id: the key of the request.
        counts: how many of each product.

    Raises:
        Refusal: there is not enough of a product, or the key belongs to an order of something else.
    """
    order_id = uuid7_text()  # outside of `write`: when that runs again, it writes the same row

    async def write(tx: Transaction) -> Order:
        earlier = await tx.orders.find_by_request(customer_id, request_id)
        if earlier is not None:
            return earlier
        lines = []
        for sku in sorted(
            counts
        ):  # locks are taken in one order, so that two transactions never wait for each other
            try:
                product = await tx.products.get_for_update(sku)
            except ProductNotFoundError:
                raise OutOfStock(sku, 0) from None
            if product.stock < counts[sku]:
                raise OutOfStock(sku, product.stock)
            product.stock -= counts[sku]
            await tx.products.save(product)
            lines.append(Line(sku=sku, count=counts[sku], price=product.price))
        total = sum((line.price * line.count for line in lines), Decimal(0))
        order = Order(id=order_id, customer_id=customer_id, request_id=request_id, lines=lines, total=total)
        return await tx.orders.create(order)

    try:
        order = await store.transact(write)
    except (RequestRepeatedError, OutOfStock):  # perhaps because a request with the same key was faster
        earlier = await store.orders.find_by_request(customer_id, request_id)
        if earlier is None:
            raise
        order = earlier
    if {line.sku: line.count for line in order.lines} != counts:
        raise Refusal(409, "key-used", "This Idempotency-Key belongs to another order.")
    return order, order.id == order_id


async def cancel(store: Store, customer_id: str, order_id: str) -> Order:
    """Cancel an order, and put what it took back into stock.

    Raises:
        OrderNotFoundError: the customer has no such order.
        Refusal: it is packed.
    """

    async def write(tx: Transaction) -> Order:
        order = await tx.orders.get_for_update(order_id)
        if order.customer_id != customer_id:
            raise OrderNotFoundError("another customer's", entity="Order")
        if order.state is State.CANCELLED:
            return order
        if order.state is not State.PLACED:
            raise Refusal(409, "packed", "The order is packed.")
        for line in order.lines:
            try:
                product = await tx.products.get_for_update(line.sku)
            except ProductNotFoundError:
                continue  # no longer for sale
            product.stock += line.count
            await tx.products.save(product)
        order.state = State.CANCELLED
        return await tx.orders.save(order)

    return await store.transact(write)
