"""Errors about the record or the row that the caller gave name its key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import APIKey, TaskState
from keyweave.errors import CheckViolationError, CorruptDocumentError, ValidationError
from tests.harness import FLAVOURS, Harness, harness, run, task


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"named-{request.param}") as opened:
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


def changed(key: str, field: str, value: Any) -> TaskState:
    row = task(key)
    setattr(row, field, value)
    return row


def damage(stores: Harness, key: str) -> None:
    place = stores.db.session.context.keyspace.partition("execution").document("TaskState", key)
    stores.send(("SET", place, "damaged"))


def test_a_refused_value(stores: Harness) -> None:
    with pytest.raises(ValidationError, match=r"^TaskState 't1'\.component: ") as caught:
        stores.do(stores.db.task_states.create(changed("t1", "component", "nothing")))
    assert (caught.value.key, caught.value.field) == ("t1", "component")


def test_a_check_that_does_not_hold(stores: Harness) -> None:
    with pytest.raises(CheckViolationError, match=r"^TaskState 't2': check agent_needs_action") as caught:
        stores.do(stores.db.task_states.upsert(changed("t2", "agent_id", "a")))
    assert caught.value.key == "t2"


def test_a_secret_value_stays_secret(stores: Harness) -> None:
    key = APIKey(id="k1", user_id="u", hash="the secret", fingerprint=b"f", prefix="p")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"^APIKey 'k1'\.hash: ") as caught:
        stores.do(stores.db.api_keys.create(key))
    assert "the secret" not in str(caught.value)


@pytest.mark.parametrize("key", [None, 5, ""])
def test_a_key_that_is_no_text_is_not_named(stores: Harness, key: Any) -> None:
    with pytest.raises(ValidationError, match=r"^TaskState\.task_exec_id: ") as caught:
        stores.do(stores.db.task_states.create(task(key)))
    assert caught.value.key == ""


@pytest.mark.parametrize(
    "read",
    [
        lambda rows: rows.get("t3"),
        lambda rows: rows.find("t3"),
        lambda rows: rows.get_many(["t4", "t3"]),
        lambda rows: rows.change("t3", lambda _: None),
        lambda rows: rows.get_with_task_states("t3"),
    ],
)
def test_an_unreadable_row(stores: Harness, read: Any) -> None:
    stores.do(stores.db.task_states.create(task("t4")))
    damage(stores, "t3")
    with pytest.raises(CorruptDocumentError, match=r"^TaskState 't3': a stored document") as caught:
        stores.do(read(stores.db.task_states))
    assert caught.value.key == "t3"


def test_an_unreadable_row_that_is_locked(stores: Harness) -> None:
    damage(stores, "t3")

    def steps(tx: Any) -> Iterator[Any]:
        yield tx.task_states.get_for_update("t3")

    with pytest.raises(CorruptDocumentError, match=r"^TaskState 't3': "):
        stores.transact(steps)  # type: ignore[arg-type]
