"""Plays random writes and queries to a store and to PostgreSQL, and compares what they find."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from tests.harness import in_batches
from tests.oracle.server import session_dsn
from tests.queries.draw import Drawn, literal, query, row
from tests.queries.package import stock
from tests.scripted import declare_keys
from tests.servers.running import new_namespace, server_url

TABLES = """
DROP TABLE IF EXISTS notes; DROP TABLE IF EXISTS items; DROP SEQUENCE IF EXISTS moments;
CREATE SEQUENCE moments;
CREATE TABLE items (
  id text COLLATE "C" PRIMARY KEY, kind text, owner text COLLATE "C", team text COLLATE "C", price bigint,
  weight double precision, opened timestamptz, length bigint, flag boolean, rank bigint, slug text COLLATE "C",
  cost numeric, day date, starts time, tags text[], made bigint, changed bigint
);
CREATE TABLE notes (id text PRIMARY KEY, item text, state bigint);
"""
COLUMNS = (
    "id",
    "kind",
    "owner",
    "team",
    "price",
    "weight",
    "opened",
    "length",
    "flag",
    "rank",
    "slug",
    "cost",
    "day",
    "starts",
    "tags",
)


def same(found: Any, expected: Any) -> None:
    """Fail with both sides when they differ; this also runs without pytest, whose messages would show them."""
    assert found == expected, f"found {found}, expected {expected}"


class Both:
    """A store and a database with the same rows."""

    def __init__(self, store: Any, runner: asyncio.Runner, database: Any, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self._runner = runner
        self._database = database
        self._notes = 0
        self.keys: set[str] = set()

    def sql(self, text: str) -> list[Any]:
        rows: list[Any] = self._runner.run(self._database.fetch(text))
        return rows

    def write(self, place: Any = None, without: Collection[str] = ()) -> str:
        """Write or delete a random row, whose key is not in `without`; returns its key."""
        place = self.store if place is None else place
        key = self.chance.choice([key for number in range(24) if (key := f"i{number}") not in without])
        if key in self.keys and self.chance.random() < 0.25:
            place.items.delete(key)
            self.sql(f"DELETE FROM notes WHERE item = '{key}'")
            self.sql(f"DELETE FROM items WHERE id = '{key}'")
            self.keys.discard(key)
            return key
        values = row(self.chance, key)
        place.items.upsert(stock().Item(**values))
        texts = ", ".join(literal(values[name]) for name in COLUMNS)
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*COLUMNS[1:], "changed"))
        self.sql(
            f"INSERT INTO items ({', '.join(COLUMNS)}, made, changed) SELECT {texts}, now, now "
            f"FROM (SELECT nextval('moments') AS now) AS moment ON CONFLICT (id) DO UPDATE SET {changes}"
        )
        self.keys.add(key)
        if self.chance.random() < 0.5:
            self._notes += 1
            state = self.chance.randrange(2)
            place.notes.create(stock().Note(id=f"n{self._notes}", item=key, state=state))
            self.sql(f"INSERT INTO notes VALUES ('n{self._notes}', '{key}', {state})")
        return key

    def compare(self) -> None:
        """Compare one random query, in one of the ways to ask."""
        drawn = query(self.chance)
        declare_keys(self.store.session.context, self.chance.random() < 0.2)
        ask = self.chance.choice(
            [self._whole, self._pages, self._numbers, self._between_writes, self._inside]
        )
        try:
            ask(drawn)
        except AssertionError as error:
            raise AssertionError(f"{ask.__name__}: {drawn.words}\n{drawn.sql}\n{error}") from error

    def handle(self, drawn: Drawn, place: Any = None) -> Any:
        place = self.store if place is None else place
        return drawn.make(place.items, place.notes)

    def expected(self, drawn: Drawn) -> list[str]:
        return [each["id"] for each in self.sql(drawn.sql)]

    def _whole(self, drawn: Drawn) -> None:
        rows, expected = self.handle(drawn), self.expected(drawn)
        same([each.id for each in rows.list()], expected)
        same([each.id for each in in_batches(rows, self.chance.randint(1, 5))], expected)
        first = rows.first()
        same((first.id if first is not None else None), (expected[0] if expected else None))

    def _pages(self, drawn: Drawn) -> None:
        rows, expected = self.handle(drawn), self.expected(drawn)
        same(self._read(rows, self.chance.randint(1, 7), lambda: None), expected)

    def _read(self, rows: Any, limit: int, between: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        for _ in range(100):
            page = rows.page(limit, cursor)
            assert len(page) <= limit
            found += [each.id for each in page]
            cursor = page.cursor
            if cursor is None:
                return found
            between()
        raise AssertionError("the pages do not end")

    def _numbers(self, drawn: Drawn) -> None:
        rows, expected = self.handle(drawn), self.expected(drawn)
        same(rows.keys(), expected)
        same(rows.count(), len(expected))
        same(rows.exists(), bool(expected))
        matched = f"FROM items WHERE ({drawn.where}) AND {drawn.column} IS NOT NULL"
        sums = self.sql(
            f"SELECT COALESCE(SUM(price), 0)::bigint AS price, COALESCE(SUM(length), 0)::bigint AS length {matched}"
        )
        length = timedelta(microseconds=sums[0]["length"])
        same((rows.sum("price"), rows.sum("length")), (sums[0]["price"], length))
        if drawn.order not in ("created", "revision", "length"):
            ends = self.sql(f"SELECT MIN({drawn.order}) AS low, MAX({drawn.order}) AS high {matched}")
            same((rows.min(), rows.max()), (ends[0]["low"], ends[0]["high"]))

    def _between_writes(self, drawn: Drawn) -> None:
        """Rows that no writer changes meanwhile are read once, in order."""
        rows, expected = self.handle(drawn), self.expected(drawn)
        written: set[str] = set()
        found = self._read(rows, self.chance.randint(1, 4), lambda: written.add(self.write()))
        same([key for key in found if key not in written], [key for key in expected if key not in written])

    def _inside(self, drawn: Drawn) -> None:
        """A transaction sees its own writes."""
        state = self.chance.getstate(), set(self.keys), self._notes
        self.sql("BEGIN")
        self.sql("SAVEPOINT work")

        def work(transaction: Any) -> None:
            # The function may run again, and then has to do the same.
            self.chance.setstate(state[0])
            self.keys, self._notes = set(state[1]), state[2]
            self.sql("ROLLBACK TO SAVEPOINT work")
            # A row that one transaction writes twice is created by the second write, so each is written once.
            written: list[str] = []
            for _ in range(self.chance.randint(1, 3)):
                written.append(self.write(transaction, written))
            rows, expected = self.handle(drawn, transaction), self.expected(drawn)
            same([each.id for each in rows.list()], expected)
            same(self._read(rows, self.chance.randint(1, 7), lambda: None), expected)
            same(rows.count(), len(expected))
            same(rows.keys(), expected)

        self.store.transact(work)
        self.sql("COMMIT")
        rows, expected = self.handle(drawn), self.expected(drawn)
        same(rows.keys(), expected)


@contextmanager
def both(seed: int) -> Iterator[Both]:
    """Open a store and a database with some rows."""
    with asyncio.Runner() as runner:
        database = runner.run(asyncpg.connect(session_dsn()))
        try:
            runner.run(database.execute(TABLES))
            with stock().sync.Store.open(server_url(), namespace=new_namespace("queries")) as store:
                opened = Both(store, runner, database, seed)
                for _ in range(20):
                    opened.write()
                yield opened
        finally:
            runner.run(database.close())


def play(seed: int, queries: int) -> None:
    """Compare some queries on the rows of a seed, with writes between them.

    Raises:
        AssertionError: the two differ; the message holds the seed and the query.
    """
    try:
        with both(seed) as opened:
            for _ in range(queries):
                opened.compare()
                if opened.chance.random() < 0.3:
                    opened.write()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
