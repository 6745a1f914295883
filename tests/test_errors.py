"""Errors name the row that the caller named: in their text, and in `key`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import APIKey, Role, User
from compozy_store.sync import Store
from keyweave.errors import (
    AlreadyExistsError,
    ConflictError,
    KeyweaveError,
    LockTimeoutError,
    NotFoundError,
    NotLoadedError,
    ReferenceViolationError,
    UniqueViolationError,
)
from tests.servers.running import new_namespace, server_url


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(server_url(), namespace=new_namespace("errors")) as opened:
        opened.users.create(User(id="u1", email="a@b.c", role=Role.USER))
        yield opened


def user(key: str = "u1", email: str = "x@y.z") -> User:
    return User(id=key, email=email, role=Role.USER)


def stale(store: Store) -> None:
    old = store.users.get("u1")
    store.users.change("u1", lambda row: setattr(row, "role", Role.ADMIN))
    old.email = "n@o.p"
    store.users.save(old)


def locked_twice(store: Store) -> None:
    def outer(tx: Any) -> None:
        tx.users.get_for_update("u1")
        store.transact(lambda other: other.users.get_for_update("u1", wait=0.05))

    store.transact(outer)


def in_transaction(call: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda store: store.transact(call)


CALLS: dict[str, tuple[Callable[[Any], object], type[KeyweaveError], str]] = {
    "get": (lambda s: s.users.get("nobody"), NotFoundError, "nobody"),
    "get for update": (in_transaction(lambda tx: tx.users.get_for_update("no")), NotFoundError, "no"),
    "get with": (lambda s: s.users.get_with_api_keys("nobody"), NotFoundError, "nobody"),
    "change": (lambda s: s.users.change("nobody", lambda row: None), NotFoundError, "nobody"),
    "delete": (lambda s: s.users.delete("nobody"), NotFoundError, "nobody"),
    "create": (lambda s: s.users.create(user()), AlreadyExistsError, "u1"),
    "create in a transaction": (in_transaction(lambda tx: tx.users.create(user())), AlreadyExistsError, "u1"),
    "unique": (lambda s: s.users.create(user("u2", "A@b.c")), UniqueViolationError, "u2"),
    "unique in a transaction": (
        in_transaction(lambda tx: tx.users.create(user("u2", "A@b.c"))),
        UniqueViolationError,
        "u2",
    ),
    "reference": (
        lambda s: s.api_keys.create(APIKey(id="k1", user_id="u9", hash=b"h", fingerprint=b"f", prefix="p")),
        ReferenceViolationError,
        "k1",
    ),
    "save of what was not loaded": (lambda s: s.users.save(user()), NotLoadedError, "u1"),
    "save of what has changed": (stale, ConflictError, "u1"),
    "lock": (locked_twice, LockTimeoutError, "u1"),
    "another entity": (lambda s: s.workflow_states.get("w1"), NotFoundError, "w1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_row_is_named(store: Store, name: str) -> None:
    call, kind, key = CALLS[name]
    with pytest.raises(kind) as caught:
        call(store)
    entity = {"another entity": "WorkflowState", "reference": "APIKey"}.get(name, "User")
    assert str(caught.value).startswith(f"{entity} {key!r}: ")
    assert kind is NotLoadedError or getattr(caught.value, "key", None) == key


def test_a_unique_value_is_not_named(store: Store) -> None:
    with pytest.raises(UniqueViolationError) as caught:
        store.users.create(user("u2", "a@b.c"))
    assert "a@b.c" not in f"{caught.value!r}"
    with pytest.raises(NotFoundError) as missing:
        store.users.get_by_email("nobody@b.c")
    assert str(missing.value) == "User: no such row"


def test_a_long_key_is_shortened(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.users.get("k" * 5000)
    assert len(str(caught.value)) < 150
    assert caught.value.key == "k" * 5000
