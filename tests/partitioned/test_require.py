"""`require` where a group has several partitions: what a key shows is not asked, and what it does not show is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from keyweave.errors import CrossPartitionError, NotFoundError, ReferenceViolationError
from keyweave.keyspace.spread import place_of
from tests.harness import FLAVOURS, Harness, exchanges, harness
from tests.partitioned.estate import estate

PARTITIONS = 16


@contextmanager
def opened(flavour: str, name: str | Harness) -> Iterator[Harness]:
    options: dict[str, Any] = {"partitions": {"deals": PARTITIONS}, "sweep_every": 0}
    retention = {"Deal": timedelta(days=1)}
    with harness(flavour, name, module=estate(), count=2, retention=retention, **options) as stores:
        yield stores


@pytest.fixture(params=FLAVOURS)
def world(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Accounts, each with a deal and a line. The stores have met none of these rows, and know the clocks of their servers."""
    with opened(request.param, request.node.name) as writer:
        for name in [*map("a{}".format, range(12)), SAME]:
            writer.do(writer.db.accounts.create(estate().Account(id=name, email=f"{name}@x")))
            writer.do(writer.db.deals.create(deal(f"d{name}", name)))
            writer.do(writer.db.lines.create(line(name, 1)))
        with opened(request.param, writer) as stores:
            stores.do(stores.db.lines.find(HERE, 1))
            yield stores


def index(account: str) -> int:
    return place_of(account) % PARTITIONS


HERE = "a5"
SAME = next(name for name in map("same{}".format, range(999)) if index(name) == index(HERE))
"""Another account of the same partition."""
OTHER = next(name for name in map("a{}".format, range(12)) if index(name) != index(HERE))


def deal(key: str, account: str, **more: Any) -> Any:
    return estate().Deal(id=key, account_id=account, state=estate().State.OPEN, **more)


def line(account: str, number: int) -> Any:
    return estate().Line(account_id=account, number=number, text="a line")


