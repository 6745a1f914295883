"""A page over all partitions whose rows change between its two round trips: the page is right, full, and costs one trip more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from keyweave.model.ids import ksuid
from tests.partitioned.estate import Estate, estate, opened
from tests.waiting import wait_until

ACCOUNTS = [f"a{number}" for number in range(12)]
ROWS = 60


@pytest.fixture
def world() -> Iterator[Estate]:
    """Deals of twelve accounts, whose worth is their number."""
    with opened(ksuid(), partitions={"deals": 16}) as found:
        for name in ACCOUNTS:
            found.account(name)
        for number in range(ROWS):
            found.store.deals.create(found.deal(f"d{number}", ACCOUNTS[number % 12], worth=number))
        yield found


class Between:
    """Runs a function before one exchange of a store, and counts all of them."""

    def __init__(self, world: Estate, number: int, function: Callable[[], Any]) -> None:
        self.count = 0
        channel = world.store._session.shell.channel
        send = channel.exchange

        def exchange(*args: Any) -> Any:
            self.count += 1
            if self.count == number:
                function()
            return send(*args)

        channel.exchange = exchange


@pytest.fixture
def other(world: Estate) -> Iterator[Estate]:
    """The namespace in another process."""
    with opened(world.context.keyspace.namespace.tenant, partitions={"deals": 16}) as found:
        yield found


def names(rows: Any) -> list[str]:
    return [row.id for row in rows]


def newest(first: int, last: int, *without: int) -> list[str]:
    return [f"d{number}" for number in range(first, last - 1, -1) if number not in without]


def test_deleted_rows_make_room_for_the_next_ones(world: Estate, other: Estate) -> None:
    def delete() -> None:
        for number in (59, 51, 50):
            other.store.deals.delete(f"d{number}")

    made = Between(world, 2, delete)
    page = world.store.deals.all().page(10)
    assert names(page) == newest(58, 47, 51, 50)
    assert made.count == 3
    rest = world.store.deals.all().page(60, page.cursor)
    assert names(rest) == newest(46, 0)
    assert rest.cursor is None
    assert world.store.stats.dead_met == 0


def test_rows_that_are_deleted_at_the_end_leave_a_shorter_page(world: Estate, other: Estate) -> None:
    made = Between(world, 2, lambda: other.store.deals.delete("d3"))
    page = world.store.deals.all().page(100)
    assert names(page) == newest(59, 0, 3)
    assert page.cursor is None
    assert made.count == 3


def test_many_deleted_rows_are_replaced_by_what_was_not_read_at_first(world: Estate, other: Estate) -> None:
    def delete() -> None:
        for number in range(20, 60):
            other.store.deals.delete(f"d{number}")

    Between(world, 2, delete)
    page = world.store.deals.all().page(5)
    assert names(page) == newest(19, 15)
    assert names(world.store.deals.all().page(60, page.cursor)) == newest(14, 0)


def test_a_row_that_left_the_list_is_left_out_and_one_that_moved_is_at_its_new_place(
    world: Estate, other: Estate
) -> None:
    rows = world.store.deals.by_state(estate().State.OPEN)

    def change() -> None:
        other.store.deals.update("d58", state=estate().State.CLOSED)
        other.store.deals.update("d57", worth=100)
        other.store.deals.update("d59", worth=52)
        other.store.deals.update("d54", worth=1)

    # An estimate of the servers' times that is young when the documents are asked for may be too old when they have come.
    partitions, clock = world.context.keyspace.partitions(), world.context.clock
    wait_until(lambda: not any(clock(each).reliable() for each in partitions))
    made = Between(world, 2, change)
    page = rows.page(10)
    # The place of d59 is that of d52, and ids decide; d54 is behind the page now.
    assert names(page) == ["d57", "d56", "d55", "d53", "d59", "d52", "d51", "d50", "d49", "d48"]
    assert made.count == 3
    assert names(rows.page(60, page.cursor)) == [*newest(47, 2), "d54", "d1", "d0"]


def test_rows_whose_retention_has_ended_make_room_too(world: Estate, other: Estate) -> None:
    namespace = world.context.keyspace.namespace.tenant
    with opened(
        namespace, retention={"Deal": timedelta(milliseconds=1)}, partitions={"deals": 16}, sweep_every=0
    ) as short:
        for number in (59, 55, 54, 40):
            short.store.deals.update(f"d{number}", state=estate().State.CLOSED)
        wait_until(lambda: short.store.deals.find("d40") is None)
        made = Between(short, 0, lambda: None)
        page = short.store.deals.all().page(10)
        assert names(page) == newest(58, 47, 55, 54)
        assert made.count <= 4  # a server that was never asked for its time is asked once
        partitions, clock = short.context.keyspace.partitions(), short.context.clock
        wait_until(lambda: not any(clock(each).reliable() for each in partitions))
        before = made.count
        assert names(short.store.deals.all().page(10)) == newest(58, 47, 55, 54)
        assert made.count - before == 3
        assert names(short.store.deals.all().page(60, page.cursor)) == newest(46, 0, 40)


def test_an_entry_without_a_document_is_removed_on_the_way(world: Estate) -> None:
    partition = world.partition("a7")
    view = partition.view("Deal", "all", ())
    world.ask("DEL", partition.document("Deal", "d55"))  # 55 % 12 == 7
    page = world.store.deals.all().page(10)
    assert names(page) == newest(59, 49, 55)
    assert world.ask("ZSCORE", view, "d55") is None
    assert (world.store.stats.dead_met, world.store.stats.healed) == (1, 1)


def test_many_rows_of_one_score_have_their_pages(world: Estate) -> None:
    for number in range(ROWS):
        world.store.deals.update(f"d{number}", worth=7)
    rows = world.store.deals.by_state(estate().State.OPEN)
    found: list[str] = []
    cursor = None
    while True:
        page = rows.page(7, cursor)
        found += names(page)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == sorted((f"d{number}" for number in range(ROWS)), reverse=True)
