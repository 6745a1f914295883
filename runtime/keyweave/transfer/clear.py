"""Clears a namespace: removes every key that it has. For tests; nothing in production calls this."""

from __future__ import annotations

from keyweave.effects import Flow
from keyweave.exchange.ask import ask
from keyweave.integrity.scan import KeyScan
from keyweave.store.context import Context


def clear(context: Context) -> Flow[int]:
    """Remove every key of the namespace and return their number. Other namespaces do not change.

    Raises:
        StoreUnavailableError: or a subclass: the server cannot be used.
    """
    removed = 0
    scan = KeyScan(context)
    while not scan.done:
        keys = yield from scan.names()
        if keys:
            (count,) = yield from ask(context, (("UNLINK", *keys),))
            removed += count
    return removed
