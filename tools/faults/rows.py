"""The rows of a round, written before it and read after it by an administrator, past the proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tools.faults.settings import Settings
from tools.faults.site.server import Server
from tools.faults.site.site import Site
from tools.faults.trial import trial
from tools.faults.writers.desk import ACCOUNTS, BALANCE, BOXES, COUNTERS

ENTITIES: Final = {
    "Counter": "counters",
    "Account": "accounts",
    "Item": "items",
    "Claim": "claims",
    "Ticket": "tickets",
}
"""The entities that the judge reads, with the names of their repositories."""


@contextmanager
def opened(server: Server, package: Path) -> Iterator[Any]:
    """Open a store as the administrator, past the proxy."""
    with trial(package).sync.Store.open(f"unix://{server.socket}", sweep_every=0, moment=0.01) as store:
        yield store


def write_rows(site: Site, settings: Settings, package: Path) -> None:
    """Write the rows that must be there, and keep them from later cuts."""
    models = trial(package)
    with opened(site.server, package) as store:
        if settings.ahead:
            clock = store.session.context.partition(models.PACKAGE.entities["Counter"]).clock
            site.server.ask("SET", clock, round((time.time() + settings.ahead) * 1_000_000))
            site.note(f"clocks of revisions {settings.ahead} s ahead")
        for key in COUNTERS:
            store.counters.create(models.Counter(id=key))
        for key in ACCOUNTS:
            store.accounts.create(models.Account(id=key, balance=BALANCE))
        for key in BOXES:
            store.boxes.create(models.Box(id=key))
    if site.replica is not None:
        site.server.ask("WAIT", 1, 5_000)
        site.replica.wait_for_link()
        site.replica.keep_present()
    site.server.keep_present()


def rows_of(server: Server, store: Any, name: str) -> list[Any]:
    """Return the live rows of an entity, found by their documents and not by an index."""
    context = store.session.context
    prefix = context.partition(context.package.entities[name]).document_prefix(name)
    with server.client() as client:
        keys = [key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}*", count=1000)]
    rows = getattr(store, ENTITIES[name]).get_many(sorted(set(keys))) if keys else []
    return [row for row in rows if row is not None]
