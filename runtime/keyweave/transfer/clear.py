"""Clears a namespace: removes every key that it has. For tests; nothing in production calls this."""

from __future__ import annotations

from keyweave.effects import Flow
from keyweave.exchange.ask import ask
from keyweave.store.context import Context


def clear(context: Context) -> Flow[int]:
    """Remove every key of the namespace and return their number. Other namespaces do not change.

    Raises:
        StoreUnavailableError: or a subclass: the server cannot be used.
    """
    removed = 0
    cursor: bytes | int = 0
    pattern = context.keyspace.pattern()
    while True:
        ((cursor, keys),) = yield from ask(context, (("SCAN", cursor, "MATCH", pattern, "COUNT", 1000),))
        if keys:
            (count,) = yield from ask(context, (("UNLINK", *keys),))
            removed += count
        if int(cursor) == 0:
            return removed
