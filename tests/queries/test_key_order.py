"""Rows with the same value of an order are in the order of their keys, as PostgreSQL's ORDER BY puts them."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from keyweave.query import at_least, one_of
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import written
from tests.oracle.server import session_dsn
from tests.queries.draw import literal
from tests.servers.running import new_namespace, server_url

SOURCES = {
    "package.yaml": """
package: tied_store
namespace: {app: tied, version: v1, environment: test, tenant: t}
groups: {all: {}}
""",
    "number.yaml": """
entity: Number
group: all
key: number
fields:
  number: {type: int}
  parent: {type: int, optional: true}
  score: {type: int}
views:
  by_score: {fields: [], order: score, why: ties}
  by_parent: {fields: [parent], order: score, why: ties}
references:
  parent: {entity: Number, on_delete: cascade}
""",
    "place.yaml": """
entity: Place
group: all
key: [shelf, number, label, tag]
fields:
  shelf: {type: string}
  number: {type: int}
  label: {type: string}
  tag: {type: uuid}
  score: {type: int}
views:
  by_score: {fields: [], order: score, why: ties}
  by_shelf: {fields: [shelf], order: score, why: ties}
""",
}
TABLES = """
DROP TABLE IF EXISTS numbers; DROP TABLE IF EXISTS places;
CREATE TABLE numbers (number numeric PRIMARY KEY, parent numeric, score bigint);
CREATE TABLE places (shelf text COLLATE "C", number numeric, label text COLLATE "C", tag uuid, score bigint,
  PRIMARY KEY (shelf, number, label, tag));
"""
TEXTS = ["a", "ab", "a b", "a!", 'a"', "a:b", "B", "é", "\N{GRINNING FACE}", "\uffff", "", "\x01", "a\x01"]
NUMBERS = [0, 1, -1, 9, 10, -9, -10, 99, 100, -100, 2**63, -(2**63), 10**25, 10**26, -(10**26), 10**30]
KEYS = {"numbers": ("number",), "places": ("shelf", "number", "label", "tag")}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    made = written(load_sources(SOURCES), tmp_path_factory.mktemp("tied"))
    importlib.import_module("tied_store.sync")
    return made


@contextmanager
def database() -> Iterator[Callable[[str], Any]]:
    """A function that runs SQL on new tables and returns rows."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(session_dsn()))
        try:
            runner.run(connection.execute(TABLES))
            yield lambda text: runner.run(connection.fetch(text))
        finally:
            runner.run(connection.close())


def fill(chance: random.Random, package: Any, store: Any, sql: Callable[[str], Any]) -> None:
    """Write the same rows to both, with few different scores."""
    known: list[int] = []
    for number in chance.sample(NUMBERS, len(NUMBERS)):
        parent, score = chance.choice([None, *known]), chance.randrange(2)
        store.numbers.create(package.Number(number=number, parent=parent, score=score))
        sql(f"INSERT INTO numbers VALUES ({number}, {literal(parent)}, {score})")
        known.append(number)
    drawn = {
        (chance.choice(TEXTS), chance.choice(NUMBERS), chance.choice(TEXTS), UUID(int=chance.getrandbits(2)))
        for _ in range(200)
    }
    places = [
        package.Place(shelf=shelf, number=number, label=label, tag=tag, score=chance.randrange(2))
        for shelf, number, label, tag in drawn
    ]
    assert store.places.create_many(places) == places
    for row in places:
        texts = f"{literal(row.shelf)}, {row.number}, {literal(row.label)}, '{row.tag}', {row.score}"
        sql(f"INSERT INTO places VALUES ({texts})")


def ask(chance: random.Random, place: Any) -> tuple[str, str, Any]:
    """A query in the order of `score`: the table, the condition in SQL, and the handle."""
    table, score = chance.choice(list(KEYS)), chance.randrange(2)
    repository = getattr(place, table)
    if chance.random() < 0.3:
        return table, "TRUE", repository.by_score()
    if chance.random() < 0.3:
        return table, f"score >= {score}", repository.where(score=at_least(score)).order_by("score")
    if table == "numbers":
        some = chance.sample(NUMBERS, 6)
        if chance.random() < 0.5:
            handle = repository.where(number=one_of(*some)).order_by("score")
            return table, f"number IN ({', '.join(map(str, some))})", handle
        return table, f"parent = {some[0]}", repository.by_parent(some[0])
    shelves = chance.sample(TEXTS, 3)
    if chance.random() < 0.5:
        return table, f"shelf = {literal(shelves[0])}", repository.by_shelf(shelves[0])
    handle = repository.where(shelf=one_of(*shelves)).order_by("score")
    return table, f"shelf IN ({', '.join(map(literal, shelves))})", handle


def compare(chance: random.Random, place: Any, sql: Callable[[str], Any]) -> None:
    """Compare one query in one direction: all keys, and page by page."""
    table, condition, handle = ask(chance, place)
    way, rows = ("DESC", handle) if chance.random() < 0.5 else ("ASC", handle.reverse())
    names = KEYS[table]
    order = ", ".join(f"{name} {way}" for name in ("score", *names))
    found = sql(f"SELECT {', '.join(names)} FROM {table} WHERE {condition} ORDER BY {order}")
    expected = [tuple(plain(value) for value in row) for row in found]
    keys = rows.keys()
    assert [key if isinstance(key, tuple) else (key,) for key in keys] == expected
    assert [tuple(getattr(row, name) for name in names) for row in rows.list()] == expected
    seen: list[Any] = []
    cursor = None
    while True:
        page = rows.page(chance.randint(1, 40), cursor)
        seen += [tuple(getattr(row, name) for name in names) for row in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == expected


def plain(value: Any) -> Any:
    """A value of the database as the store has it."""
    return (
        int(value)
        if isinstance(value, Decimal)
        else UUID(int=value.int) if isinstance(value, UUID) else value
    )


@pytest.mark.parametrize("seed", range(4))
def test_ties_are_in_the_order_of_postgresql(package: Any, seed: int) -> None:
    chance = random.Random(seed)
    namespace = new_namespace("ties")
    with database() as sql, package.sync.Store.open(server_url(), namespace=namespace) as store:
        fill(chance, package, store, sql)
        for _ in range(30):
            compare(chance, store, sql)

        def inside(transaction: Any) -> None:
            row = transaction.numbers.get(9)
            transaction.numbers.update(9, score=1 - row.score)
            sql(f"UPDATE numbers SET score = {1 - row.score} WHERE number = 9")
            for _ in range(10):
                compare(chance, transaction, sql)

        store.transact(inside)
        assert store.check().clean
