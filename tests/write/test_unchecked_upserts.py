"""An upsert in a transaction guesses at its row: that it is new, or as this process knows it. The plan checks that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import EmailExistsError, Role
from keyweave.errors import ConflictError, KeyweaveError, ReferenceViolationError
from tests.harness import FLAVOURS, Harness, exchanges, harness
from tests.write.test_unchecked import api_key, user

pytestmark = pytest.mark.usefixtures("own_places")


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A store with the users `u` and `v`."""
    with harness(request.param, request.node.name, sweep_every=0) as opened:
        for key in "uv":
            opened.do(opened.db.users.create(user(key)))
        yield opened


def forget(stores: Harness, *keys: str) -> None:
    """Let the store know nothing of these users, as if another process had written them."""
    for key in keys:
        stores.db.session.context.state.recent.drop("User", key)


def upserting(*keys: str, role: Role = Role.ADMIN, runs: list[int] | None = None) -> Any:
    def steps(tx: Any) -> Any:
        if runs is not None:
            runs.append(1)
        found = []
        for key in keys:
            row = user(key)
            row.role = role
            found.append((yield tx.users.upsert(row)))
        return found

    return steps


def test_a_thousand_upserts_of_new_rows_are_one_exchange(stores: Harness) -> None:
    with exchanges(stores) as sent:
        rows = stores.transact(upserting(*[f"n{number}" for number in range(1000)]))
    assert len(sent) == 1
    moments = [row.created_at for row in rows]
    assert None not in moments
    assert moments == sorted(moments)
    assert stores.do(stores.db.users.all().count()) == 1002
    assert stores.do(stores.db.check()).clean


def test_rows_that_this_process_wrote_are_replaced_in_one_exchange(stores: Harness) -> None:
    before = {key: stores.do(stores.db.users.get(key)).created_at for key in "uv"}
    with exchanges(stores) as sent:
        rows = stores.transact(upserting("u", "v", "w"))
    assert len(sent) == 1
    assert [row.created_at for row in rows[:2]] == [before["u"], before["v"]]
    for key in "uvw":
        assert stores.do(stores.db.users.get(key)).role is Role.ADMIN
    assert stores.do(stores.db.check()).clean


def test_a_record_that_was_loaded_replaces_its_row_in_one_exchange(stores: Harness) -> None:
    forget(stores, "u")
    row = stores.do(stores.db.users.get("u"))
    row.role = Role.ADMIN

    def steps(tx: Any) -> Any:
        yield tx.users.upsert(row)

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert stores.do(stores.db.users.get("u")).role is Role.ADMIN


def test_a_row_that_another_process_wrote_is_replaced_all_the_same(stores: Harness) -> None:
    before = stores.do(stores.db.users.get("u")).created_at
    forget(stores, "u")
    runs: list[int] = []
    with exchanges(stores) as sent:
        rows = stores.transact(upserting("u", "w", runs=runs))
    # A plan that is refused; then each row is read, and there is a second plan.
    assert len(runs) == 2
    assert len(sent) == 4
    assert rows[0].created_at == before
    found = stores.do(stores.db.users.get("u"))
    assert (found.role, found.created_at) == (Role.ADMIN, before)
    assert stores.do(stores.db.check()).clean


def test_a_row_that_changed_since_this_process_wrote_it_is_replaced(stores: Harness) -> None:
    with harness(stores.flavour, stores, sweep_every=0) as other:
        row = other.do(other.db.users.get("u"))
        row.email = "moved@x"
        other.do(other.db.users.save(row))
        other.do(other.db.users.delete("v"))
    rows = stores.transact(upserting("u", "v"))
    assert [row.email for row in rows] == ["u@x", "v@x"]
    assert stores.do(stores.db.users.all().count()) == 2
    assert stores.do(stores.db.check()).clean


def test_after_a_wrong_guess_upserts_read_their_rows_for_a_while(stores: Harness) -> None:
    """The first wrong guess costs a run; the next transaction reads at once; a right guess later makes it guess again."""
    counted = []
    for _ in range(3):
        runs: list[int] = []
        forget(stores, "u")
        stores.transact(upserting("u", runs=runs))
        counted.append(len(runs))
    assert counted == [2, 1, 2]
    for number in range(4):  # these are new, so a guess is right, once there is one again
        stores.transact(upserting(f"new{number}"))
    with exchanges(stores) as sent:
        stores.transact(upserting("another"))
    assert len(sent) == 1


