"""What a write of one row costs a server: the commands that its script calls. With more of them, every write is slower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import APIKey, Status
from compozy_store.sync import Store
from tests.harness import run, task, user
from tests.servers.running import Running, configured_server

pytestmark = pytest.mark.usefixtures("own_places")

READ = {"evalsha": 1, "time": 1, "getrange": 1, "hget": 2}
"""The row, the ledger, and the version of the schema."""

KEPT = {"hset": 1, "set": 2}
"""The ledger's slot, the clock, and the row."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@pytest.fixture
def store(server: Running) -> Iterator[Store]:
    with Store.open(server.url) as opened:
        opened.workflow_states.upsert(run("w"))
        yield opened


def commands(server: Running, write: Callable[[], Any]) -> dict[str, int]:
    """The commands that the server ran for a write."""
    with server.client() as client:
        client.config_resetstat()
        write()
        found = client.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in found.items()}
    return {
        name: calls for name, calls in counted.items() if not name.startswith(("config", "client", "info"))
    }


def test_a_new_row(server: Running, store: Store) -> None:
    """It reads the reference's target, and the deadline that an earlier row may have left; it joins five views."""
    found = commands(server, lambda: store.task_states.create(task("new")))
    assert found == {**READ, **KEPT, "getrange": 2, "zscore": 1, "zadd": 5}


def test_a_change_of_status(server: Running, store: Store) -> None:
    """It leaves one view and joins one."""
    row = store.task_states.create(task("changed"))
    row.status = Status.PENDING
    assert commands(server, lambda: store.task_states.save(row)) == {**READ, **KEPT, "zrem": 1, "zadd": 1}


def test_a_row_that_gets_a_deadline(server: Running, store: Store) -> None:
    """The general path: it reads the types of the views, and the clock by a command of its own."""
    row = store.task_states.create(task("ended"))
    row.status = Status.SUCCESS
    found = commands(server, lambda: store.task_states.save(row))
    assert found == {**READ, **KEPT, "get": 1, "zcard": 3, "zrem": 1, "zadd": 2}


def test_a_delete(server: Running, store: Store) -> None:
    """One exchange: nothing refers to the row, which leaves five views; the clock is only read."""
    for key in ("first", "gone"):  # the first one loads the scripts
        store.task_states.create(task(key))
    store.task_states.delete("first")
    found = commands(server, lambda: store.task_states.delete("gone"))
    assert found == {**READ, "get": 1, "zcard": 1, "zrem": 5, "del": 1, "hset": 1}


def test_a_delete_with_a_child(server: Running, store: Store) -> None:
    """One exchange: the child is compared as a whole, and both documents are deleted by one command."""
    for key in ("first", "gone"):
        store.task_states.create(task(key))
        store.task_states.create(task(f"below {key}", key))
    store.task_states.delete("first")
    found = commands(server, lambda: store.task_states.delete("gone"))
    assert found == {**READ, "get": 2, "zcard": 2, "zrem": 12, "del": 1, "hset": 1}


def test_a_delete_with_many_children(server: Running, store: Store) -> None:
    """Their views are read in their types, and one command takes all members out of each of them."""
    for key in ("first", "gone"):
        store.task_states.create(task(key))
        for number in range(20):
            store.task_states.create(task(f"{key} {number}", key))
    store.task_states.delete("first")
    found = commands(server, lambda: store.task_states.delete("gone"))
    # 21 tasks are in five views each, of which most are the same, and 20 of them below the parent.
    views = 7
    assert found == {
        **READ,
        "evalsha": 2,
        "get": 2,
        "getrange": 21,
        "mget": 1,
        "zrange": 21,
        "zcard": 21 + views,
        "zrem": views,
        "del": 1,
        "hset": 1,
    }


def test_a_delete_of_a_row_that_another_process_wrote(server: Running, store: Store) -> None:
    """Two exchanges: the row and its children, then the plan."""
    with Store.open(server.url) as other:
        for key in ("first", "gone"):
            other.task_states.create(task(key))
    store.task_states.delete("first")
    found = commands(server, lambda: store.task_states.delete("gone"))
    assert found == {
        **READ,
        "evalsha": 2,
        "get": 2,
        "zrange": 1,
        "zcard": 1,
        "zrem": 5,
        "del": 1,
        "hset": 1,
    }


def test_a_delete_of_a_row_with_unique_values(server: Running, store: Store) -> None:
    """The owner of each unique value is read before the first write, so its type is known."""
    store.users.create(user("u"))
    for key in ("first", "gone"):
        store.api_keys.create(APIKey(id=key, user_id="u", hash=b"h", fingerprint=key.encode(), prefix=key))
    store.api_keys.delete("first")
    found = commands(server, lambda: store.api_keys.delete("gone"))
    assert found == {**READ, "hget": 4, "get": 1, "zrem": 1, "hdel": 2, "del": 1, "hset": 1}


def test_a_delete_of_a_user_with_keys(server: Running, store: Store) -> None:
    """The unique values of all rows leave each constraint by one command."""
    for key in ("first", "gone"):
        store.users.create(user(key))
        for number in range(3):
            name = f"{key} {number}"
            store.api_keys.create(
                APIKey(id=name, user_id=key, hash=b"h", fingerprint=name.encode(), prefix=name)
            )
    store.users.delete("first")
    found = commands(server, lambda: store.users.delete("gone"))
    assert found == {**READ, "hget": 9, "get": 4, "zcard": 1, "zrem": 5, "hdel": 3, "del": 1, "hset": 1}
