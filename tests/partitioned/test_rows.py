"""Rows in several partitions: every method of a repository finds them, whichever partition they are in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from keyweave.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    CrossPartitionError,
    NotFoundError,
    ReferenceViolationError,
    UniqueViolationError,
    ValidationError,
)
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.query import at_least, one_of
from tests.partitioned.estate import Estate, estate, opened
from tests.waiting import wait_until

NAMES = [f"a{number}" for number in range(12)]


@pytest.fixture
def world() -> Iterator[Estate]:
    with opened(ksuid()) as found:
        yield found


@pytest.fixture
def full(world: Estate) -> Estate:
    """Twelve accounts, each with three deals."""
    for number, name in enumerate(NAMES):
        world.account(name, balance=Decimal(number))
        for count in range(3):
            world.store.deals.create(
                world.deal(f"{name}.{count}", name, worth=(number * 7 + count) % 12, code=f"c{name}{count}")
            )
    return world


def test_rows_are_in_the_partitions_of_their_values_and_keys_find_them(full: Estate) -> None:
    assert len({full.partition(name).index for name in NAMES}) > 3
    for name in NAMES:
        partition = full.partition(name)
        assert full.ask("EXISTS", partition.document("Account", name)) == 1
        assert full.ask("EXISTS", partition.document("Deal", f"{name}.1")) == 1
        assert full.store.deals.get(f"{name}.1").account_id == name
        assert full.homes()[f"Deal.:{name}.1"] == place_of(name)
        assert full.store.deals.get_by_code(f"c{name}2").id == f"{name}.2"
        assert full.store.accounts.get_by_email(f"{name.upper()}@X").id == name
    assert full.store.deals.find("nobody") is None
    assert not full.store.deals.exists("nobody")
    assert full.store.deals.exists("a3.0")
    with pytest.raises(NotFoundError):
        full.store.deals.get("nobody")
    found = full.store.deals.get_many(["a3.0", "nobody", "a7.2"])
    assert [row and row.id for row in found] == ["a3.0", None, "a7.2"]
    assert full.store.deals.find_by_code("nothing") is None


def test_a_store_that_never_met_a_row_finds_it_by_its_home(full: Estate) -> None:
    with opened(full.context.keyspace.namespace.tenant) as other:
        for name in NAMES:
            assert other.store.deals.get(f"{name}.1").account_id == name


def test_a_key_is_taken_in_every_partition(full: Estate) -> None:
    with pytest.raises(AlreadyExistsError):
        full.store.deals.create(full.deal("a1.1", full_other(full, "a1")))
    with pytest.raises(AlreadyExistsError):
        full.store.deals.create(full.deal("a1.1", "a1"))
    assert full.store.deals.get("a1.1").account_id == "a1"


def full_other(world: Estate, name: str) -> str:
    """One of the accounts in another partition."""
    return next(each for each in NAMES if world.partition(each).index != world.partition(name).index)


def test_a_unique_value_is_taken_in_every_partition_and_free_again_when_it_is_given_up(full: Estate) -> None:
    other = full_other(full, "a1")
    with pytest.raises(UniqueViolationError):
        full.store.deals.create(full.deal("new", other, code="ca10"))
    with pytest.raises(UniqueViolationError):
        full.store.deals.update("a2.0", code="ca10")
    full.store.deals.update("a1.0", code="changed")
    assert "Deal.code:ca10" not in full.homes()
    full.store.deals.create(full.deal("new", other, code="ca10"))
    assert full.store.deals.get_by_code("ca10").id == "new"
    assert full.homes()["Deal.code:ca10"] == place_of(other)
    with pytest.raises(UniqueViolationError):
        full.account("another", email="A1@X")


def test_a_unique_value_that_contains_the_account_has_no_home(full: Estate) -> None:
    full.store.deals.update("a1.0", place=1)
    full.store.deals.update(f"{full_other(full, 'a1')}.0", place=1)
    with pytest.raises(UniqueViolationError):
        full.store.deals.update("a1.1", place=1)
    assert full.store.deals.get_by_place("a1", 1).id == "a1.0"
    assert not [name for name in full.homes() if name.startswith("Deal.place")]


def test_a_unique_value_that_contains_a_number_which_decides_the_partition_is_found(world: Estate) -> None:
    slots = world.store.slots
    shelves = [-70, -1, 0, 3, 10, 42, 2**60]
    for shelf in shelves:
        slots.create(estate().Slot(id=f"s{shelf}", shelf=shelf, name="x"))
        slots.create(estate().Slot(id=f"o{shelf}", shelf=shelf, name="only"))
    for shelf in shelves:
        assert slots.get_by_name("x", shelf).id == f"s{shelf}"
        assert slots.get_by_shelf(shelf).id == f"o{shelf}"
        assert [row.id for row in slots.by_shelf(shelf).reverse()] == [f"s{shelf}", f"o{shelf}"]
        with pytest.raises(UniqueViolationError):
            slots.create(estate().Slot(id="new", shelf=shelf, name="x"))
    assert slots.find_by_name("x", 7) is None


def test_a_deleted_row_leaves_no_home_and_its_key_can_be_used_in_another_partition(full: Estate) -> None:
    other = full_other(full, "a1")
    full.store.deals.delete("a1.1")
    assert not {"Deal.:a1.1", "Deal.code:ca11"} & full.homes().keys()
    full.store.deals.create(full.deal("a1.1", other, code="ca11"))
    assert full.store.deals.get("a1.1").account_id == other
    with opened(full.context.keyspace.namespace.tenant) as stranger:
        assert stranger.store.deals.get("a1.1").account_id == other  # it learns where the row is
        full.store.deals.delete("a1.1")
        full.store.deals.create(full.deal("a1.1", "a1"))
        assert stranger.store.deals.get("a1.1").account_id == "a1"  # and is not misled by what it learned
        full.store.deals.delete("a1.1")
        assert stranger.store.deals.find("a1.1") is None
        full.store.deals.create(full.deal("a1.1", other))
        assert stranger.store.deals.change("a1.1", lambda row: setattr(row, "worth", 5)).worth == 5
    assert not full.store.deals.discard("nobody")
    with pytest.raises(NotFoundError):
        full.store.deals.delete("nobody")


def test_a_cascade_takes_the_homes_of_all_its_rows_along(full: Estate) -> None:
    full.store.deals.create(full.deal("below", "a1", parent_id="a1.0", code="below"))
    full.store.lines.create(estate().Line(account_id="a1", number=1, text="x"))
    full.store.accounts.delete("a1")
    left = [
        name for name in full.homes() if "a1." in name or "ca1" in name or "a1@" in name or "below" in name
    ]
    assert [name for name in left if "a10" not in name and "a11" not in name] == []
    assert full.store.deals.by_account("a1").count() == 0
    assert full.store.lines.find("a1", 1) is None
    assert full.store.deals.all().count() == 33


def test_the_account_of_a_deal_does_not_change(full: Estate) -> None:
    same = next(
        name
        for name in map("same{}".format, range(200))
        if full.partition(name).index == full.partition("a1").index
    )
    full.account(same)
    for account in (full_other(full, "a1"), same):
        text = f"account_id decides the partition of a row, so it cannot change from 'a1' to '{account}'"
        row = full.store.deals.get("a1.0")
        row.account_id = account
        with pytest.raises(ValidationError, match=text):
            full.store.deals.save(row)
        with pytest.raises(ValidationError, match=text):
            full.store.deals.upsert(full.deal("a1.0", account))
        with pytest.raises(ValidationError, match=text):
            full.store.deals.update("a1.0", account_id=account)
        (error,) = full.store.deals.upsert_many([full.deal("a1.0", account)])
        assert isinstance(error, ValidationError)
    assert full.store.deals.get("a1.0").account_id == "a1"


def test_rows_are_changed_wherever_they_are(full: Estate) -> None:
    for name in ("a1.0", "a5.1", "a9.2"):
        row = full.store.deals.get(name)
        row.worth = 100
        full.store.deals.save(row)
        assert full.store.deals.increment(name, "worth", 5).worth == 105
        assert full.store.deals.upsert(full.deal(name, row.account_id, worth=7)).worth == 7
        assert full.store.deals.touch_seen_at(name)
        assert full.store.deals.get(name).seen_at is not None
    assert not full.store.deals.touch_seen_at("nobody")


def test_lists_are_merged_in_their_order_and_pages_follow_their_cursors(full: Estate) -> None:
    expected = [f"{name}.{count}" for name in NAMES for count in range(3)][::-1]
    deals = full.store.deals
    assert [row.id for row in deals.all().list()] == expected
    for limit in (1, 5, 7, 36, 50):
        found, cursor = [], None
        while True:
            page = deals.all().page(limit, cursor)
            found += [row.id for row in page]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == expected
    assert [row.id for row in deals.all().reverse()] == expected[::-1]
    assert deals.all().keys() == expected
    ranked = sorted(deals.all().list(), key=lambda row: (row.worth, row.id), reverse=True)
    opened = deals.by_state(estate().State.OPEN)
    assert [row.id for row in opened.page(50)] == [row.id for row in ranked]
    assert [row.id for row in opened.between(3, 5)] == [row.id for row in ranked if 3 <= row.worth <= 5]
    accounts = full.store.accounts
    assert [row.id for row in accounts.by_balance().page(5)] == NAMES[:-6:-1]
    assert [row.email for row in accounts.by_email().page(20)] == sorted(f"{name}@x" for name in NAMES)


def test_counts_sums_and_ends_are_of_all_partitions(full: Estate) -> None:
    deals = full.store.deals
    assert deals.all().count() == 36
    assert deals.all().exists()
    assert deals.by_state().group_counts() == {estate().State.OPEN: 36}
    assert deals.by_account_state("a1").group_counts() == {estate().State.OPEN: 3}
    assert deals.all().sum("worth") == sum(row.worth for row in deals.all())
    assert full.store.accounts.all().sum("balance") == Decimal(66)
    assert deals.by_state(estate().State.OPEN).max() == 11
    assert deals.by_state(estate().State.OPEN).min() == 0
    assert full.store.accounts.by_email().min() == "a0@x"
    assert deals.all().first().id == "a11.2"
    assert deals.where(worth=at_least(100)).scan().first() is None
    assert deals.where(code="ca31").one().id == "a3.1"
    assert deals.where(id="a3.1").one().id == "a3.1"


def test_filters_ask_the_partitions_that_can_have_rows(full: Estate) -> None:
    deals = full.store.deals
    assert [row.id for row in deals.where(account_id="a3", worth=at_least(0))] == ["a3.2", "a3.1", "a3.0"]
    assert deals.where(account_id="a3").explain().partitions == 1
    assert deals.by_account("a3").explain().partitions == 1
    both = deals.where(account_id=one_of("a3", "a7"))
    assert {row.id for row in both} == {f"{name}.{count}" for name in ("a3", "a7") for count in range(3)}
    assert both.explain().partitions == len({full.partition("a3").index, full.partition("a7").index})
    whole = deals.all().explain()
    assert (whole.partitions, whole.trips) == (8, 1)
    assert "merged from 8 partitions" in str(whole)
    either = deals.where(account_id="a3") | deals.where(worth=at_least(11))
    wanted = {row.id for row in deals.all() if row.account_id == "a3" or row.worth >= 11}
    assert {row.id for row in either.scan()} == wanted
    rich = full.store.accounts.all().having(
        deals.where(worth=11, state=estate().State.OPEN), via="account_id"
    )
    assert {row.id for row in rich} == {row.account_id for row in deals.all() if row.worth == 11}


def test_rows_come_with_those_that_refer_to_them(full: Estate) -> None:
    account, deals = full.store.accounts.get_with_deals("a4")
    assert (account.id, [row.id for row in deals]) == ("a4", ["a4.2", "a4.1", "a4.0"])
    page = full.store.accounts.with_deals(full.store.accounts.all()).page(5)
    assert [(row.id, len(found)) for row, found in page] == [(name, 3) for name in NAMES[:-6:-1]]
    pairs = full.store.accounts.with_deals(full.store.accounts.all()).list()
    assert [row.id for row, _ in pairs] == NAMES[::-1]
    first = full.store.accounts.with_deals(full.store.accounts.all()).first()
    assert first[0].id == "a11"
    full.store.deals.create(full.deal("below", "a4", parent_id="a4.0"))
    assert [row.id for row in full.store.deals.tree("a4.0")] == ["a4.0", "below"]
    assert full.store.deals.tree("nobody") == []


def test_composite_keys_with_the_account_need_no_home(full: Estate) -> None:
    for name in NAMES:
        full.store.lines.create(estate().Line(account_id=name, number=7, text=name))
    assert [full.store.lines.get(name, 7).text for name in NAMES] == NAMES
    assert full.store.lines.all().count() == 12
    assert [row.text for row in full.store.lines.get_many([("a3", 7), ("a5", 7)])] == ["a3", "a5"]
    assert full.store.lines.delete_many([("a3", 7), ("a3", 8)]) == [True, False]


def test_bulk_writes_go_to_their_partitions_and_their_results_come_in_order(full: Estate) -> None:
    other = full_other(full, "a1")
    made = full.store.deals.create_many(
        [
            full.deal("m1", "a1", code="m1"),
            full.deal("m2", other, code="m2"),
            full.deal("a1.0", other),
            full.deal("m3", "nobody"),
            full.deal("m4", "a5", code="m1"),
            full.deal("m5", "a6"),
        ]
    )
    kinds: tuple[Any, ...] = (
        estate().Deal,
        estate().Deal,
        AlreadyExistsError,
        ReferenceViolationError,
        UniqueViolationError,
        estate().Deal,
    )
    assert all(isinstance(each, kind) for each, kind in zip(made, kinds, strict=True)), made
    written = full.store.deals.upsert_many(
        [full.deal("m1", "a1", worth=9), full.deal("m6", other), full.deal("m2", "a1")]
    )
    kinds = (estate().Deal, estate().Deal, ValidationError)
    assert all(isinstance(each, kind) for each, kind in zip(written, kinds, strict=True)), written
    assert full.store.deals.get("m1").worth == 9
    assert full.store.deals.delete_many(["m1", "nobody", "m2", "m6"]) == [True, False, True, True]
    assert not {"Deal.:m1", "Deal.:m2", "Deal.:m6", "Deal.code:m1", "Deal.code:m2"} & full.homes().keys()


def test_of_rows_of_a_bulk_write_that_want_one_key_or_value_the_first_one_gets_it(full: Estate) -> None:
    """Also where it is not the first one in its partition, and where an earlier row gives the value up."""
    other, deals = full_other(full, "a1"), full.store.deals
    for first, second in (("a1", other), (other, "a1")):
        made = deals.create_many(
            [
                full.deal("n1", second),
                full.deal("n2", first, code="n"),
                full.deal("n3", second, code="n"),
                full.deal("n4", first),
                full.deal("n4", second),
            ]
        )
        taken = [isinstance(each, UniqueViolationError | AlreadyExistsError) for each in made]
        assert taken == [False, False, True, False, True]
        assert deals.get("n4").account_id == first
        moved = deals.upsert_many([full.deal("n2", first, code="o"), full.deal("n1", second, code="n")])
        assert not [each for each in moved if isinstance(each, Exception)]
        assert (deals.get_by_code("o").id, deals.get_by_code("n").id) == ("n2", "n1")
        deals.delete_many(["n1", "n2", "n4"])
    assert full.store.check().clean


def test_a_transaction_stays_in_one_partition_and_says_which_values_are_in_two(full: Estate) -> None:
    other = full_other(full, "a1")

    def crosses(transaction: object) -> None:
        deals = transaction.deals  # type: ignore[attr-defined]
        deals.update("a1.0", worth=50)
        deals.update(f"{other}.0", worth=50)

    text = f"Deal '{other}.0' has account_id '{other}', and this transaction already uses rows with account_id 'a1'"
    with pytest.raises(CrossPartitionError, match=text):
        full.store.transact(crosses)

    def creates(transaction: object) -> None:
        transaction.deals.update("a1.0", worth=50)  # type: ignore[attr-defined]
        transaction.deals.create(full.deal("new", other))  # type: ignore[attr-defined]

    with pytest.raises(CrossPartitionError, match=f"account_id '{other}'.*account_id 'a1'"):
        full.store.transact(creates)

    def locks(transaction: object) -> None:
        transaction.deals.get_for_update("a1.0")  # type: ignore[attr-defined]
        transaction.deals.get_for_update(f"{other}.0")  # type: ignore[attr-defined]

    with pytest.raises(CrossPartitionError, match=f"account_id '{other}'.*account_id 'a1'"):
        full.store.transact(locks)
    assert full.store.deals.get("a1.0").worth != 50
    assert full.store.deals.find("new") is None


def test_a_transaction_reads_all_partitions_and_its_own_writes(full: Estate) -> None:
    other = full_other(full, "a1")

    def work(transaction: object) -> list[str]:
        deals = transaction.deals  # type: ignore[attr-defined]
        deals.create(full.deal("new", "a1", code="new"))
        deals.delete("a1.2")
        assert deals.get(f"{other}.0").account_id == other
        assert deals.get("new").account_id == "a1"
        assert deals.find("a1.2") is None
        assert deals.get_by_code("new").id == "new"
        assert deals.all().count() == 36
        assert deals.by_state().group_counts() == {estate().State.OPEN: 36}
        assert len(transaction.accounts.all().list()) == 12  # type: ignore[attr-defined]
        return [row.id for row in deals.all().page(50)]

    found = full.store.transact(work)
    assert len(found) == 36
    assert found[0] == "new"
    assert "a1.2" not in found
    assert full.homes()["Deal.:new"] == place_of("a1")
    assert "Deal.:a1.2" not in full.homes()

    def takes(transaction: object) -> None:
        transaction.deals.create(full.deal("a1.0", other))  # type: ignore[attr-defined]

    with pytest.raises(AlreadyExistsError):
        full.store.transact(takes)


def test_what_is_wrong_with_the_row_is_reported_before_a_unique_value_of_another_partition(
    full: Estate,
) -> None:
    other = full_other(full, "a1")
    with pytest.raises(AlreadyExistsError):
        full.store.accounts.create(estate().Account(id=other, email="a1@x"))
    with pytest.raises(AlreadyExistsError):
        full.store.deals.create(full.deal(f"{other}.0", other, code="ca10"))
    results = full.store.accounts.create_many([estate().Account(id=other, email="a1@x")])
    assert isinstance(results[0], AlreadyExistsError)
    stale, gone = full.store.deals.get(f"{other}.0"), full.store.deals.get(f"{other}.1")
    full.store.deals.update(f"{other}.0", worth=50)
    full.store.deals.delete(f"{other}.1")
    stale.code = gone.code = "ca10"
    with pytest.raises(ConflictError) as conflict:
        full.store.deals.save(stale)
    assert type(conflict.value) is ConflictError
    with pytest.raises(NotFoundError):
        full.store.deals.save(gone)
    with pytest.raises(UniqueViolationError):
        full.store.deals.create(full.deal("new", other, code="ca10"))


@pytest.mark.parametrize("before", [False, True], ids=["first", "after a read"])
@pytest.mark.parametrize(
    "way", ["create key", "create code", "save code", "upsert code", "update code", "upsert key"]
)
def test_what_another_partition_has_is_refused_by_the_call_inside_a_transaction(
    full: Estate, way: str, before: bool
) -> None:
    """The function can catch the error and go on, as in a group with one partition."""
    other = full_other(full, "a1")

    def write(deals: Any) -> None:
        if way == "create key":
            deals.create(full.deal("a1.0", other))
        elif way == "create code":
            deals.create(full.deal("new", other, code="ca10"))
        elif way == "save code":
            row = deals.get(f"{other}.1")
            row.code = "ca10"
            deals.save(row)
        elif way == "upsert code":
            deals.upsert(full.deal(f"{other}.1", other, code="ca10"))
        elif way == "update code":
            deals.update(f"{other}.1", code="ca10")
        else:
            deals.upsert(full.deal("a1.0", other))

    def work(transaction: Any) -> str:
        if before:
            transaction.deals.get(f"{other}.0")
        try:
            write(transaction.deals)
        except (AlreadyExistsError, UniqueViolationError, ValidationError) as error:
            transaction.deals.update(f"{other}.0", worth=77)
            return type(error).__name__
        return "written"

    expected = {"create key": "AlreadyExistsError", "upsert key": "ValidationError"}
    assert full.store.transact(work) == expected.get(way, "DealCodeExistsError")
    assert full.store.deals.get(f"{other}.0").worth == 77
    assert full.store.deals.get_by_code("ca10").id == "a1.0"
    assert full.store.check().clean


def test_an_ended_row_of_another_partition_refuses_nothing_inside_a_transaction() -> None:
    with opened(ksuid(), retention={"Deal": timedelta(milliseconds=1)}, sweep_every=0) as short:
        short.account("a1")
        other = short.others("a1")
        short.account(other)
        short.store.deals.create(short.deal("d", "a1", state=estate().State.CLOSED, code="c"))
        wait_until(lambda: short.store.deals.find("d") is None)

        def work(transaction: Any) -> None:
            transaction.deals.upsert(short.deal("d", other, code="c"))

        short.store.transact(work)
        assert short.store.deals.get("d").account_id == other
        assert short.store.deals.get_by_code("c").account_id == other


def test_references_stay_inside_a_partition(full: Estate) -> None:
    other = full_other(full, "a1")
    with pytest.raises(ReferenceViolationError):
        full.store.deals.create(full.deal("new", "a1", parent_id=f"{other}.0"))
    full.store.deals.create(full.deal("new", "a1", parent_id="a1.0"))
    assert [row.id for row in full.store.deals.by_parent("a1.0")] == ["new"]


def test_an_insert_only_if_a_view_is_empty_needs_a_view_of_one_partition(full: Estate) -> None:
    with pytest.raises(ConfigurationError, match="if_none='by_state' needs a view by account_id"):
        full.store.deals.create(full.deal("new", "a1"), if_none="by_state")
    full.account("fresh")
    full.store.deals.create(full.deal("new", "fresh"), if_none="by_account")


def test_an_ended_row_gives_its_key_and_unique_values_to_other_partitions(world: Estate) -> None:
    with opened(ksuid(), retention={"Deal": timedelta(milliseconds=1)}, sweep_every=0) as short:
        short.account("a1")
        other = short.others("a1")
        short.account(other)
        closed = {"state": estate().State.CLOSED, "code": "c"}
        short.store.deals.create(short.deal("d", "a1", **closed))
        wait_until(lambda: short.store.deals.find("d") is None)
        moved = short.store.deals.create(short.deal("d", other, code="c"))
        assert short.store.deals.get("d").account_id == moved.account_id == other
        assert short.store.deals.get_by_code("c").account_id == other
        short.store.deals.create(short.deal("e", "a1", state=estate().State.CLOSED, code="e"))
        short.store.deals.create(short.deal("f", other, state=estate().State.CLOSED, code="f"))
        swept: list[int] = []

        def all_swept() -> bool:
            swept.append(short.settle())
            return sum(swept) == 2

        wait_until(all_swept)
        assert set(short.homes()) == {
            "Deal.:d",
            "Deal.code:c",
            "Account.email:a1@x",
            f"Account.email:{other}@x",
        }


def test_a_home_names_the_place_of_its_row_also_among_the_places_of_one_partition(full: Estate) -> None:
    here = full.partition("a1")
    twin = next(name for name in map("twin{}".format, range(999)) if full.partition(name) is here)
    full.account(twin)
    full.store.deals.delete("a1.1")
    at = full.context.keyspace.partition("deals", "a1.1")
    full.ask("HSET", at.homes("Deal"), "a1.1", f"{place_of('a1')} 5")
    full.store.deals.create(full.deal("a1.1", twin))
    assert full.homes()["Deal.:a1.1"] == place_of(twin) != place_of("a1")
    with pytest.raises(AlreadyExistsError):
        full.store.deals.create(full.deal("a1.1", "a1"))
    with pytest.raises(ValidationError, match="account_id decides the partition"):
        full.store.deals.upsert(full.deal("a1.1", "a1"))


def test_a_unique_value_with_the_account_stays_with_the_row_that_has_it_in_a_bulk_write(
    world: Estate,
) -> None:
    """The row behind it gives the value up too late, whatever another partition writes at the same time."""
    account, other = "a", world.others("a")
    for name in (account, other):
        world.account(name)
    deals = world.store.deals
    deals.create(world.deal("last", account, place=1))
    rows = [world.deal("x", other), world.deal("first", account, place=1), world.deal("last", account)]
    found = deals.upsert_many(rows)
    assert [type(each).__name__ for each in found] == ["Deal", estate().DealPlaceExistsError.__name__, "Deal"]
    assert deals.find("first") is None
