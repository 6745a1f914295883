"""Remembered rows are a guess: a write is correct also if other processes have changed the row meanwhile."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from compozy_store import APIKey, APIKeyNotFoundError, Role, Status, TaskState
from compozy_store.entities import API_KEY
from keyweave.document.rewrite import Rewrite
from keyweave.effects import ConnectionFailure
from keyweave.evolution.retire import rewrite_documents
from keyweave.transfer.load import Imported, load
from keyweave.write import delete as delete_flows
from tests.depot import depot
from tests.harness import AT_ONCE, FLAVOURS, Harness, errors_in, harness, run, task, user, watched


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Two stores, as two processes would have them, with an execution."""
    with harness(request.param, request.node.name, count=2) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


def document(stores: Harness, row: TaskState) -> str:
    """The key of a task's document."""
    context = stores.db.session.context
    return str(context.keyspace.partition("execution").document("TaskState", row.task_exec_id))


def _enter(status: Status, row: TaskState) -> None:
    row.status = status


def test_two_processes_replace_and_change_each_others_rows_and_every_index_agrees(stores: Harness) -> None:
    chance = random.Random(7)
    left: dict[str, tuple[Status, str]] = {}
    for _ in range(60):
        store = chance.choice(stores.stores)
        key, status, name = chance.choice("abc"), chance.choice(list(Status)), chance.choice("xy")
        if chance.random() < 0.15:
            stores.do(store.task_states.discard(key))
            left.pop(key, None)
        elif key in left and chance.random() < 0.4:
            stores.do(store.task_states.change(key, partial(_enter, status)))
            left[key] = (status, left[key][1])
        else:
            stores.do(store.task_states.upsert(task(key, status=status, name=name)))
            left[key] = (status, name)
        rows = stores.do(stores.db.task_states.all().page()).rows
        assert {row.task_exec_id: (row.status, row.task_id) for row in rows} == left
    assert stores.clean()


def test_a_row_keeps_its_creation_through_writes_of_both(stores: Harness) -> None:
    first, second = stores.stores
    made = stores.do(first.users.upsert(user("u"))).created_at
    for store in (second, first, first, second):
        assert stores.do(store.users.upsert(user("u", Role.ADMIN))).created_at == made


def test_a_row_that_another_process_deleted_is_inserted_again(stores: Harness) -> None:
    first, second = stores.stores
    made = stores.do(first.users.upsert(user("u"))).created_at
    stores.do(second.users.delete("u"))
    assert stores.do(first.users.upsert(user("u"))).created_at > made
    assert stores.clean()


def test_members_that_a_newer_schema_wrote_meanwhile_are_kept(stores: Harness) -> None:
    row = task("a")
    stores.do(stores.db.task_states.upsert(row))
    key = document(stores, row)
    (text,) = stores.send(("GET", key))
    newer = text[:12] + str(int(text[12:28]) + 1).encode()
    stores.send(("SET", key, newer + text[28:-1] + b',"shoe":{"size":[43]}}'))
    stores.do(stores.db.task_states.upsert(task("a", status=Status.PAUSED)))
    (text,) = stores.send(("GET", key))
    assert text.endswith(b',"shoe":{"size":[43]}}')
    assert stores.clean()


def test_an_imported_row_either_equals_the_remembered_one_or_refuses_its_revision(stores: Harness) -> None:
    first, second = stores.stores
    key = document(stores, task("a"))
    kept = []
    for name in ("x", "y"):
        stores.do(first.task_states.upsert(task("a", name=name)))
        kept += stores.send(("GET", key))
    for text in reversed(kept):
        stores.do(second.task_states.delete("a"))
        imported = Imported()
        stores.do(second.session.run(load(second.session.context, [("TaskState", text)], "0" * 18, imported)))
        assert imported.written == 1
        stores.do(first.task_states.change("a", partial(_enter, Status.PAUSED)))
        stores.do(first.task_states.upsert(task("a", status=Status.WAITING, name="z")))
        assert stores.do(second.task_states.get("a")).status is Status.WAITING
        assert stores.clean()


