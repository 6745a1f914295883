"""A transaction's reads of its own writes, and the use of a transaction after its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import Status, TaskState, UsageEntry
from keyweave.errors import NotFoundError, TransactionRequiredError
from tests.harness import FLAVOURS, Harness, Steps, directed, harness, run, task

LONG = timedelta(days=1)


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """One store with the executions `w` and `x`, the older first."""
    with harness(request.param, request.node.name, retention={"TaskState": LONG}) as opened:
        for key in "wx":
            opened.do(opened.db.workflow_states.create(run(key)))
        yield opened


def pages(repository: Any, newest: bool) -> Steps:
    """Keys of all tasks, by pages of two."""

    def steps(_: Any) -> Any:
        keys: list[str] = []
        cursor = None
        for _ in range(10):
            page = yield directed(repository.all(), newest=newest).page(limit=2, cursor=cursor)
            keys += [row.task_exec_id for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                return keys
        raise AssertionError("the pages do not end")

    return steps


def test_pages_continue_through_buffered_rows(stores: Harness) -> None:
    for key in "ab":
        stores.do(stores.db.task_states.create(task(key)))

    def steps(tx: Any) -> Any:
        for key in "cdefg":
            yield tx.task_states.create(task(key))
        newest = yield from pages(tx.task_states, True)(tx)
        oldest = yield from pages(tx.task_states, False)(tx)
        return newest, oldest

    assert stores.transact(steps) == (list("gfedcba"), list("abcdefg"))
    assert [row.task_exec_id for row in stores.do(stores.db.task_states.all().page()).rows] == list("gfedcba")


def test_a_row_that_was_saved_in_the_transaction_is_the_latest_change(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        row = yield tx.workflow_states.get("w")
        row.output = 1
        yield tx.workflow_states.save(row)
        page = yield tx.workflow_states.all().page()
        return [each.workflow_exec_id for each in page.rows]

    assert stores.transact(steps) == ["w", "x"]
    assert [each.workflow_exec_id for each in stores.do(stores.db.workflow_states.all().page()).rows] == [
        "w",
        "x",
    ]


def test_a_row_that_is_deleted_and_recreated_inherits_nothing(stores: Harness) -> None:
    old: TaskState = stores.do(stores.db.task_states.create(task("a", status=Status.SUCCESS)))
    place = stores.db.session.context.keyspace.partition("execution")
    member = place.expiring("TaskState", "a")
    (deadline,) = stores.send(("ZSCORE", place.expiry, member))

    def steps(tx: Any) -> Any:
        yield tx.task_states.delete("a")
        return (yield tx.task_states.create(task("a", status=Status.SUCCESS)))

    new = stores.transact(steps)
    assert new.created_at > old.created_at
    assert stores.do(stores.db.task_states.get("a")) == new
    (renewed,) = stores.send(("ZSCORE", place.expiry, member))
    assert float(renewed) > float(deadline)
    assert stores.clean()


def test_members_of_a_newer_schema_survive_two_writes_in_one_transaction(stores: Harness) -> None:
    stores.do(stores.db.workflow_states.upsert(run(usage=[UsageEntry(provider="p", model="m")])))
    key = stores.db.session.context.keyspace.partition("execution").document("WorkflowState", "w")
    document = json.loads(stores.send(("GET", key))[0])
    document["usage"][0]["colour"] = "blue"
    stores.send(("SET", key, json.dumps(document, separators=(",", ":"))))

    def steps(tx: Any) -> Any:
        row = yield tx.workflow_states.get("w")
        for number in range(2):
            row.output = number
            yield tx.workflow_states.save(row)
        row = yield tx.workflow_states.get("w")
        row.output = 3
        yield tx.workflow_states.save(row)

    stores.transact(steps)
    stored = json.loads(stores.send(("GET", key))[0])
    assert (stored["output"], stored["usage"][0]["colour"]) == (3, "blue")


def test_a_transaction_that_has_ended_cannot_be_used(stores: Harness) -> None:
    kept: list[Any] = []

    def steps(tx: Any) -> Any:
        kept.append(tx)
        yield tx.task_states.create(task("a"))

    stores.transact(steps)
    calls: list[Callable[[Any], Any]] = [
        lambda tx: tx.task_states.create(task("lost")),
        lambda tx: tx.task_states.get("a"),
        lambda tx: tx.task_states.all().count(),
        lambda tx: tx.task_states.delete("a"),
    ]
    for call in calls:
        with pytest.raises(TransactionRequiredError):
            stores.do(call(kept[0]))
    assert stores.do(stores.db.task_states.all().count()) == 1


def test_a_transaction_that_failed_cannot_be_used(stores: Harness) -> None:
    kept: list[Any] = []

    def steps(tx: Any) -> Any:
        kept.append(tx)
        yield tx.task_states.get("nobody")

    with pytest.raises(NotFoundError):
        stores.transact(steps)
    with pytest.raises(TransactionRequiredError):
        stores.do(kept[0].task_states.create(task("lost")))
