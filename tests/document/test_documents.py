"""Values are read back unchanged: any bytes, null and empty, large numbers, and unknown members."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compozy_store import Component, Role, Status, TaskState, UsageEntry, User, WorkflowState
from compozy_store.sync import Store
from keyweave.effects import Flow, Send
from keyweave.errors import (
    CheckViolationError,
    ConfigurationError,
    CorruptDocumentError,
    NotLoadedError,
    ValidationError,
)
from keyweave.model.record import NOT_WRITTEN
from tests.servers.running import new_namespace, server_url

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open(server_url(), namespace=new_namespace("documents")) as opened:
        yield opened


def send(store: Store, *words: Any) -> Any:
    """One raw command."""

    def flow() -> Flow[Any]:
        (reply,) = yield Send((words,))
        return reply

    return store.session.run(flow())


def run(output: Any = None, **more: Any) -> WorkflowState:
    """An execution with an output."""
    return WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING, output=output, **more)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, text=st.text(min_size=1))
def test_any_json_and_any_text_are_read_back_unchanged(store: Store, value: Any, text: str) -> None:
    store.workflow_states.upsert(run(value, error={"text": text}))
    loaded = store.workflow_states.get("w")
    assert json.dumps(loaded.output) == json.dumps(value)
    assert loaded.error == {"text": text}


@pytest.mark.parametrize("value", [None, {}, [], "", 0, False, 2**70, -(2**70), {"a": [{}, [], None]}])
def test_null_empty_and_large_values_are_read_back_unchanged(store: Store, value: Any) -> None:
    store.workflow_states.upsert(run(value))
    loaded = store.workflow_states.get("w").output
    assert (type(loaded), loaded) == (type(value), value)


def test_ten_megabytes_of_any_characters_are_stored_and_found(store: Store) -> None:
    text = "{}:%\0\N{GRINNING FACE}" * 1_250_000
    store.workflow_states.upsert(run(text))
    assert store.workflow_states.get("w").output == text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1), email=st.text(min_size=1))
def test_any_text_is_a_key_and_a_unique_value(store: Store, key: str, email: str) -> None:
    user = store.users.upsert(User(id=key, email=email, role=Role.USER))
    try:
        assert store.users.get(key) == user
        assert store.users.get_by_email(email).id == key
        assert [row.id for row in store.users.by_role(Role.USER).page().rows] == [key]
    finally:
        store.users.delete(key)


def test_unknown_members_are_kept_by_a_read_a_change_and_a_write(store: Store) -> None:
    entry = UsageEntry(provider="p", model="m", prompt_tokens=1)
    other = UsageEntry(provider="q", model="m", prompt_tokens=2)
    store.workflow_states.upsert(run({"a": 1}, usage=[entry, other]))
    key = store.session.context.keyspace.partition("execution").document("WorkflowState", "w")
    document = json.loads(send(store, "GET", key))
    document["revision"] += 1  # as the newer schema's own write would have
    document["invented"] = {"deep": [1, {}, []]}
    document["usage"][0]["colour"] = "blue"
    document["usage"][1]["colour"] = "red"
    send(store, "SET", key, json.dumps(document, separators=(",", ":")))

    store.workflow_states.change("w", lambda row: setattr(row, "status", Status.SUCCESS))
    store.workflow_states.merge_usage("w", [UsageEntry(provider="q", model="m", prompt_tokens=5)])

    stored = json.loads(send(store, "GET", key))
    assert stored["invented"] == {"deep": [1, {}, []]}
    assert [(item["colour"], item["prompt_tokens"]) for item in stored["usage"]] == [("blue", 1), ("red", 7)]
    assert stored["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workflow_id": ""}, "workflow_id"),
        ({"workflow_id": 5}, "workflow_id"),
        ({"status": "DONE"}, "status"),
        ({"output": {1: 2}}, "output"),
        ({"output": (1, 2)}, "output"),
        ({"output": float("nan")}, "output"),
        ({"output": object()}, "output"),
        ({"error": "\ud800"}, "error"),
        ({"usage": [UsageEntry(provider=" ", model="m")]}, "usage[0].provider"),
        ({"usage": [UsageEntry(provider="p", model="m", prompt_tokens=-1)]}, "usage[0].prompt_tokens"),
        ({"usage": {}}, "usage"),
    ],
)
def test_an_invalid_value_is_refused_with_its_field_and_nothing_is_written(
    store: Store, change: dict[str, Any], field: str
) -> None:
    store.workflow_states.upsert(run("before"))
    record = run("after")
    for name, value in change.items():
        setattr(record, name, value)
    with pytest.raises(ValidationError) as caught:
        store.workflow_states.upsert(record)
    assert caught.value.field == field
    assert caught.value.rule
    assert store.workflow_states.get("w").output == "before"


def test_the_key_of_a_stored_row_cannot_change(store: Store) -> None:
    store.workflow_states.upsert(run("before"))
    other = WorkflowState(workflow_exec_id="other", workflow_id="f", status=Status.RUNNING)
    store.workflow_states.upsert(other)

    def rename(row: WorkflowState) -> None:
        row.workflow_exec_id = "other"

    loaded = store.workflow_states.get("w")
    rename(loaded)
    writes: list[Callable[[], Any]] = [
        lambda: store.workflow_states.change("w", rename),
        lambda: store.workflow_states.save(loaded),
        lambda: store.transact(lambda tx: tx.workflow_states.save(loaded)),
    ]
    for write in writes:
        with pytest.raises(ValidationError) as caught:
            write()
        assert (caught.value.field, caught.value.rule) == ("workflow_exec_id", "key")
    assert store.workflow_states.get("w").output == "before"
    assert store.workflow_states.get("other") == other


@pytest.mark.parametrize("answer", ["text", 0, object()])
def test_a_change_that_returns_something_else_is_refused(store: Store, answer: Any) -> None:
    def work(row: WorkflowState) -> Any:
        row.output = "after"
        return answer

    store.workflow_states.upsert(run("before"))
    with pytest.raises(ValidationError) as caught:
        store.workflow_states.change("w", work)
    assert caught.value.rule == "change"
    assert store.workflow_states.get("w").output == "before"


def test_an_asynchronous_function_is_refused(store: Store) -> None:
    async def work(_: Any) -> None: ...

    closure: Callable[[Any], Any] = work
    with pytest.raises(ConfigurationError):
        store.transact(closure)
    store.workflow_states.upsert(run("before"))
    with pytest.raises(ConfigurationError):
        store.workflow_states.change("w", work)


def test_no_error_contains_a_value(store: Store) -> None:
    secret = "hunter2' - at `$.x"
    with pytest.raises(ValidationError) as caught:
        store.workflow_states.upsert(WorkflowState(workflow_exec_id="w", workflow_id="f", status=secret))  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
    assert (caught.value.field, caught.value.rule) == ("status", "not one of the enum's values")
    store.workflow_states.upsert(run())
    key = store.session.context.keyspace.partition("execution").document("WorkflowState", "w")
    document = send(store, "GET", key)
    send(store, "SET", key, document.replace(b"RUNNING", b"hunter2"))
    with pytest.raises(CorruptDocumentError) as corrupt:
        store.workflow_states.get("w")
    assert "hunter2" not in str(corrupt.value)
    send(store, "SET", key, document)


def test_deep_nesting_is_refused_and_does_not_crash(store: Store) -> None:
    value: Any = None
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValidationError):
        store.workflow_states.upsert(run(value))


def test_a_violated_check_is_named(store: Store) -> None:
    task = TaskState(
        task_exec_id="t",
        task_id="t",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.AGENT,
        status=Status.PENDING,
        agent_id="a",
    )
    with pytest.raises(CheckViolationError) as caught:
        store.task_states.create(task)
    assert (caught.value.rule, caught.value.entity) == ("agent_needs_action", "TaskState")


def test_managed_values_are_set_by_the_store(store: Store) -> None:
    first = store.workflow_states.upsert(run(1))
    created = first.created_at
    first.created_at = NOT_WRITTEN
    first.output = 2
    store.workflow_states.save(first)
    assert first.created_at == created
    assert first.updated_at > created
    assert store.workflow_states.get("w") == first


def test_a_record_that_was_never_loaded_cannot_be_saved(store: Store) -> None:
    with pytest.raises(NotLoadedError):
        store.workflow_states.save(run())
