"""Round trips of calls on several partitions: how many exchanges each takes, whichever flavour sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyweave.model.ids import ksuid
from keyweave.model.record import memory_of
from tests.over import opened_store
from tests.partitioned.estate import estate
from tests.servers.running import server_url

FLAVOURS = ("sync", "aio")
ROWS = 60


class Counted:
    """A store of either flavour with sixteen partitions that counts its exchanges; another one wrote the rows."""

    def __init__(self, flavour: str, namespace: str, **options: Any) -> None:
        self.flavour = flavour
        self.runner = asyncio.Runner()
        self.store: Any = self.do(
            opened_store(
                getattr(estate(), flavour),
                flavour,
                server_url(),
                namespace=namespace,
                sweep_every=0,
                **options,
            )
        )
        self.exchanges = self.documents = 0
        channel = self.store.session.shell.channel
        send = channel.exchange

        def counting(*args: Any) -> Any:
            self.exchanges += 1
            replies = send(*args)
            return self._counted_later(replies) if flavour == "aio" else self._counted(replies)

        self.store.session.shell.channel = _Channel(channel, counting)

    def _counted(self, replies: Any) -> Any:
        self.documents += documents(replies)
        return replies

    async def _counted_later(self, replies: Awaitable[Any]) -> Any:
        return self._counted(await replies)

    def do(self, result: Any) -> Any:
        return self.runner.run(_awaited(result)) if hasattr(result, "__await__") else result

    def trips(self, call: Callable[[Any], Any]) -> int:
        before = self.exchanges
        self.do(call(self.store))
        return self.exchanges - before

    def close(self) -> None:
        self.do(self.store.close())
        self.runner.close()


def documents(reply: Any) -> int:
    """How many documents a reply contains."""
    if isinstance(reply, list):
        return sum(map(documents, reply))
    return int(isinstance(reply, bytes) and reply.startswith(b'{"revision":'))


class _Channel:
    """A channel whose exchanges are counted."""

    def __init__(self, channel: Any, exchange: Callable[..., Any]) -> None:
        self._channel = channel
        self.exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


@contextmanager
def counted(flavour: str, namespace: str, partitions: int = 16) -> Iterator[Counted]:
    found = Counted(flavour, namespace, partitions={"deals": partitions})
    try:
        yield found
    finally:
        found.close()


def fill(world: Counted) -> None:
    """Twelve accounts with five deals each."""
    for number in range(12):
        world.do(world.store.accounts.create(estate().Account(id=f"a{number}", email=f"a{number}@x")))
    deals = [deal(f"d{number}", f"a{number % 12}") for number in range(ROWS)]
    assert all(isinstance(each, estate().Deal) for each in world.do(world.store.deals.create_many(deals)))


def deal(key: str, account: str) -> Any:
    return estate().Deal(id=key, account_id=account, state=estate().State.OPEN)


@pytest.fixture(params=FLAVOURS)
def namespace(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    name = ksuid()
    with counted(request.param, name) as writer:  # it also keeps the server
        fill(writer)
        yield request.param, name


def test_a_row_by_its_key_alone_takes_two_trips_then_one_and_with_its_value_one(
    namespace: tuple[str, str],
) -> None:
    with counted(*namespace) as world:
        get = [world.trips(lambda store: store.deals.get("d7")) for _ in range(3)]
        assert get == [2, 1, 1]
        assert world.trips(lambda store: store.deals.get("d8", account_id="a8")) == 1
        assert world.trips(lambda store: store.deals.get("d8")) == 1  # the value has said where it is
        assert world.trips(lambda store: store.deals.find("d8", account_id="a9")) == 1
        keys = [f"d{number}" for number in range(ROWS)]
        assert world.trips(lambda store: store.deals.get_many(keys)) == 2
        assert world.trips(lambda store: store.deals.get_many(["d9", "d21"], account_id="a9")) == 1
        assert world.trips(lambda store: store.deals.tree("d10", account_id="a10")) == 1
        assert world.trips(lambda store: store.deals.get_with_deals("d11", account_id="a11")) == 1


def test_a_change_with_its_value_takes_as_many_trips_as_with_one_partition(
    namespace: tuple[str, str],
) -> None:
    flavour, name = namespace
    calls: list[Callable[[Any], Any]] = [
        lambda store: store.deals.increment("d1", "worth", 1, account_id="a1"),
        lambda store: store.deals.change(
            "d2", lambda row: setattr(row, "worth", row.worth + 1), account_id="a2"
        ),
        lambda store: store.deals.update("d3", account_id="a3", worth=8),
    ]
    with counted(flavour, ksuid(), partitions=1) as one, counted(flavour, name) as many:
        fill(one)
        with counted(flavour, one.store.session.context.keyspace.namespace.tenant, 1) as cold:
            for world in (many, cold):  # the first write in a partition may learn the clock of its server
                for number in (1, 2, 3):
                    world.do(
                        world.store.deals.increment(f"d{number + 12}", "worth", 1, account_id=f"a{number}")
                    )
            assert [many.trips(call) for call in calls] == [cold.trips(call) for call in calls] == [2, 2, 2]


def test_an_insert_takes_one_trip_more_for_its_homes_and_a_save_takes_one(namespace: tuple[str, str]) -> None:
    with counted(*namespace) as world:
        world.do(world.store.deals.create(deal("first", "a1")))
        assert world.trips(lambda store: store.deals.create(deal("second", "a1"))) == 2
        row = world.do(world.store.deals.get("second", account_id="a1"))
        row.worth = 5
        assert world.trips(lambda store: store.deals.save(row)) == 1
        line = estate().Line(account_id="a1", number=1, text="no home")
        assert world.trips(lambda store: store.lines.create(line)) == 1


def test_a_page_over_all_partitions_takes_two_trips_and_reads_its_own_documents_only(
    namespace: tuple[str, str],
) -> None:
    """A third trip follows where one partition has far more than its share of the page."""
    with counted(*namespace) as world:
        assert world.trips(lambda store: store.deals.all().page(4)) == 2
        assert world.documents == 4
        before = world.documents
        assert world.trips(lambda store: store.deals.all().page(50)) in (2, 3)
        assert world.documents - before == 50
        assert world.trips(lambda store: store.deals.by_account("a1").page(50)) == 1
        assert world.trips(lambda store: store.deals.all().count()) == 1


@pytest.mark.parametrize("limit", [1, 7, 16, 50])
def test_pages_by_entries_have_the_rows_and_the_order_of_one_partition(
    namespace: tuple[str, str], limit: int
) -> None:
    def pages(store: Any, do: Callable[[Any], Any], reverse: bool) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            rows = store.deals.all().reverse() if reverse else store.deals.all()
            page = do(rows.page(limit, cursor))
            found += [row.id for row in page]
            cursor = page.cursor
            if cursor is None:
                return found
            assert len(page) == limit

    with counted(*namespace) as world:
        expected = [row.id for row in sorted(world.do(world.store.deals.get_many(ids())), key=creation)]
        assert pages(world.store, world.do, reverse=True) == expected
        assert pages(world.store, world.do, reverse=False) == expected[::-1]


def ids() -> list[str]:
    return [f"d{number}" for number in range(ROWS)]


def creation(row: Any) -> Any:
    stored = memory_of(row)
    assert stored is not None
    return stored.created, row.id


@pytest.mark.parametrize("harm", ["dangling", "moved", "unreadable"])
def test_a_page_over_all_partitions_leaves_out_what_is_not_as_its_entry_says(
    namespace: tuple[str, str], harm: str
) -> None:
    with counted(*namespace) as world:
        context = world.store.session.context
        partition = context.keyspace.partition("deals", "a7")
        name = partition.document("Deal", "d55")  # 55 % 12 == 7
        channel = world.store.session.shell.channel

        def ask(*command: Any) -> Any:
            return world.do(channel.exchange([command]))[0]

        if harm == "dangling":
            ask("DEL", name)
        elif harm == "unreadable":
            ask("SET", name, b"{")
        else:
            ask("SET", name, ask("GET", name).replace(b'"state":"open"', b'"state":"closed"'))
        rows = world.do(world.store.deals.by_state(estate().State.OPEN).page(ROWS))
        assert {row.id for row in rows} >= set(ids()) - {"d55"}
        if harm != "moved":
            assert "d55" not in {row.id for row in rows}


def test_a_transaction_inside_a_partition_takes_no_trip_for_homes_that_values_spare(
    namespace: tuple[str, str],
) -> None:
    with counted(*namespace) as world:

        def work(transaction: Any) -> Any:
            row = transaction.deals.get_for_update("d5", account_id="a5")
            if not hasattr(row, "__await__"):
                row.worth = 9
                return transaction.deals.save(row)

            async def later() -> Any:
                found = await row
                found.worth = 9
                return await transaction.deals.save(found)

            return later()

        # The first write in a partition may learn the clock of its server.
        world.do(world.store.deals.increment("d17", "worth", 1, account_id="a5"))
        assert world.trips(lambda store: store.transact(work)) == 2
        assert world.do(world.store.deals.get("d5", account_id="a5")).worth == 9
