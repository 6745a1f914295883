"""docs/studio: pictures of `keyweave studio`, with the shop of `keyweave init --example`, in a headless Chromium.

`python -m tools.pages.studio` makes them.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, Final

import uvicorn

from keyweave.studio import serve
from tools.pages.browser import Browser, browser

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "studio"

WIDE: Final = (1200, 720)
PHONE: Final = (390, 720)

PICTURES: Final = {
    "entities.png": ("", WIDE, False),
    "rows.png": ("rows/Order?view=by_state&value=paid", WIDE, False),
    "row-dark.png": ("row/Order?key=o101", WIDE, True),
    "row-phone.png": ("row/Customer?key=ann", PHONE, False),
    "health-dark-phone.png": ("health", PHONE, True),
}
"""File -> path of the page, size of the window, and whether dark colours are preferred."""


@contextmanager
def shop() -> Iterator[Any]:
    """An open store with rows of the example's schema; some of their text is meant to break a page that does not escape it."""
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        project = Path(folder) / "shop"
        for words in (["init", str(project), "--example"], ["generate"]):
            where = project if project.exists() else folder
            subprocess.run(
                [sys.executable, "-m", "keyweave.cli", *words], cwd=where, check=True, capture_output=True
            )
        sys.path.insert(0, str(project / "generated"))
        try:
            models = importlib.import_module("shop_store")
            with importlib.import_module("shop_store.sync").Store.open("embedded:") as store:
                _fill(store, models)
                yield store
        finally:
            sys.path.remove(str(project / "generated"))
            for name in [name for name in sys.modules if name.partition(".")[0] == "shop_store"]:
                del sys.modules[name]


def _fill(store: Any, models: Any) -> None:
    for name in ("ann", "bob", "eve"):
        store.customers.create(models.Customer(id=name, email=f"{name.title()}@example.com"))
    for sku, title in (("tea", "Green tea"), ("cup", "A cup <with> & 'quotes'"), ("pot", "Pot " * 40)):
        store.products.create(models.Product(sku=sku, title=title, stock=len(title)))
    for number in range(120):
        customer, sku = ("ann", "bob", "eve")[number % 3], ("tea", "cup", "pot")[number % 3]
        state = (models.State.OPEN, models.State.PAID, models.State.PAID)[number % 3]
        store.orders.create(
            models.Order(id=f"o{number}", customer_id=customer, sku=sku, count=1 + number % 7, state=state)
        )


@contextmanager
def served(store: Any) -> Iterator[str]:
    """The URL of the studio of a store."""
    urls: Queue[str] = Queue()
    servers: list[uvicorn.Server] = []
    thread = threading.Thread(
        target=serve.serve, args=(store.session, 0, urls.put), kwargs={"observe": servers.append}
    )
    thread.start()
    try:
        yield urls.get(timeout=60)
    finally:
        servers[0].should_exit = True
        thread.join()


def pictures(window: Browser, url: str) -> Iterator[tuple[str, bytes]]:
    """Every picture by its file."""
    for name, (path, (width, height), dark) in PICTURES.items():
        window.shape(width, height, dark=dark, phone=(width, height) == PHONE)
        window.open(url + path)
        yield name, window.picture()


def main() -> int:
    """Make the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with browser() as window, shop() as store, served(store) as url:
        for name, picture in pictures(window, url):
            (FOLDER / name).write_bytes(picture)
            sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
