"""One document that cannot be read is left out of lists and searches, counted, and can be deleted by its key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import APIKey
from compozy_store.entities import TASK_STATE
from compozy_store.errors import TaskNotFoundError
from keyweave.errors import CorruptDocumentError, ReferenceViolationError
from keyweave.read import gather as gather_flows
from tests.harness import FLAVOURS, Harness, harness, in_batches, run, task, user

DEEP = b"[" * 20_000 + b"]" * 20_000
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "deep": lambda document: document[:-1] + b',"output":' + DEEP + b"}",
    "value": lambda document: document.replace(b'"RUNNING"', b'"WALKING"'),
    "no head": lambda document: b'{"task_exec_id":"bad"}',
}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["value", "deep"])
def stores(request: pytest.FixtureRequest, flavour: str) -> Iterator[Harness]:
    """An execution with the tasks `root`, `bad` (unreadable) and `good`, both below the root."""
    with harness(flavour, f"unreadable-{flavour}") as opened:
        fill(opened, request.param)
        yield opened


def fill(stores: Harness, damage: str) -> None:
    stores.do(stores.db.workflow_states.create(run("w")))
    for row in (task("root"), task("bad", "root"), task("good", "root"), task("below", "bad")):
        stores.do(stores.db.task_states.create(row))
    name = place(stores)
    (document,) = stores.send(("GET", name))
    stores.send(("SET", name, DAMAGES[damage](document)))


def place(stores: Harness) -> str:
    return str(stores.db.session.context.keyspace.partition("execution").document("TaskState", "bad"))


def keys(rows: Any) -> list[str]:
    return sorted(row.task_exec_id for row in rows)


READS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "list": (lambda db: db.task_states.by_workflow("w").page(), ["below", "good", "root"]),
    "list of one": (lambda db: db.task_states.by_workflow("w").page(limit=1), ["below"]),
    "iterate": (lambda db: in_batches(db.task_states.by_workflow("w"), 1), ["below", "good", "root"]),
    "fetch": (lambda db: db.task_states.by_parent("root").list(), ["good"]),
    "search": (
        lambda db: db.task_states.where(workflow_exec_id="w", task_id="t").page(),
        ["below", "good", "root"],
    ),
    "search by one": (lambda db: db.task_states.where(parent_state_id="root").page(), ["good"]),
    "fetch of a search": (lambda db: db.task_states.where(parent_state_id=None).scan().list(), ["root"]),
    "tree": (lambda db: db.task_states.tree("root"), ["below", "good", "root"]),
}


@pytest.mark.parametrize("read", READS)
def test_it_is_left_out_of_every_list(stores: Harness, read: str) -> None:
    call, expected = READS[read]
    found = stores.do(call(stores.db))
    assert keys(getattr(found, "rows", found)) == expected


def test_pages_go_on_behind_it(stores: Harness) -> None:
    found, cursor = [], None
    for _ in range(9):
        page = stores.do(stores.db.task_states.by_workflow("w").page(limit=1, cursor=cursor))
        found += keys(page.rows)
        cursor = page.cursor
        if cursor is None:
            break
    assert (found, cursor) == (["below", "good", "root"], None)


def test_lists_of_families_leave_it_out(stores: Harness) -> None:
    parents = [("root",), ("bad",)]
    context = stores.db.session.context
    gathered = gather_flows.gather(context, TASK_STATE, "by_parent", parents, newest=True)
    lists = stores.do(stores.db.session.run(gathered))
    assert [keys(rows) for rows in lists] == [["good"], ["below"]]
    row, rows = stores.do(stores.db.task_states.get_with_task_states("root"))
    assert (row.task_exec_id, keys(rows)) == ("root", ["good"])
    row, rows = stores.do(
        stores.db.workflow_states.with_task_states(stores.db.workflow_states.where(workflow_id="f")).first()
    )
    assert keys(rows) == ["below", "good", "root"]
    found = stores.do(
        stores.db.workflow_states.where().having(stores.db.task_states.where(parent_state_id="root")).page()
    )
    assert [row.workflow_exec_id for row in found.rows] == ["w"]
    having = {"parent_state_id": "root", "task_id": "t", "workflow_id": "f"}
    assert (
        len(
            stores.do(
                stores.db.workflow_states.where().having(stores.db.task_states.where(**having)).page()
            ).rows
        )
        == 1
    )


def test_it_is_reported(stores: Harness, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "keyweave"):
        for _ in range(4):
            stores.do(stores.db.task_states.by_workflow("w").page())
    assert stores.db.stats.unreadable == 4
    assert len(caplog.messages) == 3
    assert all("TaskState" in text and "keyweave check" in text for text in caplog.messages)
    assert "bad" not in "".join(caplog.messages)
    report = stores.do(stores.db.check())
    assert [(group.where, number) for group, number in report.drift.items()] == [("TaskState", 1)]


def test_a_read_by_its_key_raises(stores: Harness) -> None:
    tasks = stores.db.task_states
    calls: list[Callable[[], Any]] = [
        lambda: tasks.get("bad"),
        lambda: tasks.find("bad"),
        lambda: tasks.get_many(["good", "bad"]),
    ]
    for call in calls:
        with pytest.raises(CorruptDocumentError):
            stores.do(call())
    assert keys(stores.do(tasks.get_many(["good", "root"]))) == ["good", "root"]


def test_a_list_in_a_transaction_raises(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        return (yield tx.task_states.by_parent("root").list())

    with pytest.raises(CorruptDocumentError):
        stores.transact(steps)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("method", ["delete", "discard"])
def test_it_is_deleted_by_its_key_with_its_entries_and_its_family(
    flavour: str, damage: str, method: str
) -> None:
    with harness(flavour, f"deleted-{flavour}") as stores:
        fill(stores, damage)
        answer = stores.do(getattr(stores.db.task_states, method)("bad"))
        assert answer is (True if method == "discard" else None)
        assert keys(stores.do(stores.db.task_states.all().list())) == ["good", "root"]
        assert not any("bad" in name.rpartition("}")[2] for name in stores.contents())
        report = stores.do(stores.db.check())
        assert report.clean, report.drift
        with pytest.raises(TaskNotFoundError):
            stores.do(stores.db.task_states.delete("bad"))
        stores.do(stores.db.task_states.create(task("bad", "root")))


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_to_which_no_row_can_refer_is_deleted_by_its_key(flavour: str, damage: str) -> None:
    with harness(flavour, f"key-{flavour}") as stores:
        stores.do(stores.db.users.create(user("u")))
        before = stores.contents()
        key = APIKey(id="bad", user_id="u", hash=b"h", fingerprint=b"f", prefix="p")
        stores.do(stores.db.api_keys.create(key))
        name = stores.db.session.context.keyspace.partition("auth").document("APIKey", "bad")
        (document,) = stores.send(("GET", name))
        stores.send(("SET", name, DAMAGES[damage](document)))
        stores.do(stores.db.api_keys.delete("bad"))
        assert stores.contents().keys() == before.keys()
        assert stores.clean()


def test_an_unreadable_row_keeps_its_place(stores: Harness) -> None:
    """It is there, so nothing is created in its place, and no view that it is in counts as empty."""
    with pytest.raises(Exception, match="exists"):
        stores.do(stores.db.task_states.create(task("bad")))
    with pytest.raises((CorruptDocumentError, ReferenceViolationError)):
        stores.do(stores.db.task_states.delete("root"))
    stores.do(stores.db.task_states.delete("good"))
    with pytest.raises(CorruptDocumentError):
        stores.do(stores.db.task_states.create(task("new", "root"), if_none="by_parent"))
