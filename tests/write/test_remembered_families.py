"""Families that a process remembers are a guess: a delete is right also if other processes have changed them meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import APIKey, UserNotFoundError
from compozy_store.entities import TASK_STATE, USER, WORKFLOW_STATE
from keyweave.effects import ConnectionFailure
from keyweave.errors import ReferenceViolationError
from keyweave.store import recent
from keyweave.store.recent import LARGEST_FAMILY
from keyweave.write import delete as delete_flows
from tests.harness import FLAVOURS, Harness, add_tasks, harness, run, task, user, watched
from tests.servers.partitions import chosen_partitions


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two rows share a place in the memory of a process."""
    places: dict[Any, int] = {}
    monkeypatch.setitem(vars(recent), "hash", lambda name: places.setdefault(name, len(places)))


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Two stores, as two processes would have them; the first has inserted a user with two keys."""
    with harness(request.param, request.node.name, count=2) as opened:
        first, _ = opened.stores
        opened.do(first.users.create(user("other")))
        opened.do(first.users.create(user("u")))
        for name in ("k", "l"):
            opened.do(first.api_keys.create(key(name)))
        yield opened


def key(name: str, owner: str = "u") -> APIKey:
    return APIKey(id=name, user_id=owner, hash=b"h", fingerprint=name.encode(), prefix=name)


def discard(
    stores: Harness, store: Any, entity: Any = USER, name: str = "u", before: Any = None
) -> tuple[bool, int]:
    """The result of a delete, and its number of exchanges."""
    exchanges: list[int] = []

    def watch(number: int, commands: Any) -> None:
        exchanges.append(number)
        if before is not None:
            before(number, commands)

    flow = delete_flows.discard(store.session.context, entity, name)
    found = stores.do(store.session.run(watched(stores, flow, watch)))
    return found, len(exchanges)


def test_a_family_that_this_process_has_inserted_is_deleted_in_one_exchange(stores: Harness) -> None:
    first, second = stores.stores
    assert discard(stores, first) == (True, 1)
    assert stores.do(second.api_keys.get_many(["k", "l"])) == [None, None]
    with pytest.raises(UserNotFoundError):
        stores.do(first.users.delete("u"))
    assert stores.clean()
    stores.do(second.users.create(user("u")))
    stores.do(second.api_keys.create(key("k")))


OTHERS: dict[str, Callable[[Harness, Any], Any]] = {
    "adds a row": lambda stores, store: stores.do(store.api_keys.create(key("m"))),
    "deletes one": lambda stores, store: stores.do(store.api_keys.delete("k")),
    "changes one": lambda stores, store: stores.do(store.api_keys.update("k", prefix="p")),
    "moves one away": lambda stores, store: stores.do(store.api_keys.update("k", user_id="other")),
    "replaces one": lambda stores, store: [
        stores.do(store.api_keys.delete("k")),
        stores.do(store.api_keys.create(key("m"))),
    ],
    "creates one again": lambda stores, store: [
        stores.do(store.api_keys.delete("k")),
        stores.do(store.api_keys.create(key("k"))),
    ],
    "changes the row": lambda stores, store: stores.do(store.users.change("u", _rename)),
    "creates the row again": lambda stores, store: [
        stores.do(store.users.delete("u")),
        stores.do(store.users.create(user("u"))),
        stores.do(store.api_keys.create(key("m"))),
    ],
}


def _rename(row: Any) -> None:
    row.email = "new@x"


@pytest.mark.parametrize("case", OTHERS)
def test_what_another_process_has_done_is_seen(stores: Harness, case: str) -> None:
    first, second = stores.stores
    OTHERS[case](stores, second)
    assert discard(stores, first) == (True, 3)
    left = stores.do(second.api_keys.by_user("other").list())
    assert [row.id for row in left] == (["k"] if case == "moves one away" else [])
    assert stores.do(second.users.find("u")) is None
    assert stores.do(second.api_keys.by_user("u").list()) == []
    assert first.stats.conflicts == 0
    assert stores.clean()


def test_a_row_that_another_process_deleted_is_reported_as_missing(stores: Harness) -> None:
    first, second = stores.stores
    stores.do(second.users.delete("u"))
    assert discard(stores, first) == (False, 2)
    assert stores.clean()


def test_a_row_that_this_process_has_moved_counts_where_it_is(stores: Harness) -> None:
    first, _ = stores.stores
    stores.do(first.api_keys.update("k", user_id="other"))
    assert discard(stores, first) == (True, 1)
    assert stores.do(first.api_keys.get("k")).user_id == "other"
    assert discard(stores, first, name="other") == (True, 3)
    assert stores.clean()


def test_a_row_that_this_process_has_deleted_counts_no_more(stores: Harness) -> None:
    first, _ = stores.stores
    stores.do(first.api_keys.delete("k"))
    assert discard(stores, first) == (True, 1)
    assert stores.clean()


@pytest.mark.parametrize("more", [0, 1])
def test_a_large_family_is_read(stores: Harness, more: int) -> None:
    first, _ = stores.stores
    for number in range(LARGEST_FAMILY - 2 + more):
        stores.do(first.api_keys.create(key(f"k{number}")))
    assert discard(stores, first) == (True, 1 + more)
    assert stores.clean()


def test_rows_of_several_levels_are_deleted_in_one_exchange(stores: Harness) -> None:
    first, _ = stores.stores
    stores.do(first.workflow_states.create(run()))
    add_tasks(stores, [task("p"), task("c", "p"), task("d", "c"), task("q")])
    one = chosen_partitions() == 1  # in a group with several, families are read
    deleted, exchanges = discard(stores, first, TASK_STATE, "p")
    assert deleted and (exchanges == 1) is one
    assert [row.task_exec_id for row in stores.do(first.task_states.by_workflow("w").list())] == ["q"]
    deleted, exchanges = discard(stores, first, WORKFLOW_STATE, "w")
    assert deleted and (exchanges == 1) is one
    assert stores.clean()


@pytest.mark.parametrize("applied", [False, True])
def test_a_broken_connection_is_no_unknown_outcome(stores: Harness, applied: bool) -> None:
    """If another process deletes the family while nothing answers, the delete was not applied, and nothing is there."""
    first, second = stores.stores

    def cut(number: int, _: Any) -> None:
        if number == 1:
            raise ConnectionFailure("closed", "the connection was cut", sent=True)

    if not applied:
        stores.do(second.users.delete("u"))
    assert discard(stores, first, before=cut)[0] is applied
    assert stores.do(second.users.find("u")) is None
    assert stores.clean()


def test_two_processes_write_and_delete_families_and_every_index_agrees(stores: Harness) -> None:
    chance = random.Random(5)
    owners: dict[str, str] = {"k": "u", "l": "u"}
    users = {"u", "other"}
    for turn in range(150):
        store, name = chance.choice(stores.stores), chance.choice(["u", "v", "other"])
        row = chance.choice("klmn")
        action = chance.random()
        if action < 0.3:
            assert discard(stores, store, name=name)[0] is (name in users)
            users.discard(name)
            owners = {each: owner for each, owner in owners.items() if owner != name}
        elif action < 0.6:
            stores.do(store.users.upsert(user(name)))
            users.add(name)
        elif name not in users:
            with pytest.raises(ReferenceViolationError):
                stores.do(store.api_keys.upsert(key(row, name)))
        else:
            stores.do(store.api_keys.upsert(key(row, name)))
            owners[row] = name
        found = {each: stores.do(store.api_keys.find(each)) for each in "klmn"}
        assert {each: kept.user_id for each, kept in found.items() if kept is not None} == owners, turn
    assert stores.clean()


def test_the_rows_of_tenants_are_families_of_their_own() -> None:
    with harness("sync", "tenants") as stores:
        for tenant in ("a", "b"):
            stores.db.tenant(tenant).users.create(user("u"))
        stores.db.tenant("a").api_keys.create(key("k"))
        for tenant, number in (("b", 1), ("a", 1)):
            assert discard(stores, stores.db.tenant(tenant)) == (True, number)
        for tenant in ("a", "b"):
            assert stores.db.tenant(tenant).check().clean