def test_a_key_that_shows_its_partition_costs_no_exchange(world: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.lines.require(HERE, 1)
        yield tx.accounts.require(HERE)
        yield tx.lines.create(line(HERE, 2))

    with exchanges(world) as sent:
        world.transact(steps)
    assert len(sent) == 1
    assert world.do(world.db.lines.find(HERE, 2)) is not None

    def missing(tx: Any) -> Any:
        yield tx.lines.require(HERE, 7)
        yield tx.lines.create(line(HERE, 3))

    with pytest.raises(NotFoundError):
        world.transact(missing)
    assert world.do(world.db.lines.find(HERE, 3)) is None


@pytest.mark.parametrize("value", [False, True], ids=["key", "value"])
def test_a_key_alone_asks_for_its_home_and_with_its_value_for_nothing(world: Harness, value: bool) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.deals.require(f"d{HERE}", **({"account_id": HERE} if value else {}))
        yield tx.lines.create(line(HERE, 1 + len(runs)))
        if len(runs) == 1:
            yield world.stores[1].deals.delete(f"d{HERE}")

    with pytest.raises(NotFoundError):
        world.transact(steps)
    assert len(runs) == 2
    assert world.do(world.db.lines.by_account(HERE).count()) == 1

    def there(tx: Any) -> Any:
        yield tx.deals.require(f"d{OTHER}", **({"account_id": OTHER} if value else {}))
        yield tx.lines.create(line(OTHER, 2))

    with exchanges(world) as sent:
        world.transact(there)
    assert len(sent) == (1 if value else 2)
    assert world.do(world.db.lines.find(OTHER, 2)) is not None


def test_a_key_that_has_no_row_binds_the_transaction_to_no_partition(world: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        with pytest.raises(NotFoundError):
            yield tx.deals.require("nothing")
        yield tx.lines.create(line(HERE, 2))
        with pytest.raises(NotFoundError):
            yield tx.deals.require("nothing")

    world.transact(steps)
    assert len(runs) == 1


@pytest.mark.parametrize("wrong", [SAME, OTHER], ids=["same partition", "another partition"])
def test_a_row_with_another_value_counts_as_missing(world: Harness, wrong: str) -> None:
    def steps(tx: Any) -> Any:
        yield tx.deals.require(f"d{HERE}", account_id=wrong)
        yield tx.lines.create(line(wrong, 2))

    with pytest.raises(NotFoundError):
        world.transact(steps)

    def read_before(tx: Any) -> Any:
        yield tx.deals.get(f"d{HERE}", account_id=HERE)
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        yield tx.deals.require(f"d{HERE}", account_id=SAME)

    with pytest.raises(NotFoundError):
        world.transact(read_before)

    def own(tx: Any) -> Any:
        yield tx.deals.create(deal("own", HERE))
        yield tx.deals.require("own", account_id=HERE)
        yield tx.deals.require("own")
        yield tx.deals.require("own", account_id=SAME)

    with pytest.raises(NotFoundError):
        world.transact(own)


def again(world: Harness, first: dict[str, Any], second: dict[str, Any]) -> list[int]:
    """Require one row twice, and return whether each call found it in the run that was committed."""
    found: list[int] = []

    def steps(tx: Any) -> Any:
        found.clear()
        for given in (first, second):
            try:
                yield tx.deals.require(f"d{HERE}", **given)
            except NotFoundError:
                found.append(0)
            else:
                found.append(1)
        yield tx.lines.upsert(line(HERE, 2))

    world.transact(steps)
    return found


def test_each_value_that_is_given_for_a_row_is_compared(world: Harness) -> None:
    right, wrong = {"account_id": HERE}, {"account_id": SAME}
    key: dict[str, Any] = {}
    assert again(world, key, right) == [1, 1]
    assert again(world, right, key) == [1, 1]
    assert again(world, right, right) == [1, 1]
    assert again(world, right, wrong) == [1, 0]
    assert again(world, wrong, right) == [0, 1]
    assert again(world, key, wrong) == [1, 0]
    assert again(world, wrong, wrong) == [0, 0]


@pytest.mark.parametrize("read", [False, True])
def test_a_row_that_is_replaced_by_one_with_another_value_counts_as_missing(
    world: Harness, read: bool
) -> None:
    """Both are in one partition, so that only the value differs."""
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        if read:
            yield tx.deals.get(f"d{HERE}", account_id=HERE)
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        if len(runs) == 1:
            yield world.stores[1].deals.delete(f"d{HERE}")
            yield world.stores[1].deals.create(deal(f"d{HERE}", SAME))
        yield tx.lines.create(line(HERE, 2))

    with pytest.raises(NotFoundError):
        world.transact(steps)
    assert len(runs) == 2
    assert world.do(world.db.lines.find(HERE, 2)) is None


def test_an_entry_that_is_damaged_costs_a_run_and_changes_no_answer(world: Harness) -> None:
    partition = world.db.session.context.keyspace.partition("deals", HERE)
    world.send(("ZREM", partition.view("Deal", "by_account", (HERE,)), f"d{HERE}"))
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        yield tx.lines.create(line(HERE, 2))

    world.transact(steps)
    assert len(runs) == 2

    def fails(tx: Any) -> Any:
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        raise LookupError

    with pytest.raises(LookupError):
        world.transact(fails)


@pytest.mark.parametrize("meanwhile", ["nothing", "changed", "replaced"])
def test_where_no_view_shows_the_value_the_row_is_read_and_watched(
    world: Harness, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    monkeypatch.setattr("keyweave.write.require._entry_of", lambda *_: None)
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        if len(runs) == 1 and meanwhile == "changed":
            yield world.stores[1].deals.update(f"d{HERE}", worth=9)
        if len(runs) == 1 and meanwhile == "replaced":
            yield world.stores[1].deals.delete(f"d{HERE}")
            yield world.stores[1].deals.create(deal(f"d{HERE}", SAME))
        yield tx.lines.create(line(HERE, 2))

    if meanwhile == "replaced":
        with pytest.raises(NotFoundError):
            world.transact(steps)
    else:
        world.transact(steps)
    assert len(runs) == (1 if meanwhile == "nothing" else 2)
    assert (world.do(world.db.lines.find(HERE, 2)) is None) == (meanwhile == "replaced")


def test_a_value_that_is_a_number_is_compared_as_well(world: Harness) -> None:
    world.do(world.db.slots.create(estate().Slot(id="s", shelf=5, name="n")))
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.slots.require("s", shelf=5)
        yield tx.slots.create(estate().Slot(id=f"t{len(runs)}", shelf=5, name="m"))

    world.transact(steps)
    assert len(runs) == 1
    for shelf in range(6, 40):

        def wrong(tx: Any, shelf: int = shelf) -> Any:
            yield tx.slots.require("s", shelf=shelf)

        with pytest.raises(NotFoundError):
            world.transact(wrong)


def test_a_row_of_another_partition_is_an_error_with_both_values(world: Harness) -> None:
    def after_a_write(tx: Any) -> Any:
        yield tx.lines.create(line(HERE, 2))
        yield tx.lines.require(OTHER, 1)

    def before_a_write(tx: Any) -> Any:
        yield tx.lines.require(HERE, 1)
        yield tx.lines.create(line(OTHER, 2))

    def two(tx: Any) -> Any:
        yield tx.accounts.require(HERE)
        yield tx.deals.require(f"d{OTHER}")

    def two_values(tx: Any) -> Any:
        yield tx.deals.require(f"d{HERE}", account_id=HERE)
        yield tx.deals.require(f"d{OTHER}", account_id=OTHER)

    for steps in (after_a_write, before_a_write, two, two_values):
        name = "id" if steps is two else "account_id"
        with pytest.raises(CrossPartitionError, match=f"account_id '{OTHER}'.*{name} '{HERE}'"):
            world.transact(steps)
    for name in (HERE, OTHER):
        assert world.do(world.db.lines.find(name, 2)) is None


def test_a_row_that_is_given_to_another_partition_before_the_commit_counts_if_it_is_there(
    world: Harness,
) -> None:
    """The key gets a new row elsewhere: the transaction looks for it again, and then needs two partitions."""
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.deals.require(f"d{HERE}")
        if len(runs) == 1:
            yield world.stores[1].deals.delete(f"d{HERE}")
            yield world.stores[1].deals.create(deal(f"d{HERE}", OTHER))
        yield tx.lines.create(line(HERE, 2))

    with pytest.raises(CrossPartitionError):
        world.transact(steps)
    assert len(runs) == 2


def test_a_transaction_that_writes_nothing_answers_truthfully(world: Harness) -> None:
    found: list[Any] = []

    def steps(tx: Any) -> Any:
        found.clear()
        for key in ((HERE, 1), (HERE, 2)):
            try:
                yield tx.lines.require(*key)
            except NotFoundError:
                continue
            found.append(key)

    world.transact(steps)
    assert found == [(HERE, 1)]


def test_inserts_with_homes_are_guarded_as_well(world: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.lines.require(HERE, 1)
        for number in range(3):
            yield tx.deals.create(deal(f"n{number}", HERE, code=f"c{number}"))
        if len(runs) == 1:
            yield world.stores[1].lines.delete(HERE, 1)

    with pytest.raises(NotFoundError):
        world.transact(steps)
    assert world.do(world.db.deals.by_account(HERE).count()) == 1
    assert world.do(world.db.check()).clean


ASKED: dict[str, Any] = {
    "require": lambda deals: deals.require("new"),
    "get_for_update": lambda deals: deals.get_for_update("new"),
    "get_with_deals": lambda deals: deals.get_with_deals("new", for_update=True),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("refused", ["create", "upsert"])
def test_a_home_that_a_refused_row_has_left_binds_no_transaction(
    world: Harness, asked: str, refused: str
) -> None:
    """A row whose reference leads nowhere claims the home of its key before it is refused."""
    db = world.db

    def wrong(tx: Any) -> Any:
        yield getattr(tx.deals, refused)(deal("new", "nobody", worth=1))

    with pytest.raises(ReferenceViolationError):
        world.transact(wrong)

    def ensured(tx: Any) -> Any:
        try:
            yield ASKED[asked](tx.deals)
        except NotFoundError:
            yield tx.deals.upsert(deal("new", HERE, worth=2))

    def bound(tx: Any) -> Any:
        """The transaction uses another partition already."""
        yield tx.lines.create(line(OTHER, 7))
        with pytest.raises(NotFoundError):
            yield ASKED[asked](tx.deals)

    world.transact(bound)
    for account in (HERE, OTHER):
        world.transact(ensured)
        assert world.do(db.deals.get("new")).account_id == HERE, account
    assert world.do(db.check()).clean


@pytest.mark.parametrize("asked", ASKED)
def test_a_row_that_never_was_binds_no_transaction(world: Harness, asked: str) -> None:
    def ensured(tx: Any) -> Any:
        with pytest.raises(NotFoundError):
            yield ASKED[asked](tx.deals)
        yield tx.deals.create(deal("new", OTHER, worth=2))

    world.transact(ensured)
    assert world.do(world.db.deals.get("new")).account_id == OTHER