def test_a_member_that_was_purged_meanwhile_is_not_restored(stores: Harness) -> None:
    first, second = stores.stores
    stores.do(first.task_states.upsert(task("a")))
    key = document(stores, task("a"))
    (text,) = stores.send(("GET", key))
    newer = text[:12] + str(int(text[12:28]) + 1).encode()
    stores.send(("SET", key, newer + text[28:-1] + b',"nickname":"x"}'))
    stores.do(first.task_states.upsert(task("a", status=Status.PAUSED)))
    (text,) = stores.send(("GET", key))
    assert b"nickname" in text
    rewrite = Rewrite()
    stores.do(second.session.run(rewrite_documents(second.session.context, rewrite, purge=["nickname"])))
    assert rewrite.written == 1
    stores.do(first.task_states.upsert(task("a", status=Status.WAITING)))
    stores.do(first.task_states.change("a", partial(_enter, Status.SUCCESS)))
    (text,) = stores.send(("GET", key))
    assert b"nickname" not in text
    assert stores.clean()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_remembered_row_that_expired_is_inserted_again(flavour: str) -> None:
    with harness(flavour, f"ran-out-{flavour}", retention={"TaskState": AT_ONCE}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        made: Any = stores.do(stores.db.task_states.upsert(task("a", status=Status.SUCCESS))).created_at
        again = stores.do(stores.db.task_states.upsert(task("a"))).created_at
        assert again > made
        assert stores.do(stores.db.task_states.get("a")).status is Status.RUNNING
        assert stores.clean()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_upsert_of_a_remembered_row_keeps_its_deadline(flavour: str) -> None:
    with harness(flavour, f"goes-on-{flavour}", retention={"TaskState": timedelta(days=1)}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.upsert(task("a", status=Status.SUCCESS)))
        key = document(stores, task("a"))
        (before,) = stores.send(("GET", key))
        stores.do(stores.db.task_states.upsert(task("a", status=Status.FAILED)))
        (after,) = stores.send(("GET", key))
        assert before[66:82] == after[66:82]
        stores.do(stores.db.task_states.upsert(task("a")))
        (running,) = stores.send(("GET", key))
        assert running[66:67] == b"0"


def test_changes_of_two_processes_lose_no_update(stores: Harness) -> None:
    stores.do(stores.db.task_states.upsert(task("a", output=0)))

    def count(row: TaskState) -> None:
        row.output = (row.output or 0) + 1

    outcomes = stores.together([lambda store: store.task_states.change("a", count)] * 24)
    assert not errors_in(outcomes)
    assert stores.do(stores.db.task_states.get("a")).output == 24
    assert sorted(row.output for row in outcomes) == list(range(1, 25))


def api_key(name: str = "k", owner: str = "u", secret: str = "s") -> APIKey:
    return APIKey(id=name, user_id=owner, hash=b"h", fingerprint=secret.encode(), prefix=secret)


@pytest.fixture
def keyed(stores: Harness) -> Harness:
    """Two users; the first store has written a key of one of them and remembers it."""
    for name in "uv":
        stores.do(stores.db.users.create(user(name)))
    stores.do(stores.db.api_keys.create(api_key()))
    return stores


def discard(stores: Harness, store: Any, entity: Any = API_KEY, name: str = "k") -> tuple[bool, int]:
    """The result of a delete, and its number of exchanges."""
    exchanges: list[int] = []
    flow = delete_flows.discard(store.session.context, entity, name)
    found = stores.do(store.session.run(watched(stores, flow, lambda number, _: exchanges.append(number))))
    return found, len(exchanges)


def present(stores: Harness) -> dict[str, tuple[str, str]]:
    """Owner and prefix of every key of the users."""
    users = stores.db.users
    rows = [row for _, rows in stores.do(users.with_api_keys(users.all()).list()) for row in rows]
    return {row.id: (row.user_id, row.prefix) for row in rows}


def test_a_process_removes_a_row_that_it_wrote_in_one_exchange_and_others_in_two(keyed: Harness) -> None:
    first, second = keyed.stores
    assert discard(keyed, first) == (True, 1)
    assert discard(keyed, first) == (False, 1)
    keyed.do(first.api_keys.create(api_key()))
    assert discard(keyed, second) == (True, 2)
    assert keyed.clean()
    assert present(keyed) == {}


def test_a_row_that_another_process_changed_is_removed_with_its_new_entries(keyed: Harness) -> None:
    first, second = keyed.stores
    changed = keyed.do(second.api_keys.get("k"))
    changed.user_id, changed.fingerprint, changed.prefix = "v", b"other", "other"
    keyed.do(second.api_keys.save(changed))
    assert discard(keyed, first) == (True, 2)
    assert keyed.do(first.api_keys.find_by_fingerprint(b"other")) is None
    assert keyed.do(first.api_keys.by_user("v").count()) == 0
    assert first.stats.conflicts == 0
    assert keyed.clean()


def test_a_row_that_another_process_removed_is_reported_as_missing(keyed: Harness) -> None:
    first, second = keyed.stores
    keyed.do(second.api_keys.delete("k"))
    with pytest.raises(APIKeyNotFoundError):
        keyed.do(first.api_keys.delete("k"))
    assert discard(keyed, first) == (False, 1)
    assert first.stats.conflicts == 0


def test_a_row_that_another_process_recreated_is_removed_and_its_other_rows_stay(
    keyed: Harness,
) -> None:
    first, second = keyed.stores
    keyed.do(second.api_keys.delete("k"))
    keyed.do(second.api_keys.create(api_key("k2")))
    keyed.do(second.api_keys.create(api_key("k", "v", "t")))
    assert discard(keyed, first) == (True, 2)
    assert present(keyed) == {"k2": ("u", "s")}
    assert keyed.do(second.api_keys.get_by_fingerprint(b"s")).id == "k2"
    assert keyed.clean()


@pytest.mark.parametrize("how", ["gone", "changed", "there"])
def test_a_broken_connection_is_no_unknown_outcome_of_removing_a_remembered_row(
    keyed: Harness, how: str
) -> None:
    first, second = keyed.stores
    if how == "gone":
        keyed.do(second.api_keys.delete("k"))
    elif how == "changed":
        keyed.do(second.api_keys.change("k", lambda row: setattr(row, "user_id", "v")))

    def cut(number: int, _: Any) -> None:
        if number == 1:
            raise ConnectionFailure("closed", "the connection was cut", sent=True)

    flow = delete_flows.discard(first.session.context, API_KEY, "k")
    assert keyed.do(first.session.run(watched(keyed, flow, cut))) is (how != "gone")
    assert present(keyed) == {}
    assert keyed.clean()


def test_a_transaction_removes_what_it_reads(keyed: Harness) -> None:
    first, second = keyed.stores
    keyed.do(second.api_keys.change("k", lambda row: setattr(row, "user_id", "v")))

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.api_keys.delete("k")
        assert (yield tx.api_keys.by_user("v").count()) == 0

    keyed.transact(steps, first)
    assert first.stats.conflicts == 0
    assert keyed.clean()


def test_two_processes_remove_and_create_each_others_rows_and_every_index_agrees(keyed: Harness) -> None:
    chance = random.Random(11)
    left = {"k": ("u", "s")}
    for turn in range(120):
        store, name = chance.choice(keyed.stores), chance.choice(["k", "l", "m"])
        if chance.random() < 0.5:
            assert discard(keyed, store, name=name)[0] is (left.pop(name, None) is not None)
        else:
            left[name] = (chance.choice("uv"), f"s{turn}")
            keyed.do(store.api_keys.upsert(api_key(name, *left[name])))
        assert present(keyed) == left
    assert keyed.clean()
    assert [store.stats.conflicts for store in keyed.stores] == [0, 0]


def test_one_of_many_concurrent_removals_of_a_remembered_row_succeeds(keyed: Harness) -> None:
    outcomes = keyed.together([lambda store: store.api_keys.discard("k")] * 16)
    assert sorted(outcomes) == [False] * 15 + [True]
    assert keyed.clean()


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("swept", [False, True])
def test_a_remembered_row_that_expired_is_missing(flavour: str, swept: bool) -> None:
    """The delete counts the expired row as dead, also in the process that remembers it."""
    retention = {"Ticket": AT_ONCE}
    ticket, entity = depot().Ticket, depot().PACKAGE.entities["Ticket"]
    with harness(flavour, f"out-{flavour}-{swept}", module=depot(), retention=retention, count=2) as stores:
        first, second = stores.stores
        stores.do(first.tickets.create(ticket(id="a", code="c", state=depot().State.CLOSED)))
        if swept:
            assert stores.do(second.sweep()) == 1
        found, _ = discard(stores, first, entity, "a")
        assert (found, first.stats.dead_met, first.stats.conflicts) == (False, 0 if swept else 1, 0)
        assert stores.do(second.sweep()) == (0 if swept else 1)
        assert stores.contents() == {}
