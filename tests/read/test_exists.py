"""Whether a row exists: one exchange, deadlines, a transaction's own writes, and rows that cannot be read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from keyweave.errors import CorruptDocumentError, ValidationError
from tests.harness import AT_ONCE, FLAVOURS, Harness, exchanges, harness, run, task


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, request.node.name, retention={"TaskState": AT_ONCE}) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        opened.do(opened.db.task_states.create(task("t")))
        yield opened


def test_it_is_one_exchange_of_the_head(stores: Harness) -> None:
    with exchanges(stores) as sent:
        assert stores.do(stores.db.task_states.exists("t")) is True
        assert stores.do(stores.db.task_states.exists("nobody")) is False
    assert [pipeline[0][0] for pipeline in sent] == ["GETRANGE", "GETRANGE"]


def test_a_row_past_its_deadline_does_not_exist(stores: Harness) -> None:
    stores.do(stores.db.task_states.change("t", lambda row: setattr(row, "status", Status.SUCCESS)))
    assert stores.do(stores.db.task_states.find("t")) is None
    assert stores.do(stores.db.task_states.exists("t")) is False


def test_a_transaction_sees_its_own_writes(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, list[bool]]:
        found = [(yield tx.task_states.exists("t")), (yield tx.task_states.exists("new"))]
        yield tx.task_states.create(task("new"))
        yield tx.task_states.delete("t")
        return [*found, (yield tx.task_states.exists("t")), (yield tx.task_states.exists("new"))]

    assert stores.transact(steps) == [True, False, False, True]


def test_what_cannot_be_read_is_an_error_as_for_get(stores: Harness) -> None:
    name = stores.db.session.context.partition(TASK_STATE).document("TaskState", "t")
    stores.send(("SET", name, "{}"))
    with pytest.raises(CorruptDocumentError):
        stores.do(stores.db.task_states.exists("t"))


@pytest.mark.parametrize("key", [1, None, "\ud800"])
def test_what_is_no_key_is_refused(stores: Harness, key: Any) -> None:
    with pytest.raises(ValidationError):
        stores.do(stores.db.task_states.exists(key))
