"""Stored documents become records one by one or many at once, with the same result and the same errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compozy_store import TaskState
from compozy_store.entities import TASK_STATE
from keyweave.document import Codec
from keyweave.errors import CorruptDocumentError
from keyweave.record import memory_of

CODEC = Codec(TASK_STATE)
MOMENTS = st.integers(1_400_000_000_000_000, 9_000_000_000_000_000)
BODY = (
    '"task_exec_id":"t","task_id":"t","workflow_exec_id":"w","workflow_id":"W",'
    '"component":"task","status":"RUNNING"}'
)


def document(revision: int, created: int, expires: int) -> bytes:
    head = f'{{"revision":{revision},"created":{created},"expires":{expires},"op":"x",'
    return (head + BODY).encode()


@given(st.lists(st.tuples(MOMENTS, MOMENTS, st.just(0) | MOMENTS)))
def test_many_at_once_are_what_each_is(heads: list[tuple[int, int, int]]) -> None:
    documents = [document(*head) for head in heads]
    records: list[TaskState] = CODEC.load_all(documents)
    assert records == [CODEC.load(each) for each in documents]
    assert [memory_of(record) for record in records] == [memory_of(CODEC.load(each)) for each in documents]


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "no head"),
        (b"{}", "no head"),
        (b'{"revision":1', "no head"),
        (document(1_700_000_000_000_000, 1_700_000_000_000_000, 0)[:-1], "cannot be read"),
        (document(1_700_000_000_000_000, 1_700_000_000_000_000, 0).replace(b"RUNNING", b"WALKING"), "status"),
        (document(1_700_000_000_000_000, 1_700_000_000_000_000, 12), "damaged head"),
        (b"\xff" * 100, "no head"),
    ],
)
@pytest.mark.parametrize("beside", [0, 3])
def test_a_damaged_document_is_told_among_healthy_ones(damaged: bytes, message: str, beside: int) -> None:
    healthy = [document(1_700_000_000_000_000, 1_700_000_000_000_000, 0)] * beside
    with pytest.raises(CorruptDocumentError, match=message) as caught:
        CODEC.load_all([*healthy, damaged, *healthy])
    assert caught.value.entity == "TaskState"
