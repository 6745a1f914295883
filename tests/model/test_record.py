"""Records: they have their fields and no others, and they encode as they are, not as they are stored."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from compozy_store import Component, Role, Status, TaskState, UsageEntry, User
from compozy_store.entities import TASK_STATE
from keyweave.document.codec import Codec
from keyweave.model.record import Stored, memory_of, remember

CODEC = Codec(TASK_STATE)


def task(**more: Any) -> TaskState:
    return TaskState(
        task_exec_id="t",
        task_id="t",
        workflow_exec_id="w",
        workflow_id="W",
        component=Component.TASK,
        status=Status.RUNNING,
        **more,
    )


@pytest.mark.parametrize(
    "record", [User(id="u", email="e", role=Role.USER), task(), UsageEntry(provider="p", model="m")]
)
def test_a_record_has_its_fields_and_no_others(record: Any) -> None:
    assert not hasattr(record, "__dict__")
    with pytest.raises(AttributeError, match="emial"):
        record.emial = "x"


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, msgspec.structs.replace, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_copy_remembers_nothing_and_is_equal(copied: Any) -> None:
    record = task(output={"a": [1]})
    remember(record, Stored(1, 1, 0))
    other = copied(record)
    assert (other, memory_of(other)) == (record, None)
    assert memory_of(record) is not None


def test_the_json_of_a_record_has_every_field() -> None:
    record = task(usage=[UsageEntry(provider="p", model="m")])
    encoded = msgspec.json.decode(msgspec.json.encode(record))
    assert list(encoded) == list(TaskState.__struct_fields__)
    assert (encoded["execution_type"], encoded["agent_id"]) == ("basic", None)
    assert list(encoded["usage"][0]) == list(UsageEntry.__struct_fields__)
    assert list(msgspec.to_builtins(record)) == list(TaskState.__struct_fields__)


def test_a_stored_document_leaves_defaults_out() -> None:
    entries = [UsageEntry(provider="p", model="m", prompt_tokens=3), UsageEntry(provider="q", model="m")]
    prepared = CODEC.prepare(task(usage=entries), None)
    stored = msgspec.json.decode(b"{" + prepared.body[1:])
    assert list(stored) == [
        "task_exec_id",
        "task_id",
        "workflow_exec_id",
        "workflow_id",
        "component",
        "status",
        "usage",
    ]
    assert stored["usage"] == [
        {"provider": "p", "model": "m", "prompt_tokens": 3, "total_tokens": 3},
        {"provider": "q", "model": "m"},
    ]
    assert [type(each) for each in entries] == [UsageEntry, UsageEntry]
    assert [type(each) for each in prepared.snapshot.usage] == [UsageEntry, UsageEntry]
