"""Plays random calls on one partition and on several, and compares them after each step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.partitioned.parity.calls import ACCOUNTS, Call, Draw
from tests.partitioned.parity.package import twin
from tests.partitioned.parity.sides import Side, opened_side, outcome, plain


class Twins:
    """Namespaces with the same rows in other numbers of partitions.

    Args:
        sides: the first one has one partition.
        seed: of the calls.
    """

    def __init__(self, sides: list[Side], seed: int) -> None:
        self.sides = sides
        self.chance = random.Random(seed)
        self.draw = Draw(self.chance, self._account_of)
        self.accounts: dict[str, str] = {}

    def _account_of(self, key: str) -> str | None:
        return self.accounts.get(key)

    def begin(self) -> None:
        """Write an account for most names."""
        for number, name in enumerate(ACCOUNTS[:-2]):
            self._same(
                lambda _, place, name=name, number=number: place.accounts.create(  # type: ignore[misc]
                    twin().Account(id=name, email=f"{number}@x")
                )
            )

    def step(self) -> None:
        """Make one random call on each side, and compare what it returns and what rows there are then."""
        kind = self.chance.random()
        if kind < 0.3:
            self._same(self.draw.read())
        elif kind < 0.4:
            self._pages()
        else:
            drawn = self.draw.write if kind < 0.8 else self.draw.many if kind < 0.9 else self.draw.transaction
            self._same(drawn())
            self._compare_rows()

    def end(self) -> None:
        """Compare what is left, after sweeps, and what checks find."""
        for side in self.sides:
            side.stores[0].sweep()
            report = side.stores[0].check()
            assert report.clean, (side.partitions, report.drift)
            assert report.vacant == 0, side.partitions

    def _same(self, call: Call) -> Any:
        number = self.chance.randrange(2)
        found = [outcome(lambda side=side: call(side, side.stores[number])) for side in self.sides]  # type: ignore[misc]
        for side, other in zip(self.sides[1:], found[1:], strict=True):
            assert other == found[0], f"{side.partitions} partitions: {other}\none: {found[0]}"
        return found[0]

    def _compare_rows(self) -> None:
        """Compare all rows, in the order of their creation."""
        found = []
        for side in self.sides:
            store = side.stores[0]
            deals = store.deals.all().list()
            rest = [each.all().list() for each in (store.accounts, store.lines, store.notes, store.slots)]
            found.append(plain([deals, rest]))
            self.accounts = {row.id: row.account_id for row in deals}
        for side, other in zip(self.sides[1:], found[1:], strict=True):
            assert other == found[0], f"rows of {side.partitions} partitions: {other}\none: {found[0]}"

    def _pages(self) -> None:
        """Read one query page by page on each side, with calls between the pages."""
        rows, limit = self.draw.rows(), self.chance.choice([1, 2, 3, 7, 20, 50])
        written = self.chance.random() < 0.3
        cursors: list[str | None] = [None for _ in self.sides]
        ended = False
        while not ended:
            read = [
                outcome(lambda side=side, cursor=cursor: rows(side.stores[0]).page(limit, cursor))  # type: ignore[misc]
                for side, cursor in zip(self.sides, cursors, strict=True)
            ]
            if any(each[:1] == ["error"] for each in read):
                assert read[1:] == read[:-1], read
                return
            pages = [
                rows(side.stores[0]).page(limit, cursor)
                for side, cursor in zip(self.sides, cursors, strict=True)
            ]
            found = [plain(page) for page in pages]
            assert found == read  # reading twice makes no difference
            for side, other in zip(self.sides[1:], found[1:], strict=True):
                assert other == found[0], f"page of {side.partitions} partitions: {other}\none: {found[0]}"
            # A page may have a cursor although no row follows.
            cursors = [
                page.cursor if page.cursor is not None or not any(found) else cursor
                for page, cursor in zip(pages, cursors, strict=True)
            ]
            ended = any(page.cursor is None for page in pages)
            for side, page in zip(self.sides, pages, strict=True):
                if ended and page.cursor is not None:
                    assert not rows(side.stores[0]).page(limit, page.cursor).rows, side.partitions
            if written and not ended:
                self._same(self.draw.write())
                self._compare_rows()


@contextmanager
def twins(seed: int, partitions: tuple[int, ...]) -> Iterator[Twins]:
    """Sides with one partition and with so many, and some accounts."""
    sides: list[Side] = []
    try:
        for number in (1, *partitions):
            sides.append(opened_side(number))
        found = Twins(sides, seed)
        found.begin()
        yield found
    finally:
        for side in sides:
            side.close()


def play(seed: int, steps: int, partitions: tuple[int, ...] = (8, 16)) -> None:
    """Compare some steps of a seed.

    Raises:
        AssertionError: two sides differ; the message holds the seed and the number of the step.
    """
    with twins(seed, partitions) as found:
        for number in range(steps):
            try:
                found.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {number}: {error}") from error
        found.end()
