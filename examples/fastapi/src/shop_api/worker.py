"""The worker: another process, with the blocking store, that packs what customers have ordered, oldest first."""

from __future__ import annotations

import logging
import threading

from keyweave.errors import KeyweaveError, LockTimeoutError, StoreUnavailableError
from web_shop import OrderNotFoundError, State
from web_shop.sync import Store, Transaction

logger = logging.getLogger("shop_api")


def pack(store: Store, order_id: str) -> bool:
    """Pack an order, unless another worker does, or it was cancelled. Returns whether this call has packed it.

    The state of the row decides, and it changes in the step that reads it. So any number of workers may call this for the
    same order, and may repeat it after an error: it is packed once.
    """

    def write(tx: Transaction) -> bool:
        order = tx.orders.get_for_update(order_id, wait=0)
        if order.state is not State.PLACED:
            return False
        order.state = State.PACKED
        tx.orders.save(order)
        return True

    try:
        return store.transact(write)
    except (LockTimeoutError, OrderNotFoundError):
        return False


def pack_batch(store: Store, size: int = 20) -> list[str]:
    """Pack up to `size` of the oldest orders, and return the keys of those that this call has packed.

    An order that cannot be packed is logged and stays; it does not stand in the way of the others.
    """
    packed: list[str] = []
    for order in store.orders.by_state(State.PLACED).reverse():
        if len(packed) == size:
            break
        try:
            if pack(store, order.id):
                packed.append(order.id)
        except StoreUnavailableError:
            raise
        except KeyweaveError:
            logger.exception("%s was not packed", order.id)
    return packed


def work(store: Store, stop: threading.Event, *, pause: float = 0.5) -> None:
    """Pack orders until `stop` is set. What has begun is ended first.

    Args:
        store: of the shop.
        stop: ends the work.
        pause: seconds between two looks while there is nothing to do, and after a failure of the server.
    """
    with store.sweeper():  # ended tokens and orders leave the server's memory
        while not stop.is_set():
            try:
                packed = pack_batch(store)
            except StoreUnavailableError as error:
                logger.warning("the store is unavailable: %s", error)
                packed = []
            for key in packed:
                logger.info("packed %s", key)
            if not packed:
                stop.wait(pause)
