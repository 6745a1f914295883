"""What a client may do with rows in several partitions, and how often it comes up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from tools.simulate.clients.menu import Dish
from tools.simulate.partitions.arena import CODES, ITEMS, OWNERS, PARTS, TICKETS


def _key(names: tuple[str, ...]) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda source: (source.choice(names),)


def _keys(names: tuple[str, ...]) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda source: tuple(source.choice(names) for _ in range(source.randint(1, 4)))


def _item(source: random.Random) -> tuple[Any, ...]:
    code = source.choice((None, *CODES))
    return source.choice(ITEMS), source.choice(OWNERS), code, source.choice(("open", "closed"))


def _items(source: random.Random) -> tuple[Any, ...]:
    return tuple(_item(source) for _ in range(source.randint(1, 5)))


def _pair(source: random.Random) -> tuple[Any, ...]:
    return (*source.sample(ITEMS, 2), source.choice((None, *CODES)))


def _box(source: random.Random) -> tuple[Any, ...]:
    return source.choice(OWNERS), source.choice((None, *CODES))


def _boxes(source: random.Random) -> tuple[Any, ...]:
    return tuple(_box(source) for _ in range(source.randint(1, 4)))


def _part(source: random.Random) -> tuple[Any, ...]:
    return source.choice(PARTS), source.choice(OWNERS)


def _parts(source: random.Random) -> tuple[Any, ...]:
    return tuple(_part(source) for _ in range(source.randint(1, 4)))


def _ticket(source: random.Random) -> tuple[Any, ...]:
    state = source.choice(("open", "closed", "closed"))
    return source.choice(TICKETS), source.choice(OWNERS), source.choice(CODES), state


MENU: Final = (
    Dish("item.create", 5, _item),
    Dish("item.upsert", 5, _item),
    Dish("item.change", 3, _item),
    Dish("item.save", 3, _item),
    Dish("item.move", 1, _item),
    Dish("item.delete", 5, _key(ITEMS)),
    Dish("item.get", 3, _key(ITEMS)),
    Dish("item.get_many", 2, _keys(ITEMS)),
    Dish("item.find_by_code", 2, _key(CODES)),
    Dish("item.list", 1, lambda source: (source.choice(("open", "closed")), source.choice((1, 2, 10)))),
    Dish("item.create_many", 3, _items),
    Dish("item.upsert_many", 3, _items),
    Dish("item.delete_many", 3, _keys(ITEMS)),
    Dish("item.replace", 2, _item),
    Dish("item.pair", 2, _pair),
    Dish("box.create", 2, _box),
    Dish("box.upsert", 3, _box),
    Dish("box.delete", 2, _key(OWNERS)),
    Dish("box.get", 1, _key(OWNERS)),
    Dish("box.create_many", 1, _boxes),
    Dish("box.delete_many", 1, _keys(OWNERS)),
    Dish("part.create", 4, _part),
    Dish("part.upsert", 2, _part),
    Dish("part.create_many", 2, _parts),
    Dish("part.delete", 2, _key(PARTS)),
    Dish("ticket.create", 3, _ticket),
    Dish("ticket.upsert", 3, _ticket),
    Dish("ticket.change", 2, _ticket),
    Dish("ticket.delete", 1, _key(TICKETS)),
    Dish("ticket.get", 1, _key(TICKETS)),
    Dish("ticket.wait", 1, lambda source: (source.choice((0.3, 1.0, 3.0)),)),
    Dish("sweep", 2, lambda source: (source.randint(1, 100),)),
    Dish("rest", 1, lambda source: (source.choice((0.1, 10.0, 400.0, 2000.0)),)),
)
"""A rest may be longer than a fence lives."""
