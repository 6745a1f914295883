"""What a client may do: names of operations, how often they come up, and the arguments that they are given.

The keyspace is small, so that clients meet. Programs of these names are in `programs_*`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

ITEMS: Final = 3
CODES: Final = ("red", "blue")
COUNTERS: Final = 3
ACCOUNTS: Final = 3
BOXES: Final = 2
PARTS: Final = 5
SEALS: Final = 2
TICKETS: Final = 3


class Dish(NamedTuple):
    """One kind of operation.

    Attributes:
        name: of its program.
        weight: how often it comes up among others.
        order: draws its arguments.
    """

    name: str
    weight: float
    order: Callable[[random.Random], tuple[Any, ...]]


def _one(letter: str, number: int) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda source: (f"{letter}{source.randrange(number)}",)


def _item(source: random.Random) -> tuple[Any, ...]:
    code = source.choice((None, None, *CODES))
    return (f"i{source.randrange(ITEMS)}", code, source.choice(("open", "closed")))


def _following(source: random.Random) -> tuple[Any, ...]:
    other, key = source.sample(range(ITEMS), 2)
    return f"i{other}", f"i{key}", source.choice((None, *CODES)), source.choice(("open", "closed"))


def _two(letter: str, number: int) -> Callable[[random.Random], tuple[Any, ...]]:
    def order(source: random.Random) -> tuple[Any, ...]:
        first, second = source.sample(range(number), 2)
        return f"{letter}{first}", f"{letter}{second}", source.randint(1, 9)

    return order


def _part(source: random.Random) -> tuple[Any, ...]:
    parent = source.choice((None, f"p{source.randrange(PARTS)}"))
    return f"p{source.randrange(PARTS)}", f"b{source.randrange(BOXES)}", parent


def _several(order: Callable[[random.Random], tuple[Any, ...]]) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda source: tuple(order(source) for _ in range(source.randint(1, 6)))


def _keys(letter: str, number: int) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda source: tuple(f"{letter}{source.randrange(number)}" for _ in range(source.randint(1, 4)))


def _ticket(source: random.Random) -> tuple[Any, ...]:
    return f"t{source.randrange(TICKETS)}", source.choice(CODES), source.choice(("open", "closed"))


def _tickets(source: random.Random) -> tuple[Any, ...]:
    """Two tickets that may share a plan: they have different keys and codes, and mostly no deadline."""
    state = source.choice(("open", "open", "closed"))
    keys = source.sample(range(TICKETS), len(CODES))
    return tuple((f"t{key}", code, state) for key, code in zip(keys, CODES, strict=True))


MENU: Final = (
    Dish("item.create", 3, _item),
    Dish("item.upsert", 4, _item),
    Dish("item.change", 4, _item),
    Dish("item.save", 3, _item),
    Dish("item.delete", 3, _one("i", ITEMS)),
    Dish("item.get", 4, _one("i", ITEMS)),
    Dish("item.find_by_code", 1, lambda source: (source.choice(CODES),)),
    Dish("item.list", 1, lambda source: (source.choice(("open", "closed")),)),
    Dish("item.replace", 2, _item),
    Dish("item.follow", 2, _following),
    Dish("item.create_many", 2, _several(_item)),
    Dish("item.upsert_many", 2, _several(_item)),
    Dish("item.delete_many", 1, _keys("i", ITEMS)),
    Dish("counter.change", 4, _one("c", COUNTERS)),
    Dish(
        "counter.rest", 1, lambda source: (f"c{source.randrange(COUNTERS)}", source.choice((0.05, 0.3, 1.1)))
    ),
    Dish("counter.raise", 1, _one("c", COUNTERS)),
    Dish("counter.get", 2, _one("c", COUNTERS)),
    Dish("counter.merge", 2, _one("c", COUNTERS)),
    Dish("counter.pair", 3, _two("c", COUNTERS)),
    Dish("counter.audit", 3, _two("c", COUNTERS)),
    Dish("counter.abort", 1, _two("c", COUNTERS)),
    Dish("account.transfer", 4, _two("a", ACCOUNTS)),
    Dish("account.locked_transfer", 3, _two("a", ACCOUNTS)),
    Dish("account.buy", 2, lambda source: (f"a{source.randrange(ACCOUNTS)}", *_item(source))),
    Dish("box.upsert", 2, _one("b", BOXES)),
    Dish("box.furnish", 4, lambda source: (f"b{source.randrange(BOXES)}", *_keys("p", PARTS)(source))),
    Dish("box.delete", 4, _one("b", BOXES)),
    Dish("part.create", 4, _part),
    Dish("part.move", 2, _part),
    Dish("part.create_many", 2, _several(_part)),
    Dish("box.delete_many", 1, _keys("b", BOXES)),
    Dish("part.delete", 1, _one("p", PARTS)),
    Dish("box.delete_in_transaction", 1, _one("b", BOXES)),
    Dish("seal.create", 1, lambda source: (f"s{source.randrange(SEALS)}", f"b{source.randrange(BOXES)}")),
    Dish("seal.delete", 2, _one("s", SEALS)),
    Dish("ticket.create", 3, _ticket),
    Dish("ticket.create_many", 3, _tickets),
    Dish("ticket.upsert", 3, _ticket),
    Dish("ticket.change", 3, _ticket),
    Dish("ticket.delete", 1, _one("t", TICKETS)),
    Dish("ticket.get", 2, _one("t", TICKETS)),
    Dish("ticket.meet", 2, lambda source: (f"t{source.randrange(2)}", source.choice(CODES), "closed")),
    Dish("ticket.wait", 1, lambda source: (source.choice((0.3, 1.0, 3.0)),)),
    Dish("sweep", 1, lambda source: (source.randint(1, 100),)),
)
