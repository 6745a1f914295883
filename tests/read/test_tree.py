"""Trees: one script up to its bound, then level by level; both find the same."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from keyweave.read import tree as tree_flows
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, harness, run, task
from tests.scripted import declare_keys


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A random forest of tasks whose ids need escaping; FAILED ones are past their deadline."""
    chance = random.Random(23)
    with harness(request.param, request.node.name, retention={"TaskState": AT_ONCE}) as opened:
        opened.do(opened.db.workflow_states.create(run("w")))
        rows = [task("0:%")]
        for number in range(1, 80):
            status = Status.FAILED if chance.random() < 0.1 else Status.RUNNING
            rows.append(task(f"{number}:%", f"{chance.randrange(number)}:%"))
            rows[-1].status = status
        # A dead row takes no children, so rows end only when all are there.
        endings = [row.task_exec_id for row in rows if row.status is Status.FAILED]
        for row in rows:
            row.status = Status.RUNNING
        add_tasks(opened, rows)
        for key in endings:
            opened.do(opened.db.task_states.change(key, lambda row: setattr(row, "status", Status.FAILED)))
        yield opened


def tree(stores: Harness, root: str = "0:%", depth: int = 100) -> list[str]:
    return [row.task_exec_id for row in stores.do(stores.db.task_states.tree(root, max_depth=depth))]


@pytest.mark.parametrize("bound", [0, 1, 7, 40, 500])
def test_a_bound_changes_trips_and_never_the_tree(
    stores: Harness, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_flows, "BOUND", bound)
    partition = stores.db.session.context.partition(TASK_STATE)
    lost = ["9:%", "33:%"]
    for key in lost:
        stores.send(("DEL", partition.document("TaskState", key)))
    quick = [tree(stores, depth=depth) for depth in (0, 1, 2, 100)]
    alone = tree(stores, "5:%")
    declare_keys(stores.db.session.context)
    assert quick == [tree(stores, depth=depth) for depth in (0, 1, 2, 100)]
    assert alone == tree(stores, "5:%")
    assert quick[0] == ["0:%"]
    assert tree(stores, depth=10**400) == quick[3]
    assert len(quick[3]) > 30
    assert not set(lost) & set(quick[3])


def test_a_child_without_a_document_is_removed_from_its_parents_view(stores: Harness) -> None:
    partition = stores.db.session.context.partition(TASK_STATE)
    add_tasks(stores, [task("leaf", "0:%")])
    view = partition.view("TaskState", "by_parent", ("0:%",))
    stores.send(("DEL", partition.document("TaskState", "leaf")))
    assert stores.send(("ZSCORE", view, "leaf")) != [None]
    assert "leaf" not in tree(stores)
    assert stores.send(("ZSCORE", view, "leaf")) == [None]


def test_a_missing_or_dead_root_has_no_tree(stores: Harness) -> None:
    assert tree(stores, "nobody") == []
    stores.do(stores.db.task_states.change("0:%", lambda row: setattr(row, "status", Status.FAILED)))
    assert tree(stores) == []


def test_a_row_that_is_its_own_ancestor_appears_once(stores: Harness) -> None:
    add_tasks(stores, [task("a"), task("b", "a")])
    stores.do(stores.db.task_states.change("a", lambda row: setattr(row, "parent_state_id", "b")))
    assert tree(stores, "a") == ["a", "b"]
    assert tree(stores, "b") == ["b", "a"]
