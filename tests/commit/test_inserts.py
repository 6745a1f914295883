"""Inserts of many rows in one plan: the keyspace is the same as after single inserts, however many rows there are."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from keyweave.errors import AlreadyExistsError
from tests.bank import bank
from tests.harness import FLAVOURS, Harness, exchanges, harness


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, request.node.name, module=bank(), sweep_every=0) as opened:
        opened.do(opened.db.branches.create(bank().Branch(code="b")))
        yield opened


def accounts(number: int) -> list[Any]:
    """Rows with a numeric score, claims, a reference, and views that some of them share."""
    return [
        bank().Account(
            number=f"a{each}",
            name=f"n{each}",
            key="k",
            balance=each,
            branch="b" if each % 3 else None,
            state="open",
        )
        for each in range(number)
    ]


def entries(stores: Harness) -> dict[str, Any]:
    """The members of every view and every claim, in order, without moments."""
    return {
        re.sub(r"^.*?}:", "", name): value if kind == b"hash" else value[::2]
        for name, (kind, value, _) in stores.contents().items()
        if kind != b"string"
    }


@pytest.mark.parametrize("number", [2, 7, 1501])
def test_a_transaction_that_only_inserts_leaves_what_single_inserts_leave(
    stores: Harness, number: int, request: pytest.FixtureRequest
) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        for row in accounts(number):
            yield tx.accounts.create(row)

    stores.transact(steps)
    report = stores.do(stores.db.check())
    assert report.clean, report.drift
    rows = stores.do(stores.db.accounts.all().reverse().list())
    assert [row.number for row in rows] == [f"a{each}" for each in range(number)]
    assert len({row.made_at for row in rows}) == number
    if number < 100:
        with harness(stores.flavour, request.node.name, module=bank(), sweep_every=0) as other:
            other.do(other.db.branches.create(bank().Branch(code="b")))
            for row in accounts(number):
                other.do(other.db.accounts.create(row))
            assert entries(stores) == entries(other)


def test_one_command_of_the_script_writes_a_view_of_many_rows(stores: Harness) -> None:
    with exchanges(stores) as sent:
        stores.do(stores.db.accounts.create_many(accounts(50)))
    words = [*sent[-1][0]]
    assert words.count("inserts") == 1 and "put" not in words
    assert words.count("add") == 3  # all, the branch, the state
    assert words.count("claim") == 1
    assert words.count("exists") == 1


def test_a_row_that_exists_refuses_the_whole_transaction(stores: Harness) -> None:
    stores.do(stores.db.accounts.create(accounts(3)[2]))
    before = stores.contents()

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for row in accounts(3):
            yield tx.accounts.create(row)

    with pytest.raises(AlreadyExistsError):
        stores.transact(steps)
    assert stores.contents() == before
