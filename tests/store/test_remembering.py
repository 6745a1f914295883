"""What a process remembers of rows that it wrote is a guess: whatever others did meanwhile, a write does what it says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from compozy_store import Role, Status, TaskState
from keyweave.flows.importing import Imported, load
from keyweave.flows.retiring import rewrite_documents
from keyweave.rewriting import Rewrite
from tests.store.harness import AT_ONCE, FLAVOURS, Harness, errors_in, harness, run, task, user


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
        rows = stores.do(stores.db.task_states.list_all()).records
        assert {row.task_exec_id: (row.status, row.task_id) for row in rows} == left
    assert stores.clean()


def test_a_row_keeps_its_creation_through_writes_of_both(stores: Harness) -> None:
    first, second = stores.stores
    made = stores.do(first.users.upsert(user("u"))).created_at
    for store in (second, first, first, second):
        assert stores.do(store.users.upsert(user("u", Role.ADMIN))).created_at == made


def test_a_row_that_another_process_deleted_is_made_anew(stores: Harness) -> None:
    first, second = stores.stores
    made = stores.do(first.users.upsert(user("u"))).created_at
    stores.do(second.users.delete("u"))
    assert stores.do(first.users.upsert(user("u"))).created_at > made
    assert stores.clean()


def test_members_that_a_newer_schema_wrote_meanwhile_survive(stores: Harness) -> None:
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


def test_a_row_that_an_import_brought_back_is_what_is_remembered_or_refuses_it(stores: Harness) -> None:
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


def test_a_member_that_was_purged_meanwhile_does_not_come_back(stores: Harness) -> None:
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
def test_a_row_that_ran_out_is_made_anew(flavour: str) -> None:
    with harness(flavour, f"ran-out-{flavour}", retention={"TaskState": AT_ONCE}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        made: Any = stores.do(stores.db.task_states.upsert(task("a", status=Status.SUCCESS))).created_at
        again = stores.do(stores.db.task_states.upsert(task("a"))).created_at
        assert again > made
        assert stores.do(stores.db.task_states.get("a")).status is Status.RUNNING
        assert stores.clean()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_deadline_goes_on_through_an_upsert_of_a_remembered_row(flavour: str) -> None:
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


def test_changes_of_two_processes_lose_nothing(stores: Harness) -> None:
    stores.do(stores.db.task_states.upsert(task("a", output=0)))

    def count(row: TaskState) -> None:
        row.output = (row.output or 0) + 1

    outcomes = stores.together([lambda store: store.task_states.change("a", count)] * 24)
    assert not errors_in(outcomes)
    assert stores.do(stores.db.task_states.get("a")).output == 24
    assert sorted(row.output for row in outcomes) == list(range(1, 25))
