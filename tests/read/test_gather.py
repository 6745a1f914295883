"""Several whole lists at once, and the trees that are read with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import Component, Status, TaskState, WorkflowNotFoundError, WorkflowState
from compozy_store.sync import Store
from keyweave.effects import Flow, Send
from keyweave.errors import TransactionRequiredError
from keyweave.read import gather as gather_flows
from keyweave.read import tree as tree_flows
from keyweave.read.query import where_query
from tests.scripted import declare_keys
from tests.servers.running import new_namespace, server_url


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with Store.open(server_url(), namespace=new_namespace(request.node.name)) as opened:
        opened.workflow_states.create(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        )
        yield opened


def add(store: Any, key: str, parent: str | None = None) -> None:
    store.task_states.create(
        TaskState(
            task_exec_id=key,
            task_id="t",
            workflow_exec_id="w",
            workflow_id="f",
            component=Component.TASK,
            status=Status.RUNNING,
            parent_state_id=parent,
        )
    )


def keys(lists: list[list[TaskState]]) -> list[list[str]]:
    return [[row.task_exec_id for row in rows] for rows in lists]


def trips(store: Store, flow: Flow[Any]) -> tuple[Any, int]:
    """The result of a flow, and its number of exchanges."""
    count = 0

    def counted() -> Flow[Any]:
        nonlocal count
        effect = next(flow)
        while True:
            count += isinstance(effect, Send)
            try:
                reply = yield effect
                effect = flow.send(reply)
            except StopIteration as done:
                return done.value

    return store.session.run(counted()), count


def lists(place: Any, view: str, parents: list[str], *, newest: bool = True) -> list[list[Any]]:
    """The tasks of each of the parents, as the rows that refer to rows are read."""
    session = place._session if hasattr(place, "_session") else place.session
    values = [(parent,) for parent in parents]
    entity = session.context.package.entities["TaskState"]
    found: list[list[Any]] = session.run(
        gather_flows.gather(session.context, entity, view, values, newest=newest)
    )
    return found


def test_lists_are_complete_and_in_the_order_of_their_keys(store: Store) -> None:
    for number in range(gather_flows.CHUNK * 2 + 1):
        add(store, f"{number}")
    add(store, "child", "0")
    large = [f"{number}" for number in range(gather_flows.CHUNK * 2 + 1)]
    assert keys(lists(store, "by_workflow", ["w", "?"], newest=False)) == [[*large, "child"], []]
    assert keys(lists(store, "by_parent", ["1", "0", "0"])) == [[], ["child"], ["child"]]
    assert keys(lists(store, "by_workflow", ["w"])) == [["child", *reversed(large)]]
    assert lists(store, "by_parent", []) == []


def test_many_lists_take_few_round_trips(store: Store) -> None:
    parents = [f"p{number}" for number in range(3 * gather_flows.PIPELINE)]
    for parent in parents:
        add(store, parent)
        add(store, f"{parent}.c", parent)
    context, entity = store.session.context, store.session.context.package.entities["TaskState"]
    values = [(parent,) for parent in parents]
    found, count = trips(store, gather_flows.gather(context, entity, "by_parent", values, newest=True))
    assert keys(found) == [[f"{parent}.c"] for parent in parents]
    assert count == 3
    add(store, "root")
    for parent in parents[: gather_flows.PIPELINE]:
        store.task_states.change(parent, lambda row: setattr(row, "parent_state_id", "root"))
    assert len(store.task_states.tree("p0")) == 2  # the server knows the script from here on
    tree, count = trips(store, tree_flows.tree(context, entity, "root", "by_parent", max_depth=100))
    assert len(tree) == 1 + 2 * gather_flows.PIPELINE
    assert count == 1


def test_a_transaction_gathers_its_own_writes(store: Store) -> None:
    add(store, "p")
    add(store, "a", "p")

    def write(transaction: Any) -> None:
        add(transaction, "b", "p")
        transaction.task_states.discard("a")
        assert keys(lists(transaction, "by_parent", ["p", "?"])) == [["b"], []]
        assert [row.task_exec_id for row in transaction.task_states.tree("p")] == ["p", "b"]

    store.transact(write)


def test_without_undeclared_keys_each_list_is_read_on_its_own(store: Store) -> None:
    add(store, "p")
    add(store, "a", "p")
    declare_keys(store.session.context)
    assert keys(lists(store, "by_parent", ["p", "?"])) == [["a"], []]


def test_dangling_entries_are_left_out_and_healed(store: Store) -> None:
    add(store, "p")
    add(store, "a", "p")
    add(store, "b", "p")
    entity = store.session.context.package.entities["TaskState"]
    document = store.session.context.partition(entity).document("TaskState", "a")

    def remove() -> Flow[Any]:
        return (yield Send((("DEL", document),)))

    store.session.run(remove())
    healed = store.stats.healed
    assert keys(lists(store, "by_parent", ["p"])) == [["b"]]
    assert store.stats.healed == healed + 1


def together(store: Any, key: str = "w", **more: Any) -> list[str]:
    """Ids of the tasks that are read with an execution; each must belong to it."""
    row, tasks = store.workflow_states.get_with_task_states(key, **more)
    assert row == store.workflow_states.get(key)
    assert {task.workflow_exec_id for task in tasks} <= {key}
    return [task.task_exec_id for task in tasks]


def test_a_row_is_read_with_all_referring_rows(store: Store) -> None:
    assert together(store) == []
    expected = [f"{number}" for number in range(gather_flows.CHUNK + 2)]
    for key in expected:
        add(store, key)
    assert together(store) == expected[::-1]
    declare_keys(store.session.context)
    assert together(store) == expected[::-1]


def test_a_row_with_its_referring_rows_is_one_round_trip(store: Store) -> None:
    add(store, "a")
    together(store)
    context, entity = store.session.context, store.session.context.package.entities["WorkflowState"]
    flow = gather_flows.get_with(context, entity, "w", "TaskState", "workflow_exec_id")
    (_, tasks), count = trips(store, flow)
    assert (keys([tasks]), count) == ([["a"]], 1)


@pytest.mark.parametrize("declared_only", [False, True])
def test_a_missing_row_has_no_referring_rows(store: Store, declared_only: bool) -> None:
    declare_keys(store.session.context, declared_only)
    with pytest.raises(WorkflowNotFoundError):
        store.workflow_states.get_with_task_states("nobody")


def test_a_transaction_reads_a_row_with_its_own_writes(store: Store) -> None:
    add(store, "a")

    def write(transaction: Any) -> None:
        add(transaction, "b")
        transaction.task_states.discard("a")
        assert together(transaction) == ["b"]
        transaction.workflow_states.create(
            WorkflowState(workflow_exec_id="new", workflow_id="f", status=Status.RUNNING)
        )
        assert together(transaction, "new") == []

    store.transact(write)


def leading(store: Any, task_id: str | None = None) -> list[str]:
    """Ids of the newest execution of the workflow `f`, which has such a task, and of its tasks."""
    rows = store.workflow_states.where(workflow_id="f")
    if task_id is not None:
        rows = rows.having(store.task_states.where(task_id=task_id))
    row, tasks = store.workflow_states.with_task_states(rows).first()
    assert row == store.workflow_states.where(workflow_id="f").first()
    return [row.workflow_exec_id, *(task.task_exec_id for task in tasks)]


@pytest.mark.parametrize("declared_only", [False, True])
def test_the_first_row_is_read_with_all_referring_rows(store: Store, declared_only: bool) -> None:
    declare_keys(store.session.context, declared_only)
    expected = [f"{number}" for number in range(gather_flows.CHUNK + 2)]
    for key in expected:
        add(store, key)
    assert leading(store) == ["w", *expected[::-1]]
    assert leading(store, "t") == ["w", *expected[::-1]]
    store.workflow_states.create(
        WorkflowState(workflow_exec_id="50%:w", workflow_id="f", status=Status.RUNNING)
    )
    assert leading(store) == ["50%:w"]
    store.task_states.change("0", lambda row: setattr(row, "workflow_exec_id", "50%:w"))
    assert leading(store) == ["50%:w", "0"]
    unknown = store.workflow_states.where(workflow_id="unknown")
    assert store.workflow_states.with_task_states(unknown).first() is None


def test_the_first_row_with_its_referring_rows_is_one_round_trip(store: Store) -> None:
    add(store, "a")
    leading(store)
    context, entity = store.session.context, store.session.context.package.entities["WorkflowState"]
    query = where_query(entity, {"workflow_id": "f"})
    flow = gather_flows.first_with(context, query, "TaskState", "workflow_exec_id")
    (_, tasks), count = trips(store, flow)
    assert (keys([tasks]), count) == ([["a"]], 1)


def test_a_transaction_reads_the_first_row_with_its_own_writes(store: Store) -> None:
    add(store, "a")

    def write(transaction: Any) -> None:
        add(transaction, "b")
        transaction.task_states.discard("a")
        assert leading(transaction) == ["w", "b"]
        transaction.workflow_states.create(
            WorkflowState(workflow_exec_id="new", workflow_id="f", status=Status.RUNNING)
        )
        assert leading(transaction) == ["new"]

    store.transact(write)


def test_members_without_a_document_before_the_first_row_are_skipped_and_healed(store: Store) -> None:
    add(store, "a")
    for number in range(12):
        store.workflow_states.create(
            WorkflowState(workflow_exec_id=f"gone{number}", workflow_id="f", status=Status.RUNNING)
        )
    partition = store.session.context.keyspace.partition("execution")
    gone = [partition.document("WorkflowState", f"gone{number}") for number in range(12)]

    def remove() -> Flow[Any]:
        return (yield Send((("DEL", *gone),)))

    store.session.run(remove())
    assert leading(store) == ["w", "a"]
    assert store.stats.healed == 12


def test_a_transaction_locks_a_row_and_reads_its_referring_rows_with_its_own_writes(store: Store) -> None:
    expected = [f"{number}" for number in range(gather_flows.CHUNK + 2)]
    for key in expected:
        add(store, key)

    def write(transaction: Any) -> None:
        assert together(transaction, for_update=True) == expected[::-1]
        add(transaction, "new")
        assert together(transaction, for_update=True) == ["new", *expected[::-1]]
        row, _ = transaction.workflow_states.get_with_task_states("w", for_update=True)
        row.status = Status.SUCCESS
        transaction.workflow_states.save(row)
        with pytest.raises(WorkflowNotFoundError):
            transaction.workflow_states.get_with_task_states("nobody", for_update=True)

    store.transact(write)
    assert store.workflow_states.get("w").status is Status.SUCCESS
    with pytest.raises(TransactionRequiredError):
        store.workflow_states.get_with_task_states("w", for_update=True)


def test_rows_read_with_a_lock_include_the_transactions_own_writes(store: Store) -> None:
    add(store, "a")

    def write(transaction: Any) -> None:
        transaction.task_states.discard("a")
        add(transaction, "b")
        assert together(transaction, for_update=True) == ["b"]

    store.transact(write)
    assert together(store) == ["b"]


def test_the_list_of_one_row_by_its_key_with_its_referring_rows_is_one_round_trip(store: Store) -> None:
    add(store, "a")
    entity = store.session.context.package.entities["WorkflowState"]
    for status, expected in ((Status.RUNNING, ["a"]), (Status.PAUSED, None)):
        query = where_query(entity, {"workflow_exec_id": "w", "status": status})
        flow = gather_flows.list_with(store.session.context, query, "TaskState", "workflow_exec_id")
        pairs, count = trips(store, flow)
        assert [[task.task_exec_id for task in tasks] for _, tasks in pairs] == (
            [expected] if expected else []
        )
        assert count == 1
