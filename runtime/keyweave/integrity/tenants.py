"""Finding the tenants of an application by the names of their keys, and the names of the keys of many tenants in one scan.

There is no list of tenants besides their keys: it could disagree with them. So finding them scans all keys of the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from keyweave.effects import Call, Command, Flow
from keyweave.exchange.ask import ask
from keyweave.integrity.check import begin
from keyweave.integrity.survey import Observer
from keyweave.keyspace.tenants import TenantParser
from keyweave.store.context import Context

TOGETHER: Final = 500_000
"""The most keys of tenants whose names are held in memory at a time: about 60 MB."""

MOST: Final = 1000
"""The most tenants whose keys are listed by one scan: each takes a few kilobytes until it is done."""

_KEYS: Final = 1000


def count_keys(context: Context, observe: Observer) -> Flow[Counter[str]]:
    """Return every tenant of the application and environment of a store, with the number of its keys."""
    counts: Counter[str] = Counter()

    def count(tenant: str, _: bytes) -> None:
        counts[tenant] += 1

    yield from _scan(context, count, "tenants", observe)
    return counts


def list_keys(context: Context, tenants: Collection[str], observe: Observer) -> Flow[dict[str, list[bytes]]]:
    """Return the names of all keys of some tenants."""
    names: dict[str, list[bytes]] = {tenant: [] for tenant in tenants}

    def keep(tenant: str, name: bytes) -> None:
        if tenant in names:
            names[tenant].append(name)

    yield from _scan(context, keep, "keys", observe)
    return names


def together(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the tenants, sorted, in lists of those whose keys are listed by one scan. A tenant with more keys is alone."""
    some: list[str] = []
    keys = 0
    for tenant in sorted(counts):
        if some and (keys + counts[tenant] > TOGETHER or len(some) == MOST):
            yield some
            some, keys = [], 0
        some.append(tenant)
        keys += counts[tenant]
    if some:
        yield some


def _scan(context: Context, found: Callable[[str, bytes], None], stage: str, observe: Observer) -> Flow[None]:
    progress = yield from begin(context, stage)
    parser, pattern = TenantParser(context.keyspace.namespace), context.keyspace.pattern_of_tenants()
    cursor = 0
    while True:
        command: Command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS)
        ((following, names),) = yield from ask(context, (command,))
        for name in names:
            tenant = parser.tenant(name)
            if tenant is not None:
                found(tenant, name)
        progress.keys = min(progress.total, progress.keys + _KEYS)
        yield Call(observe, progress)
        cursor = int(following)
        if not cursor:
            return
