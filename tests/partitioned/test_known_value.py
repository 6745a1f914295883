"""A caller that knows what selects a row's partition says so: one round trip, and a wrong value finds no row."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from keyweave.errors import NotFoundError, TransactionRequiredError, ValidationError
from keyweave.model.ids import ksuid
from tests.over import opened_store
from tests.partitioned.estate import Estate, estate, opened
from tests.servers.running import server_url


@pytest.fixture(params=[1, 8])
def world(request: pytest.FixtureRequest) -> Iterator[Estate]:
    """Two accounts in two partitions, where there are several, with two deals each; of the first one a third, below its first."""
    with opened(ksuid(), partitions={"deals": request.param}) as found:
        for name in ("a1", other_of(found)):
            found.account(name)
            for number in range(2):
                found.store.deals.create(found.deal(f"{name}.{number}", name, worth=number))
        found.store.deals.create(found.deal("child", "a1", parent_id="a1.0"))
        yield found


def other_of(world: Estate) -> str:
    return "a2" if world.context.keyspace.number("deals") == 1 else world.others("a1")


def beside(world: Estate) -> str:
    """An account without deals in the partition of the first one: a wrong value that asks the right partition."""
    number = world.partition("a1").index
    return next(name for name in map("b{}".format, range(99)) if world.partition(name).index == number)


READS: dict[str, tuple[Callable[[Any, str], Any], Callable[[Any], bool]]] = {
    "get": (lambda deals, of: deals.get("a1.0", account_id=of), lambda row: row.id == "a1.0"),
    "find": (lambda deals, of: deals.find("a1.0", account_id=of), lambda row: row.id == "a1.0"),
    "exists": (lambda deals, of: deals.exists("a1.0", account_id=of), lambda found: found is True),
    "get_many": (
        lambda deals, of: deals.get_many(["a1.1", "nobody", "a1.0"], account_id=of),
        lambda rows: [row and row.id for row in rows] == ["a1.1", None, "a1.0"],
    ),
    "tree": (
        lambda deals, of: deals.tree("a1.0", account_id=of),
        lambda rows: [row.id for row in rows] == ["a1.0", "child"],
    ),
    "get_with": (
        lambda deals, of: deals.get_with_deals("a1.0", account_id=of),
        lambda pair: pair[0].id == "a1.0" and [row.id for row in pair[1]] == ["child"],
    ),
}
WRITES: dict[str, tuple[Callable[[Any, str], Any], Callable[[Any], bool]]] = {
    "change": (
        lambda deals, of: deals.change("a1.0", lambda row: setattr(row, "worth", 9), account_id=of),
        lambda row: row.worth == 9,
    ),
    "increment": (
        lambda deals, of: deals.increment("a1.0", "worth", 4, account_id=of),
        lambda row: row.worth == 4,
    ),
    "touch": (
        lambda deals, of: deals.touch_seen_at("a1.0", datetime(2030, 1, 1, tzinfo=UTC), account_id=of),
        lambda found: found is True,
    ),
    "delete": (lambda deals, of: deals.delete("a1.0", account_id=of), lambda nothing: nothing is None),
    "discard": (lambda deals, of: deals.discard("a1.0", account_id=of), lambda found: found is True),
    "delete_many": (
        lambda deals, of: deals.delete_many(["a1.1", "nobody", "a1.0"], account_id=of),
        lambda found: found == [True, False, True],
    ),
}
CALLS = READS | WRITES
NOTHING: dict[str, Any] = {
    "find": None,
    "exists": False,
    "get_many": [None, None, None],
    "tree": [],
    "touch": False,
    "discard": False,
    "delete_many": [False, False, False],
}
"""What calls return that find no row. The others raise the error of a row that does not exist."""


@pytest.mark.parametrize("name", CALLS)
def test_a_call_with_the_right_value_finds_the_row(world: Estate, name: str) -> None:
    call, fits = CALLS[name]
    assert fits(call(world.store.deals, "a1"))


@pytest.mark.parametrize("where", ["elsewhere", "beside"])
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_finds_no_row_and_changes_none(world: Estate, name: str, where: str) -> None:
    wrong = other_of(world) if where == "elsewhere" else beside(world)
    call, _ = CALLS[name]
    if name in NOTHING:
        assert call(world.store.deals, wrong) == NOTHING[name]
    else:
        with pytest.raises(NotFoundError, match=r"Deal 'a1\.0'"):
            call(world.store.deals, wrong)
    assert [row.id for row in world.store.deals.by_account("a1")] == ["child", "a1.1", "a1.0"]
    first = world.store.deals.get("a1.0")
    assert (first.worth, first.seen_at) == (0, None)


@pytest.mark.parametrize("name", CALLS)
def test_a_value_that_the_field_cannot_have_is_refused(world: Estate, name: str) -> None:
    call, _ = CALLS[name]
    with pytest.raises(ValidationError, match=r"Deal\.account_id: expected str, got int"):
        call(world.store.deals, 7)  # type: ignore[arg-type]


def test_a_transaction_with_values_reads_locks_and_writes_in_their_partition(world: Estate) -> None:
    wrong = beside(world)

    def work(transaction: Any) -> None:
        deals = transaction.deals
        with pytest.raises(NotFoundError):
            deals.get_for_update("a1.1", account_id=wrong)
        locked = deals.get_for_update("a1.0", account_id="a1")
        locked.worth = 30
        deals.save(locked)
        assert deals.get("a1.0", account_id="a1").worth == 30
        assert deals.find("a1.0", account_id=wrong) is None
        assert not deals.discard("a1.0", account_id=wrong)
        assert not deals.discard("a1.1", account_id=wrong)
        assert deals.discard("a1.1", account_id="a1")
        with pytest.raises(NotFoundError):
            deals.change("a1.0", lambda row: setattr(row, "worth", 1), account_id=wrong)

    world.store.transact(work)
    assert [row.worth for row in world.store.deals.get_many(["a1.0", "child"], account_id="a1")] == [30, 0]
    assert not world.store.deals.exists("a1.1")
    with pytest.raises(TransactionRequiredError):
        world.store.deals.get_for_update("a1.0", account_id="a1")


def test_an_update_that_names_the_value_asks_its_partition_first(world: Estate) -> None:
    assert world.store.deals.update("a1.0", account_id="a1", worth=8).worth == 8
    if world.context.keyspace.number("deals") > 1:
        with pytest.raises(ValidationError, match="decides the partition of a row"):
            world.store.deals.update("a1.0", account_id=other_of(world), worth=9)
    with pytest.raises(NotFoundError):
        world.store.deals.update("nobody", account_id="a1", worth=9)
    assert world.store.deals.get("a1.0").worth == 8


def test_only_methods_of_rows_whose_key_does_not_say_it_have_the_argument() -> None:
    for name in ("get", "get_many", "delete", "tree"):
        method = getattr(estate().sync.deal.DealRepository, name)
        assert inspect.signature(method).parameters["account_id"].default is None
        assert inspect.signature(method).parameters["account_id"].kind is inspect.Parameter.KEYWORD_ONLY
    for located in (estate().sync.account.AccountRepository, estate().sync.line.LineRepository):
        kinds = [parameter.kind for parameter in inspect.signature(located.get).parameters.values()]
        assert inspect.Parameter.KEYWORD_ONLY not in kinds


def test_asyncio_has_the_same_argument() -> None:
    async def work() -> None:
        store = await opened_store(estate().aio, "aio", server_url(), namespace=ksuid())
        try:
            await store.accounts.create(estate().Account(id="a1", email="e"))
            deal = estate().Deal(id="d", account_id="a1", state=estate().State.OPEN)
            await store.deals.create(deal)
            assert (await store.deals.get("d", account_id="a1")).id == "d"
            assert await store.deals.find("d", account_id="a2") is None
            assert (await store.deals.increment("d", "worth", 2, account_id="a1")).worth == 2
            assert await store.deals.delete_many(["d"], account_id="a2") == [False]
            assert await store.deals.delete_many(["d"], account_id="a1") == [True]
        finally:
            await store.close()

    asyncio.run(work())
