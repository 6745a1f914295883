"""Stored documents become records one by one or many at once, with the same result and the same errors."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compozy_store import TaskState
from compozy_store.entities import TASK_STATE
from keyweave.document.codec import Codec
from keyweave.errors import CorruptDocumentError, ValidationError
from keyweave.model.record import memory_of

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
def test_a_damaged_document_is_reported_among_healthy_ones(damaged: bytes, message: str, beside: int) -> None:
    healthy = [document(1_700_000_000_000_000, 1_700_000_000_000_000, 0)] * beside
    with pytest.raises(CorruptDocumentError, match=message) as caught:
        CODEC.load_all([*healthy, damaged, *healthy])
    assert caught.value.entity == "TaskState"


class Number(IntEnum):
    ONE = 1


LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
STRANGE = st.sampled_from([Number.ONE, Decimal(1), (), (1,), {1: 1}, {"1": 1}, b"", float("nan"), 1 << 70])
VALUES = st.recursive(
    LEAVES | STRANGE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
)


def reported(output: Any, stored: Any) -> Any:
    """The stored document and the record of a task with this output, or the reason of the refusal."""
    record = CODEC.load(document(1_700_000_000_000_000, 1_700_000_000_000_000, 0))
    record.output, record.input = output, {"output": 1}
    try:
        prepared = CODEC.prepare(record, stored)
    except ValidationError as error:
        return str(error)
    snapshot = prepared.snapshot
    return prepared.body, prepared.own, msgspec.json.encode(snapshot), repr(snapshot.output)


@given(VALUES, VALUES)
@example([1], [True])
@example([1], [1.0])
@example([1], (1,))
@example([1], [Decimal(1)])
@example(["1"], [Decimal(1)])
@example([1], [Number.ONE])
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
@pytest.mark.parametrize("length", [10, 40_000])
def test_what_the_store_holds_already_changes_nothing_about_what_can_be_stored(
    length: int, before: Any, after: Any
) -> None:
    pad = "x" * length
    first = CODEC.load(document(1_700_000_000_000_000, 1_700_000_000_000_000, 0))
    first.output, first.input = {"pad": pad, "value": before}, {"output": 1}
    try:
        prepared = CODEC.prepare(first, None)
    except ValidationError:
        return
    stored = CODEC.memory(prepared, 1_700_000_000_000_001, 1_700_000_000_000_000, 0)
    for value in (after, before):
        output = {"pad": pad, "value": value}
        assert reported(output, stored) == reported(output, None)