BAD: dict[str, tuple[Any, type[KeyweaveError]]] = {
    "unique value": (user("w", "v@x"), EmailExistsError),
    "reference": (api_key("k", "nobody"), ReferenceViolationError),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_call_to_blame_raises_its_error(stores: Harness, kind: str) -> None:
    row, error = BAD[kind]
    caught: list[Exception] = []

    def steps(tx: Any) -> Any:
        caught.clear()
        yield tx.users.upsert(user("before"))
        try:
            yield (tx.users if hasattr(row, "email") else tx.api_keys).upsert(row)
        except KeyweaveError as raised:
            caught.append(raised)
        yield tx.users.upsert(user("after"))

    stores.transact(steps)
    assert [type(each) for each in caught] == [error]
    assert {each.id for each in stores.do(stores.db.users.all().list())} == {"u", "v", "before", "after"}
    assert stores.do(stores.db.check()).clean


def test_a_row_that_is_upserted_twice_is_one_exchange(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.upsert(user("w"))
        again = user("w")
        again.role = Role.ADMIN
        yield tx.users.upsert(again)
        yield tx.api_keys.upsert(api_key("k", "w"))

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert stores.do(stores.db.users.get("w")).role is Role.ADMIN
    assert stores.do(stores.db.check()).clean


def test_a_function_that_raises_leaves_nothing_and_runs_again_only_after_a_wrong_guess(
    stores: Harness,
) -> None:
    forget(stores, "u")
    for keys, number in (("wx", 1), ("uw", 2)):
        runs: list[int] = []

        def steps(tx: Any, keys: str = keys, runs: list[int] = runs) -> Any:
            yield from upserting(*keys, runs=runs)(tx)
            raise LookupError("the function's own")

        with pytest.raises(LookupError):
            stores.transact(steps)
        assert len(runs) == number
    assert {each.role for each in stores.do(stores.db.users.all().list())} == {Role.USER}
    assert stores.do(stores.db.check()).clean


def test_many_rows_that_others_write_all_the_time_cost_an_exchange_each(stores: Harness) -> None:
    """After a wrong guess at one of its rows a transaction reads all of them, and later transactions do so at once."""
    keys = [f"n{number}" for number in range(70)]
    stores.transact(upserting(*keys))
    sent_in, runs_of = [], []
    for _ in range(8):
        forget(stores, *keys)
        runs: list[int] = []
        with exchanges(stores) as sent:
            stores.transact(upserting(*keys, runs=runs))
        sent_in.append(len(sent))
        runs_of.append(len(runs))
    assert runs_of == [2, 1, 2, 1, 1, 2, 1, 1]
    assert set(sent_in) == {71, 72}


def test_a_save_that_always_conflicts_does_not_hide_the_error_of_an_earlier_upsert(stores: Harness) -> None:
    stale = stores.do(stores.db.users.get("u"))
    stores.do(stores.db.users.update("u", role=Role.ADMIN))
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.api_keys.upsert(api_key("k", "nobody"))
        yield tx.users.upsert(user("u"))
        yield tx.users.save(stale)

    with pytest.raises(ReferenceViolationError):
        stores.transact(steps)
    assert len(runs) == 2


def test_a_record_that_was_replaced_in_its_transaction_never_counts_as_the_row(stores: Harness) -> None:
    """It has a revision of its own, which no buffered write of a later transaction has."""
    stale = user("w", "two@x")

    def replaced(tx: Any) -> Any:
        yield tx.users.upsert(stale)
        yield tx.users.upsert(user("w", "three@x"))

    def later(tx: Any) -> Any:
        yield tx.users.upsert(user("w", "zero@x"))
        yield tx.users.upsert(user("z", "two@x"))
        yield tx.users.save(stale)

    stores.transact(replaced)
    with pytest.raises(ConflictError):
        stores.do(stores.db.users.save(stale))
    with pytest.raises((ConflictError, EmailExistsError)):
        stores.transact(later)
    assert stores.do(stores.db.users.get("w")).email == "three@x"
    assert stores.do(stores.db.check()).clean
