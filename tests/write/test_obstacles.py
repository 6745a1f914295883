"""Rows that are in the way of a write and that no other writer put there: ended, freed, or claims without a row.

They are removed together, whatever their number, and a transaction does not run again because of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.depot import depot
from tests.harness import AT_ONCE, FLAVOURS, Harness, Steps, exchanges, harness, until_freed

MANY = 70
"""More than one run could clean when each obstacle cost an attempt."""


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stores(flavour: str) -> Iterator[Harness]:
    """A store whose closed tickets end at once, and that no write sweeps."""
    with harness(
        flavour, "obstacles", module=depot(), retention={"Ticket": AT_ONCE}, sweep_every=0
    ) as opened:
        yield opened


def ticket(key: str, code: str, *, closed: bool = False) -> Any:
    state = depot().State
    return depot().Ticket(id=key, code=code, state=state.CLOSED if closed else state.OPEN)


def end(stores: Harness, number: int) -> None:
    """Create tickets in one step that end at once."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for each in range(number):
            yield tx.tickets.create(ticket(f"old{each}", f"code{each}", closed=True))

    stores.transact(steps)


def creating(prefix: str, number: int, runs: list[int]) -> Steps:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        runs.append(number)
        for each in range(number):
            yield tx.tickets.create(ticket(f"{prefix}{each}", f"code{each}"))

    return steps


@pytest.mark.parametrize("prefix", ["new", "old"])
def test_ended_rows_cost_a_transaction_no_run(stores: Harness, prefix: str) -> None:
    """The new rows have the unique values of ended rows, or their keys as well."""
    end(stores, MANY)
    runs: list[int] = []
    stores.transact(creating(prefix, MANY, runs))
    assert len(runs) == 1
    assert stores.do(stores.db.tickets.by_state(depot().State.OPEN).count()) == MANY
    report = stores.do(stores.db.check())
    assert report.clean and report.unswept == 0


def test_ended_rows_are_removed_together(stores: Harness) -> None:
    """The number of exchanges of a commit does not depend on the number of obstacles."""
    sent: list[int] = []
    for number in (5, MANY):
        end(stores, number)
        counts: list[int] = []

        def steps(tx: Any, number: int = number, counts: list[int] = counts) -> Generator[Any, Any, None]:
            for each in range(number):
                yield tx.tickets.create(ticket(f"new{number}-{each}", f"code{each}"))
            counts.append(len(commands))

        with exchanges(stores) as commands:
            stores.transact(steps)
        sent.append(len(commands) - counts[-1])
        for each in range(number):
            stores.do(stores.db.tickets.delete(f"new{number}-{each}"))
    assert abs(sent[1] - sent[0]) <= 3, f"{sent}: apart from a script's text and the server's time"


@pytest.mark.parametrize("prefix", ["new", "old"])
def test_freed_rows_cost_a_transaction_no_run(flavour: str, prefix: str) -> None:
    options: dict[str, Any] = {"retention": {"Ticket": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}
    with harness(flavour, "freed-obstacles", module=depot(), **options) as stores:
        end(stores, MANY)
        entity = stores.db.session.context.package.entities["Ticket"]
        until_freed(stores, entity, [f"old{each}" for each in range(MANY)])
        runs: list[int] = []
        stores.transact(creating(prefix, MANY, runs))
        assert len(runs) == 1
        report = stores.do(stores.db.check())
        assert (report.clean, report.unswept) == (True, MANY if prefix == "new" else 0)


def test_claims_without_a_row_cost_a_transaction_no_run(stores: Harness) -> None:
    claims = stores.db.session.context.keyspace.partition("goods").claims("Ticket", "code")
    stores.send(("HSET", claims, *(word for n in range(MANY) for word in (f"code{n}", f"lost{n}"))))
    runs: list[int] = []
    stores.transact(creating("new", MANY, runs))
    assert len(runs) == 1
    assert stores.do(stores.db.check()).clean


def test_members_without_a_row_cost_an_insert_into_an_empty_view_no_run(stores: Harness) -> None:
    partition = stores.db.session.context.keyspace.partition("goods")
    view = partition.view("Ticket", "by_state", (depot().State.OPEN.value,))
    stores.send(("ZADD", view, *(word for n in range(250) for word in (n + 1, f"lost{n}"))))
    runs: list[int] = []

    def steps(tx: Any) -> Generator[Any, Any, None]:
        runs.append(0)
        yield tx.tickets.create(ticket("first", "code"), if_none="by_state")

    stores.transact(steps)
    assert len(runs) == 1
    assert stores.do(stores.db.check()).clean


def test_another_writer_in_the_way_still_costs_a_run(stores: Harness) -> None:
    """Between the function and its commit, another writer takes one of the values, and ended rows hold others."""
    end(stores, MANY)
    runs: list[int] = []

    def steps(tx: Any) -> Generator[Any, Any, None]:
        runs.append(0)
        for each in range(MANY):
            code = f"code{each}" if each or len(runs) == 1 else "other"
            yield tx.tickets.create(ticket(f"new{each}", code))
        if len(runs) == 1:
            yield stores.db.tickets.create(ticket("first", "code0"))

    stores.transact(steps)
    assert len(runs) == 2
    assert stores.do(stores.db.tickets.get_by_code("code0")).id == "first"
    assert stores.do(stores.db.check()).clean
