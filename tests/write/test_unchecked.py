"""A transaction sends its writes once: what it has not read is checked by its plan, and each error comes from the call to blame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import APIKey, EmailExistsError, Role, User, UserNotFoundError
from keyweave.errors import (
    AlreadyExistsError,
    ConflictError,
    KeyweaveError,
    ReferenceViolationError,
)
from tests.harness import FLAVOURS, Harness, exchanges, harness


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A store with the users `u` and `v`."""
    with harness(request.param, request.node.name, sweep_every=0) as opened:
        for key in "uv":
            opened.do(opened.db.users.create(user(key)))
        yield opened


def user(key: str, email: str = "") -> User:
    return User(id=key, email=email or f"{key}@x", role=Role.USER)


def api_key(key: str, owner: str) -> APIKey:
    return APIKey(id=key, user_id=owner, fingerprint=key.encode(), prefix=key, hash=b"h")


def test_a_thousand_inserts_are_one_exchange(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        for number in range(1000):
            yield tx.users.create(user(f"n{number}"))

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert stores.do(stores.db.users.all().count()) == 1002
    assert stores.do(stores.db.check()).clean


def test_rows_of_several_entities_that_refer_to_each_other_are_one_exchange(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.create(user("w"))
        yield tx.api_keys.create(api_key("k", "w"))
        yield tx.api_keys.create(api_key("l", "v"))

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert stores.do(stores.db.check()).clean


def test_rows_that_were_loaded_before_are_saved_in_one_exchange(stores: Harness) -> None:
    rows = [stores.do(stores.db.users.get(key)) for key in "uv"]

    def steps(tx: Any) -> Any:
        for row in rows:
            row.role = Role.ADMIN
            yield tx.users.save(row)

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert [stores.do(stores.db.users.get(key)).role for key in "uv"] == [Role.ADMIN, Role.ADMIN]


def test_many_rows_at_once_are_one_exchange(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        return (yield tx.users.create_many([user(f"n{number}") for number in range(300)]))

    with exchanges(stores) as sent:
        assert len(stores.transact(steps)) == 300
    assert len(sent) == 1


BAD = {
    "key": (user("u", "other@x"), AlreadyExistsError),
    "unique value": (user("w", "v@x"), EmailExistsError),
    "reference": (api_key("k", "nobody"), ReferenceViolationError),
}


def written(tx: Any, row: Any) -> Any:
    return (tx.users if isinstance(row, User) else tx.api_keys).create(row)


@pytest.mark.parametrize("kind", BAD)
def test_the_call_to_blame_raises_its_error(stores: Harness, kind: str) -> None:
    row, error = BAD[kind]
    caught: list[Exception] = []

    def steps(tx: Any) -> Any:
        caught.clear()
        yield tx.users.create(user("before"))
        try:
            yield written(tx, row)
        except KeyweaveError as raised:
            caught.append(raised)
        yield tx.users.create(user("after"))

    stores.transact(steps)
    assert [type(each) for each in caught] == [error]
    assert {each.id for each in stores.do(stores.db.users.all().list())} == {"u", "v", "before", "after"}
    assert stores.do(stores.db.check()).clean


@pytest.mark.parametrize("kind", BAD)
def test_an_error_that_was_due_earlier_comes_in_place_of_the_functions_own(
    stores: Harness, kind: str
) -> None:
    row, error = BAD[kind]
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield written(tx, row)
        raise LookupError("the function's own")

    with pytest.raises(error):
        stores.transact(steps)
    assert len(runs) == 2
    assert len(stores.do(stores.db.users.all().list())) == 2


def test_a_function_that_raises_runs_once_if_its_writes_are_in_order(stores: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.users.create(user("w"))
        yield tx.api_keys.create(api_key("k", "v"))
        raise LookupError("the function's own")

    with pytest.raises(LookupError, match="the function's own"), exchanges(stores) as sent:
        stores.transact(steps)
    assert len(runs) == len(sent) == 1
    assert stores.do(stores.db.users.find("w")) is None


def test_a_row_of_the_transaction_itself_is_refused_at_once(stores: Harness) -> None:
    errors: list[Exception] = []

    def steps(tx: Any) -> Any:
        yield tx.users.create(user("w"))
        for row in (user("w", "other@x"), user("x", "W@X")):
            try:
                yield tx.users.create(row)
            except KeyweaveError as raised:
                errors.append(raised)

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert [type(each) for each in errors] == [AlreadyExistsError, EmailExistsError]
    assert len(sent) <= 2


def test_a_reference_to_a_row_that_the_transaction_inserts_later_is_refused(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.api_keys.create(api_key("k", "w"))
        yield tx.users.create(user("w"))

    with pytest.raises(ReferenceViolationError):
        stores.transact(steps)
    assert stores.do(stores.db.users.find("w")) is None


@pytest.mark.parametrize("own", [False, True])
def test_a_unique_value_that_the_transaction_releases_later_is_refused(stores: Harness, own: bool) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.create(user("w", "u@x"))
        if own:
            raise LookupError("the function's own")
        yield tx.users.delete("u")

    with pytest.raises(EmailExistsError):
        stores.transact(steps)
    assert stores.do(stores.db.users.get("u")).email == "u@x"


def test_an_insert_that_the_transaction_takes_back_is_refused_all_the_same(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.create(user("u", "other@x"))
        yield tx.users.delete("u")

    with pytest.raises(AlreadyExistsError):
        stores.transact(steps)
    assert stores.do(stores.db.users.get("u")).email == "u@x"


def test_an_insert_that_the_transaction_corrects_is_refused_all_the_same(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        row = yield tx.users.create(user("w", "u@x"))
        row.email = "w@x"
        yield tx.users.save(row)

    with pytest.raises(EmailExistsError):
        stores.transact(steps)
    assert stores.do(stores.db.users.find("w")) is None


def test_a_unique_value_that_the_transaction_released_before_is_free(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.delete("u")
        yield tx.users.create(user("w", "u@x"))

    stores.transact(steps)
    assert stores.do(stores.db.users.get("w")).email == "u@x"
    assert stores.do(stores.db.check()).clean


def test_a_row_that_changed_since_it_was_loaded_is_a_conflict(stores: Harness) -> None:
    row = stores.do(stores.db.users.get("u"))
    stores.do(stores.db.users.change("u", lambda each: setattr(each, "email", "new@x")))
    errors: list[Exception] = []

    def steps(tx: Any) -> Any:
        row.role = Role.ADMIN
        try:
            yield tx.users.save(row)
        except KeyweaveError as raised:
            errors.append(raised)

    stores.transact(steps)
    assert [type(each) for each in errors] == [ConflictError]
    stores.do(stores.db.users.delete("u"))
    errors.clear()
    stores.transact(steps)
    assert [type(each) for each in errors] == [UserNotFoundError]


def test_another_writer_between_a_look_and_an_insert_makes_the_function_look_again(stores: Harness) -> None:
    seen: list[bool] = []

    def steps(tx: Any) -> Any:
        there = yield tx.users.exists("w")
        seen.append(there)
        if there:
            return
        yield stores.db.users.create(user("w", "another@x"))
        yield tx.users.create(user("w", "mine@x"))

    stores.transact(steps)
    assert seen == [False, True]
    assert stores.do(stores.db.users.get("w")).email == "another@x"
