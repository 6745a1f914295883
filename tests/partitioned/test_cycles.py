"""No operation leaves objects that refer to each other. Only Python's collector would free them, and the replies that they hold."""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from keyweave.model.ids import ksuid
from tests.partitioned.estate import estate
from tests.partitioned.test_trips import FLAVOURS, counted, deal, fill

WARM = 3
"""Calls before those that are examined: the first ones import, connect and remember."""

EXAMINED = 3
"""Calls that are examined. What one of them leaves may come from another thread; what all leave is the operation's own."""


def _more(row: Any) -> None:
    row.worth += 1


def _open(store: Any) -> Any:
    return store.deals.by_state(estate().State.OPEN)


def _transaction(flavour: str) -> Callable[[Any], Any]:
    def write(tx: Any) -> None:
        row = tx.deals.get("d2", account_id="a2")
        _more(row)
        tx.deals.save(row)
        tx.lines.upsert(estate().Line(account_id="a2", number=1, text="x"))

    async def write_later(tx: Any) -> None:
        row = await tx.deals.get("d2", account_id="a2")
        _more(row)
        await tx.deals.save(row)
        await tx.lines.upsert(estate().Line(account_id="a2", number=1, text="x"))

    function: Any = write if flavour == "sync" else write_later
    return lambda store: store.transact(function)


def _crowd(flavour: str) -> Callable[[Any], Any]:
    """Callers that write one row together."""

    def one(store: Any) -> Any:
        return store.deals.change("d5", _more, account_id="a5")

    async def together(store: Any) -> None:
        await asyncio.gather(*(one(store) for _ in range(12)))

    def at_once(store: Any) -> None:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(one, [store] * 12))

    return at_once if flavour == "sync" else together


CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda store: store.deals.get("d1", account_id="a1"),
    "get by the key alone": lambda store: store.deals.get("d1"),
    "get_many": lambda store: store.deals.get_many([f"d{number}" for number in range(40)]),
    "find nothing": lambda store: store.deals.find("nobody"),
    "create": lambda store: store.deals.create(deal(ksuid(), "a3")),
    "create_many": lambda store: store.deals.create_many([deal(ksuid(), "a4") for _ in range(3)]),
    "change": lambda store: store.deals.change("d1", _more, account_id="a1"),
    "increment": lambda store: store.deals.increment("d1", "worth", 1, account_id="a1"),
    "update": lambda store: store.deals.update("d1", account_id="a1", worth=4),
    "upsert": lambda store: store.accounts.upsert(estate().Account(id="a11", email="a11@x")),
    "page of a partition": lambda store: store.deals.by_account("a1").page(limit=3),
    "page over all": lambda store: store.deals.all().reverse().page(limit=20),
    "list over all": lambda store: store.deals.by_state(estate().State.OPEN).list(),
    "counts": lambda store: store.deals.by_state().group_counts(),
    "tree": lambda store: store.deals.tree("d10", account_id="a10"),
    "rows with their referrers": lambda store: store.accounts.with_deals(store.accounts.all()).list(),
    "a row with its referrers": lambda store: store.accounts.get_with_deals("a1"),
    "filters": lambda store: store.deals.where(state=estate().State.OPEN, worth=1).scan().list(),
    "semi-join": lambda store: store.accounts.all().having(_open(store)).list(),
    "sum": lambda store: _open(store).sum("worth"),
    "stretch": lambda store: _open(store).between(0, 3).list(),
    "union": lambda store: (store.deals.by_account("a1") | store.deals.by_account("a2")).list(),
    "unique value": lambda store: store.accounts.find_by_email("a1@x"),
    "discard": lambda store: store.deals.discard("d50"),
    "delete_many": lambda store: store.deals.delete_many(["d51", "nobody"]),
    "upsert_many": lambda store: store.deals.upsert_many([deal("d52", "a4"), deal("d53", "a5")]),
    "explain": lambda store: store.deals.all().explain(),
    "health": lambda store: store.health(),
    "check": lambda store: store.check(),
}


def collected() -> Counter[str]:
    """Leave to the collector what it finds; return the names of these objects."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(map(_name, gc.garbage))
    gc.garbage.clear()
    gc.collect()  # what was kept to be named is not found again
    return found


def _name(found: Any) -> str:
    return str(getattr(found, "__qualname__", type(found).__name__))


@pytest.fixture(params=FLAVOURS)
def world(request: pytest.FixtureRequest) -> Iterator[Any]:
    with counted(request.param, ksuid()) as found:
        fill(found)
        gc.collect()
        gc.freeze()  # so a collection does not examine everything that is there already
        yield found
        gc.unfreeze()


def left(world: Any, call: Callable[[Any], Any]) -> list[str]:
    """Names of the objects that an operation leaves every time."""

    async def calls() -> list[Counter[str]]:
        found = []
        for _ in range(WARM + EXAMINED):
            collected()
            gc.disable()
            try:
                result = call(world.store)
                if hasattr(result, "__await__"):
                    result = await result
                del result
                found.append(collected())
            finally:
                gc.enable()
        return found

    found = world.runner.run(calls()) if world.flavour == "aio" else _without_a_loop(calls())
    return sorted(functools.reduce(operator.and_, found[WARM:]).elements())


def _without_a_loop(calls: Coroutine[Any, Any, list[Counter[str]]]) -> list[Counter[str]]:
    try:
        calls.send(None)
    except StopIteration as ended:
        return list(ended.value)
    raise AssertionError("a blocking call was awaited")


def test_no_operation_leaves_a_cycle(world: Any) -> None:
    calls = {**CALLS, "transact": _transaction(world.flavour), "a crowd": _crowd(world.flavour)}
    assert {name: found for name, call in calls.items() if (found := left(world, call))} == {}


def test_a_cycle_would_be_found(world: Any) -> None:
    def call(store: Any) -> Any:
        own: list[Any] = []
        own.append(own)
        return store.deals.find("nobody")

    assert left(world, call) == ["list"]
