"""Writing many rows: the same as one after another, in few exchanges, exactly once whatever is lost on the way."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from keyweave.effects import Command, ConnectionFailure
from keyweave.errors import (
    AlreadyExistsError,
    CheckViolationError,
    ConflictError,
    CorruptDocumentError,
    KeyweaveError,
    NotLoadedError,
    OutcomeUnknownError,
    ReferenceViolationError,
    StoreTimeoutError,
    StoreUnavailableError,
    UniqueViolationError,
    ValidationError,
)
from keyweave.write import chunk as chunks
from tests.bank import bank
from tests.harness import AT_ONCE, FLAVOURS, Harness, exchanges, harness, plans_in, until_freed

ENDS = {"Account": AT_ONCE}


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, request.node.name, module=bank(), sweep_every=0) as opened:
        yield opened


def account(number: Any, **more: Any) -> Any:
    return bank().Account(**{"number": number, "name": f"n{number}"[:20], "key": "k"} | more)


def kinds(results: Sequence[Any]) -> list[Any]:
    """Results as values: keys of records, bools, and the names of errors."""
    return [
        type(each).__name__ if isinstance(each, KeyweaveError) else getattr(each, "number", each)
        for each in results
    ]


def test_a_thousand_rows_take_few_exchanges_each_way(stores: Harness) -> None:
    rows = [account(f"a{number:04}") for number in range(1000)]
    with exchanges(stores) as sent:
        created = stores.do(stores.db.accounts.create_many(rows))
    assert len(sent) in (10, 11)  # one more where the server does not know the script yet
    assert all(left is right for left, right in zip(created, rows, strict=True))
    assert all(row.made_at is not None for row in rows)
    assert stores.do(stores.db.accounts.all().count()) == 1000
    for row in rows:
        row.balance = 7
    with exchanges(stores) as sent:
        replaced = stores.do(stores.db.accounts.upsert_many([account(row.number, balance=7) for row in rows]))
    assert len(sent) == 20
    assert [row.made_at for row in replaced] == [row.made_at for row in rows]
    assert stores.do(stores.db.accounts.get("a0500")) == replaced[500]
    assert stores.do(stores.db.accounts.save(replaced[0])) is replaced[0]
    with exchanges(stores) as sent:
        deleted = stores.do(stores.db.accounts.delete_many([row.number for row in rows] + ["nobody"]))
    assert len(sent) <= 33
    assert deleted == [True] * 1000 + [False]
    assert stores.contents() == {}


def test_each_row_has_its_own_result_in_order(stores: Harness) -> None:
    stores.do(stores.db.accounts.create(account("taken", name="x")))
    results = stores.do(
        stores.db.accounts.create_many(
            [
                account("a"),
                account("taken"),
                account("b", balance=-1),
                account("c", name="X"),
                account("d", branch="nowhere"),
                account("e", state="closed", balance=1),
                "no record",
                account("f"),
            ]
        )
    )
    assert [type(each) for each in results] == [
        bank().Account,
        AlreadyExistsError,
        ValidationError,
        bank().NameTakenError,
        ReferenceViolationError,
        CheckViolationError,
        ValidationError,
        bank().Account,
    ]
    assert results[1].key == "taken"
    assert isinstance(results[3], UniqueViolationError) and results[3].key == "c"
    assert stores.do(stores.db.accounts.all().count()) == 3
    assert stores.do(stores.db.check()).clean


def test_rows_that_all_exist_cost_two_exchanges_a_chunk(stores: Harness) -> None:
    rows = [account(f"a{number}") for number in range(100)]
    stores.do(stores.db.accounts.create_many(rows))
    with exchanges(stores) as sent:
        again = stores.do(stores.db.accounts.create_many([account(row.number) for row in rows]))
    assert kinds(again) == ["AlreadyExistsError"] * 100
    assert len(sent) == 2


def test_one_key_twice_is_written_one_after_another(stores: Harness) -> None:
    assert kinds(
        stores.do(stores.db.accounts.create_many([account("a"), account("a", name="other"), account("b")]))
    ) == ["a", "AlreadyExistsError", "b"]
    replaced = stores.do(stores.db.accounts.upsert_many([account("a", balance=1), account("a", balance=2)]))
    assert [row.balance for row in replaced] == [1, 2]
    assert stores.do(stores.db.accounts.get("a")) == replaced[1]
    assert stores.do(stores.db.accounts.delete_many(["a", " a ", "b", "a"])) == [True, False, True, False]


def test_unique_values_pass_from_row_to_row_in_order(stores: Harness) -> None:
    results = stores.do(
        stores.db.accounts.create_many([account("a", name="x"), account("b", name="X"), account("c")])
    )
    assert kinds(results) == ["a", "NameTakenError", "c"]
    # `a` releases the value before `b` claims it; `c` claims one that `d` still holds.
    stores.do(stores.db.accounts.create(account("d", name="y")))
    results = stores.do(
        stores.db.accounts.upsert_many(
            [account("a", name="z"), account("b", name="x"), account("c", name="y"), account("d", name="w")]
        )
    )
    assert kinds(results) == ["a", "b", "NameTakenError", "d"]
    assert stores.do(stores.db.check()).clean


def test_loaded_rows_are_saved_in_few_exchanges(stores: Harness) -> None:
    rows = stores.do(stores.db.accounts.create_many([account(f"a{number:03}") for number in range(300)]))
    for row in rows:
        row.balance = 3
    with exchanges(stores) as sent:
        saved = stores.do(stores.db.accounts.save_many(rows))
    assert len(sent) == 3
    assert all(left is right for left, right in zip(saved, rows, strict=True))
    assert stores.do(stores.db.accounts.get("a150")) == rows[150]
    assert kinds(stores.do(stores.db.accounts.save_many(rows[:2]))) == ["a000", "a001"]
    assert stores.do(stores.db.accounts.all().count()) == 300
    assert stores.do(stores.db.check()).clean


def test_a_save_of_many_has_the_result_of_each_row(stores: Harness) -> None:
    names = ("a", "outdated", "deleted", "moved", "wrong", "taken", "b")
    rows = stores.do(stores.db.accounts.create_many([account(name) for name in names]))
    by_name = dict(zip(names, rows, strict=True))
    stores.do(stores.db.accounts.update("outdated", balance=8))
    stores.do(stores.db.accounts.delete("deleted"))
    by_name["moved"].number = "elsewhere"
    by_name["wrong"].balance = -1
    by_name["taken"].name = "NB"
    results = stores.do(
        stores.db.accounts.save_many([*rows[:-1], account("new"), "no record", by_name["b"], by_name["a"]])
    )
    assert [type(each) for each in results] == [
        bank().Account,
        ConflictError,
        bank().AccountNotFoundError,
        ValidationError,
        ValidationError,
        bank().NameTakenError,
        NotLoadedError,
        ValidationError,
        bank().Account,
        bank().Account,
    ]
    assert results[1].key == "outdated"
    assert stores.do(stores.db.accounts.get("outdated")).balance == 8
    assert stores.do(stores.db.accounts.find("elsewhere")) is None
    assert stores.do(stores.db.check()).clean


def test_saved_rows_pass_on_unique_values_in_order(stores: Harness) -> None:
    rows = stores.do(stores.db.accounts.create_many([account("a", name="x"), account("b", name="y")]))
    rows[0].name, rows[1].name = "z", "x"
    assert kinds(stores.do(stores.db.accounts.save_many(rows))) == ["a", "b"]
    rows[0].name, rows[1].name = "x", "z"
    assert kinds(stores.do(stores.db.accounts.save_many(rows))) == ["NameTakenError", "NameTakenError"]
    assert stores.do(stores.db.accounts.get("b")).name == "x"
    assert stores.do(stores.db.check()).clean


def test_a_save_of_many_in_a_transaction_is_all_or_nothing(stores: Harness) -> None:
    rows = stores.do(stores.db.accounts.create_many([account("a"), account("b")]))

    def saves(tx: Any) -> Generator[Any, Any, Any]:
        loaded = yield tx.accounts.get_many(["a", "b"])
        for row in loaded:
            row.balance = 4
        return (yield tx.accounts.save_many(loaded))

    assert kinds(stores.transact(saves)) == ["a", "b"]

    def fails(tx: Any) -> Generator[Any, Any, None]:
        loaded = yield tx.accounts.get_many(["a"])
        loaded[0].balance = 5
        yield tx.accounts.save_many([*loaded, account("never loaded")])

    with pytest.raises(NotLoadedError):
        stores.transact(fails)
    assert [row.balance for row in stores.do(stores.db.accounts.get_many(["a", "b"]))] == [4, 4]
    assert kinds(stores.do(stores.db.accounts.save_many(rows))) == ["ConflictError", "ConflictError"]


def test_a_reference_leads_to_a_row_that_comes_first(stores: Harness) -> None:
    card = bank().Card
    stores.do(stores.db.accounts.create_many([account("a"), account("b")]))
    results = stores.do(
        stores.db.cards.create_many(
            [card(id="1", account="a"), card(id="2", account="c"), card(id="3", account="b")]
        )
    )
    assert [type(each) for each in results] == [card, ReferenceViolationError, card]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_ended_and_freed_rows_are_no_obstacles(flavour: str, request: pytest.FixtureRequest) -> None:
    options: dict[str, Any] = {"retention": ENDS, "sweep_every": 0, "grace_ms": 1}
    with harness(flavour, request.node.name, module=bank(), **options) as stores:
        ended = [account(f"e{number}", state="closed") for number in range(3)]
        stores.do(stores.db.accounts.create_many(ended))
        entity = stores.db.session.context.package.entities["Account"]
        until_freed(stores, entity, ["e0"])
        created = stores.do(
            stores.db.accounts.create_many([account("e0"), account("new", name="ne1"), account("e2")])
        )
        assert kinds(created) == ["e0", "new", "e2"]
        stores.do(
            stores.db.accounts.upsert_many([account(f"u{number}", state="closed") for number in range(2)])
        )
        assert kinds(stores.do(stores.db.accounts.upsert_many([account("u0"), account("u1")]))) == [
            "u0",
            "u1",
        ]
        stores.do(stores.db.accounts.create(account("gone", state="closed")))
        assert stores.do(stores.db.accounts.delete_many(["gone", "e0"])) == [False, True]
        stores.do(stores.db.sweep())
        assert stores.do(stores.db.check()).clean


def test_deletes_cascade_and_are_refused_in_order(stores: Harness) -> None:
    db = stores.db
    branch, card = bank().Branch, bank().Card
    stores.do(db.branches.create_many([branch(code="full"), branch(code="empty")]))
    stores.do(db.accounts.create_many([account("a", branch="full"), account("b"), account("c")]))
    stores.do(db.cards.create_many([card(id=str(number), account="b") for number in range(3)]))
    results = stores.do(db.branches.delete_many(["full", "empty", "nowhere"]))
    assert kinds(results) == ["ReferenceViolationError", True, False]
    assert stores.do(db.accounts.delete_many(["a", "b", "c", 1]))[:3] == [True, True, True]
    assert [stores.do(db.cards.find(str(number))) for number in range(3)] == [None] * 3
    assert stores.do(db.branches.delete_many(["full"])) == [True]
    assert stores.contents() == {}


def test_what_is_no_list_is_refused(stores: Harness) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: stores.db.accounts.create_many(account("a")),
        lambda: stores.db.accounts.upsert_many(None),
        lambda: stores.db.accounts.delete_many("abc"),
        lambda: stores.db.cards.delete_many("abc"),
    ]
    for call in calls:
        with pytest.raises(ValidationError):
            stores.do(call())
    assert stores.do(stores.db.accounts.create_many([])) == []
    assert stores.do(stores.db.accounts.create_many(iter([account("a")])))[0].number == "a"


def test_in_a_transaction_all_or_nothing(stores: Harness) -> None:
    def fails(tx: Any) -> Generator[Any, Any, None]:
        yield tx.accounts.create_many([account("a"), account("b"), account("a")])

    with pytest.raises(AlreadyExistsError):
        stores.transact(fails)
    assert stores.contents() == {}

    def works(tx: Any) -> Generator[Any, Any, Any]:
        yield tx.accounts.create_many([account("a"), account("b"), account("c")])
        yield tx.accounts.upsert_many([account("a", balance=5)])
        return (yield tx.accounts.delete_many(["b", "nobody"]))

    assert stores.transact(works) == [True, False]
    assert stores.do(stores.db.accounts.get("a")).balance == 5
    assert stores.do(stores.db.accounts.all().count()) == 2


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BYTES", 2000)


@pytest.mark.usefixtures("bounded")
def test_chunks_are_bounded_by_bytes_too(stores: Harness) -> None:
    rows = [account(f"a{number}", notes="x" * 900) for number in range(12)]
    with exchanges(stores) as sent:
        assert kinds(stores.do(stores.db.accounts.create_many(rows))) == [row.number for row in rows]
    assert 4 <= len(sent) <= 6


def test_a_key_of_another_type_is_an_error_of_its_row_alone(stores: Harness) -> None:
    name = stores.db.session.context.keyspace.partition("money").document("Account", "b")
    stores.send(("SADD", name, "x"))
    results = stores.do(stores.db.accounts.create_many([account("a"), account("b"), account("c")]))
    assert [type(each) for each in results] == [bank().Account, CorruptDocumentError, bank().Account]


# What is lost on the way. The flows are the same in both flavours.


@contextmanager
def losing(stores: Harness, lost: Callable[[int, Sequence[Command]], str]) -> Iterator[None]:
    """Let `lost` decide for each exchange with plans: `no`, `answer`, `request`, or `away`."""
    pool = stores.db.session.shell.channel
    exchange, number = pool.exchange, 0

    def cut(commands: Sequence[Command], *more: Any) -> Any:
        nonlocal number
        if plans_in(stores, commands):
            number += 1
            what = lost(number, commands)
            if what == "away":
                raise ConnectionFailure("connect", "nobody answers", sent=True)
            if what in ("answer", "request"):
                if what == "answer":
                    exchange(commands, *more)
                raise ConnectionFailure("closed", "the connection broke", sent=True)
        return exchange(commands, *more)

    pool.exchange = cut
    try:
        yield
    finally:
        del pool.exchange


@pytest.fixture
def blocking(request: pytest.FixtureRequest) -> Iterator[Harness]:
    options: dict[str, Any] = {"sweep_every": 0, "deadline": 2.0, "backoff": 0.001, "backoff_limit": 0.001}
    with harness("sync", request.node.name, module=bank(), **options) as opened:
        yield opened


@pytest.mark.parametrize("what", ["answer", "request"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_what_is_lost_is_written_once(blocking: Harness, what: str, every: int) -> None:
    chance = random.Random(every)
    blocking.db.accounts.create_many([account(f"a{number}", balance=9) for number in range(0, 300, 7)])
    with losing(blocking, lambda number, _: what if chance.random() < 1 / (every + 1) else "no"):
        results = blocking.db.accounts.create_many([account(f"a{number}") for number in range(300)])
    stored = blocking.db.accounts.get_many([f"a{number}" for number in range(300)])
    given_up = 0
    for number, (result, row) in enumerate(zip(results, stored, strict=True)):
        if (
            type(result) is StoreUnavailableError
        ):  # a refusal was lost twice; it says that nothing was written
            given_up += 1
            assert (row.balance if row is not None else 9) == 9
        elif number % 7 == 0:
            assert type(result) is AlreadyExistsError and row.balance == 9
        else:
            assert result == row
    assert given_up <= (0 if what == "request" else 250)
    present = [row.number for row in stored if row is not None]
    with losing(blocking, lambda number, _: what if number % 2 else "no"):
        deleted = blocking.db.accounts.delete_many([*present, "nobody"])
    assert deleted == [True] * len(present) + [False]
    assert blocking.contents() == {}


@pytest.mark.parametrize("what", ["answer", "request"])
def test_a_save_whose_answer_is_lost_is_no_conflict_with_itself(blocking: Harness, what: str) -> None:
    rows = blocking.db.accounts.create_many([account(f"a{number}") for number in range(120)])
    blocking.db.accounts.update("a7", balance=9)
    for row in rows:
        row.balance = 5
    with losing(blocking, lambda number, _: what if number in (1, 4) else "no"):
        results = blocking.db.accounts.save_many(rows)
    assert [number for number, each in enumerate(results) if isinstance(each, KeyweaveError)] == [7]
    assert type(results[7]) is ConflictError
    stored = blocking.db.accounts.get_many([row.number for row in rows])
    assert [row.balance for row in stored] == [9 if number == 7 else 5 for number in range(120)]
    assert blocking.db.check().clean


@pytest.mark.parametrize("carried_out", [True, False])
def test_where_the_server_stays_away_each_row_is_unknown_and_can_be_settled(
    blocking: Harness, carried_out: bool
) -> None:
    rows = [account(f"a{number}") for number in range(120)]

    def lost(number: int, commands: Sequence[Command]) -> str:
        return "answer" if carried_out and number == 1 else "away"

    with losing(blocking, lost):
        results = blocking.db.accounts.create_many(rows)
    assert {type(each) for each in results[:100]} == {OutcomeUnknownError}
    assert all(isinstance(each, StoreUnavailableError) for each in results[100:])
    assert len({id(each) for each in results}) == 120
    settled = [blocking.db.outcome(error) for error in results[:100]]
    assert [each.applied for each in settled] == [carried_out] * 100
    assert [each.result for each in settled] == (rows[:100] if carried_out else [None] * 100)
    assert blocking.db.accounts.all().count() == (100 if carried_out else 0)
    if carried_out:
        assert blocking.db.accounts.save(rows[50]) is rows[50]
    assert blocking.db.outcome(results[7]) == settled[7]


def test_after_the_deadline_the_rest_gets_its_error(request: pytest.FixtureRequest) -> None:
    with harness("sync", request.node.name, module=bank(), deadline=1.0, sweep_every=0) as stores:
        rows = [account(f"a{number}") for number in range(1000)]

        def late(number: int, commands: Sequence[Command]) -> str:
            if number == 3:
                time.sleep(1.1)  # past the deadline, whatever else takes time
            return "no"

        with losing(stores, late):
            results = stores.db.accounts.create_many(rows)
        done = [each for each in results if not isinstance(each, KeyweaveError)]
        assert 0 < len(done) <= 300
        assert results[: len(done)] == rows[: len(done)]
        assert {type(each) for each in results[len(done) :]} == {StoreTimeoutError}
        assert stores.db.accounts.all().count() == len(done)


# The same as one after another.


def one_by_one(db: Any, kind: str, given: list[Any]) -> list[Any]:
    single = {
        "create_many": "create",
        "upsert_many": "upsert",
        "save_many": "save",
        "delete_many": "discard",
    }[kind]
    results = []
    for each in given:
        try:
            results.append(getattr(db.accounts, single)(each))
        except KeyweaveError as error:
            results.append(error)
    return results


def drawn(chance: random.Random, kind: str) -> list[Any]:
    keys = [f"a{chance.randrange(12)}" for _ in range(chance.randrange(1, 15))]
    if kind == "delete_many":
        return keys
    return [
        account(
            key,
            name=chance.choice(["x", "y", "z", "w", key]),
            branch=chance.choice([None, "b", "b", "nowhere"]),
            balance=chance.choice([0, 1, 2, -1]),
            state=chance.choice(["open", "open", "closed"]),
        )
        for key in keys
    ]


class Loaded:
    """Rows as a caller loaded them some time ago: outdated when others have written since, and each loaded anew now and then."""

    def __init__(self, stores: Harness) -> None:
        self._stores = stores
        self._rows: dict[str, Any] = {}
        self._calls = 0

    def __call__(self, wanted: list[Any]) -> list[Any]:
        """These rows with the fields of `wanted`; a record that was never loaded in place of one that is not there."""
        self._calls += 1
        for place, each in enumerate(wanted):
            if each.number not in self._rows or (place + self._calls) % 3 == 0:
                row = self._stores.db.accounts.find(each.number)
                if row is not None:
                    self._rows[each.number] = row
        rows = []
        for each in wanted:
            row = self._rows.get(each.number, each)
            for field in ("name", "branch", "balance", "state"):
                setattr(row, field, getattr(each, field))
            rows.append(row)
        return rows


def facts(stores: Harness) -> Any:
    rows = stores.db.accounts.all().list()
    return [
        (row.number, row.name, row.branch, row.balance, row.state)
        for row in sorted(rows, key=lambda r: r.number)
    ]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("chunk", [2, 500])
@pytest.mark.parametrize("ends", [AT_ONCE, timedelta(hours=1)], ids=["at once", "later"])
def test_random_batches_are_the_same_as_single_writes(seed: int, chunk: int, ends: timedelta) -> None:
    chance = random.Random(seed)
    options: dict[str, Any] = {"retention": {"Account": ends}, "chunk": chunk, "sweep_every": 0}
    with (
        harness("sync", "many", module=bank(), **options) as left,
        harness("sync", "single", module=bank(), **options) as right,
    ):
        for stores in (left, right):
            stores.db.branches.create(bank().Branch(code="b"))
            stores.db.cards.create_many([])
        loaded = {stores: Loaded(stores) for stores in (left, right)}
        for turn in range(12):
            kind = chance.choice(["create_many", "upsert_many", "upsert_many", "save_many", "delete_many"])
            given = drawn(chance, kind)
            copies = [each if isinstance(each, str) else copy.copy(each) for each in given]
            if kind == "save_many":
                given, copies = loaded[left](given), loaded[right](copies)
            together = getattr(left.db.accounts, kind)(given)
            apart = one_by_one(right.db, kind, copies)
            assert kinds(together) == kinds(apart), f"turn {turn}: {kind} {given}"
            assert [str(e) for e in together if isinstance(e, KeyweaveError)] == [
                str(e) for e in apart if isinstance(e, KeyweaveError)
            ]
            assert facts(left) == facts(right), f"turn {turn}: {kind} {given}"
            if chance.random() < 0.5:
                for number in {f"a{chance.randrange(12)}" for _ in range(3)}:
                    for stores in (left, right):
                        with suppress(ReferenceViolationError):
                            stores.db.cards.upsert(bank().Card(id=number, account=number))
        for stores in (left, right):
            assert stores.db.check().clean
