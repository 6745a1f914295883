"""The command: `shop serve`, `shop work` and `shop token EMAIL`, on the store that `SHOP_STORE_URL` names."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import uvicorn

from shop_api import worker
from shop_api.auth import new_token
from web_shop import Customer, Role
from web_shop.sync import Store

SECONDS_TO_END = 20
"""How long requests under way may take after SIGTERM. Whatever stops the process has to wait longer than this."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="shop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer requests")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    commands.add_parser("work", help="pack orders")
    token = commands.add_parser("token", help="print a new token; adds the customer if there is none")
    token.add_argument("email")
    token.add_argument("--staff", action="store_true", help="a new customer is one of the staff")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if given.command == "serve":
        uvicorn.run(
            "shop_api.app:from_environment",
            factory=True,
            host=given.host,
            port=given.port,
            timeout_graceful_shutdown=SECONDS_TO_END,
            server_header=False,
        )
        return 0
    with _opened() as store:
        if given.command == "work":
            work(store)
        else:
            sys.stdout.write(f"{token_for(store, given.email, staff=given.staff)}\n")
    return 0


def _opened() -> Store:
    return Store.open(os.environ["SHOP_STORE_URL"], namespace=os.environ.get("SHOP_NAMESPACE"))


def work(store: Store) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.work(store, stop)


def token_for(store: Store, email: str, *, staff: bool = False) -> str:
    """Return a new token for the customer with this address, which is added if there is none."""
    customer = store.customers.find_by_email(email)
    if customer is None:
        role = Role.STAFF if staff else Role.CUSTOMER
        customer = store.customers.create(Customer(email=email, role=role))
    token, row = new_token(customer.id, label="command line")
    store.tokens.create(row)
    return token


if __name__ == "__main__":
    sys.exit(main())
