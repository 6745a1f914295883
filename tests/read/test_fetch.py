"""Fetching whole lists and searches, in both flavours: over several pages, during writes, and in transactions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import Component, Status, aio, sync
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from keyweave.effects import Command, Flow
from keyweave.errors import ValidationError
from keyweave.read import fetch as fetch_flows
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, harness, run, task, watched


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    """A store with the execution `w`, whose pages have two rows."""
    monkeypatch.setattr(fetch_flows, "PAGE_SIZE", 2)
    with harness(request.param, "fetching", retention={"TaskState": AT_ONCE}) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


@pytest.fixture
def other(stores: Harness) -> Iterator[Any]:
    """Another blocking store on the same rows."""
    with harness("sync", stores, retention={"TaskState": AT_ONCE}) as opened:
        yield opened.db


def names(rows: Any) -> str:
    return "".join(getattr(row, "task_exec_id", None) or row.workflow_exec_id for row in rows)


def add(stores: Harness, keys: str) -> None:
    for key in keys:
        stores.do(stores.db.task_states.create(task(key)))


def between(stores: Harness, flow: Flow[list[Any]], *actions: Callable[[], Any]) -> str:
    """The rows of a fetch while another client acts before its second page, its third and so on."""
    waiting = [lambda: None, *actions]

    def before(number: int, commands: tuple[Command, ...]) -> None:
        if waiting:
            waiting.pop(0)()

    rows = stores.do(stores.db.session.run(watched(stores, flow, before)))
    assert not waiting, "there were fewer pages than actions"
    return names(rows)


def tasks(stores: Harness, *, newest: bool = False) -> Flow[list[Any]]:
    return fetch_flows.fetch(stores.db.session.context, TASK_STATE, "by_workflow", ("w",), newest=newest)


def changed(other: Any, key: str) -> Callable[[], Any]:
    return lambda: other.workflow_states.change(key, lambda row: setattr(row, "output", 1))


def test_a_fetch_without_rows_is_an_empty_list(stores: Harness) -> None:
    repository = stores.db.task_states
    assert stores.do(repository.fetch_all()) == stores.do(repository.fetch_by_workflow("nobody")) == []
    assert stores.do(repository.fetch()) == stores.do(repository.fetch(status=Status.SUCCESS)) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_fetch_includes_every_page(stores: Harness, count: int) -> None:
    keys = "abcdefg"[:count]
    add(stores, keys)
    repository = stores.db.task_states
    for newest, expected in ((True, keys[::-1]), (False, keys)):
        found = stores.do(repository.fetch_by_workflow("w", newest=newest))
        assert names(found) == expected
        assert found == stores.do(repository.fetch_all(newest=newest))
        assert found == stores.do(repository.fetch(workflow_id="f", status=Status.RUNNING, newest=newest))
        assert found == stores.do(repository.fetch(task_id="t", newest=newest)), "compared on documents"
        assert found == stores.do(repository.iterate_by_workflow("w", newest=newest))


def test_a_fetch_by_several_filters_reads_to_the_end(stores: Harness) -> None:
    for number, key in enumerate("abcdefg"):
        row = task(key, name="other" if number % 3 else "t", tool_id="x" if number % 2 else "y")
        row.component = Component.TOOL
        stores.do(stores.db.task_states.create(row))
    assert names(stores.do(stores.db.task_states.fetch(status=Status.RUNNING, task_id="t"))) == "gda"
    assert names(stores.do(stores.db.task_states.fetch(tool_id="x", task_id="other"))) == "fb"
    assert names(stores.do(stores.db.task_states.fetch(task_exec_id="c", status=Status.RUNNING))) == "c"
    found = stores.do(stores.db.workflow_states.fetch(having_task_state={"task_id": "other"}))
    assert names(found) == "w"


def test_a_fetch_takes_one_round_trip_per_page_and_none_to_detect_the_end(stores: Harness) -> None:
    add(stores, "abcd")
    trips: list[int] = []
    flow = watched(stores, tasks(stores), lambda number, _: trips.append(number))
    assert names(stores.do(stores.db.session.run(flow))) == "abcd"
    assert trips == [1, 2]


def test_a_fetch_in_an_order_without_a_view_is_refused(stores: Harness) -> None:
    with pytest.raises(ValidationError):
        stores.do(stores.db.task_states.fetch(order="revision"))


def test_rows_that_expire_between_two_pages_are_left_out(stores: Harness, other: Any) -> None:
    add(stores, "abcdefg")

    def end() -> None:
        for key in "bdg":
            other.task_states.change(key, lambda row: setattr(row, "status", Status.SUCCESS))

    assert between(stores, tasks(stores), end) == "abcef", "b was read before it ended"
    assert names(stores.do(stores.db.task_states.fetch_by_workflow("w", newest=False))) == "acef"


def test_concurrent_writes_and_deletes_do_not_affect_other_rows(stores: Harness, other: Any) -> None:
    add(stores, "abcdef")
    actions = (lambda: other.task_states.delete("d"), lambda: other.task_states.create(task("g")))
    assert between(stores, tasks(stores), *actions) == "abcefg"
    flow = tasks(stores, newest=True)
    assert between(stores, flow, lambda: other.task_states.create(task("h"))) == "gfecba"


def test_a_row_that_moves_during_a_fetch_is_returned_once_at_its_last_position(
    stores: Harness, other: Any
) -> None:
    """Ordered by the latest change, oldest first: a row that changes meanwhile is read again in its new state."""
    for key in "xyz":
        stores.do(stores.db.workflow_states.create(run(key)))
    context = stores.db.session.context
    view = next(each for each in WORKFLOW_STATE.views.values() if each.order == "revision")
    values = tuple({"workflow_id": "f", "status": "RUNNING"}[field] for field in view.fields)
    flow = fetch_flows.fetch(context, WORKFLOW_STATE, view.name, values, newest=False)
    assert between(stores, flow, changed(other, "w")) == "xyzw"
    flow = fetch_flows.fetch_matching(
        context, WORKFLOW_STATE, {"workflow_id": "f"}, order="revision", newest=False
    )
    moved: list[Any] = []

    def keep(rows: Flow[list[Any]]) -> Flow[list[Any]]:
        moved.extend((yield from rows))
        return moved

    assert between(stores, keep(flow), changed(other, "x")) == "yzwx"
    assert moved[-1].output == 1, "as it was met last"


def test_a_row_that_is_deleted_and_recreated_is_returned_once(stores: Harness, other: Any) -> None:
    add(stores, "abcd")

    def again() -> None:
        other.task_states.delete("a")
        other.task_states.create(task("a", name="second"))

    assert between(stores, tasks(stores), again) == "bcda"


def test_a_transaction_sees_its_own_writes_on_every_page(stores: Harness) -> None:
    add_tasks(stores, [task("a")])
    add(stores, "bcd")

    def steps(tx: Any) -> Any:
        for key in "efg":
            yield tx.task_states.create(task(key))
        yield tx.task_states.delete("b")
        row = yield tx.task_states.get("d")
        row.status = Status.WAITING
        yield tx.task_states.save(row)
        lists = []
        for call in (
            tx.task_states.fetch_by_workflow("w", newest=False),
            tx.task_states.fetch_all(),
            tx.task_states.fetch(status=Status.RUNNING, task_id="t", newest=False),
            tx.task_states.fetch_by_status(Status.WAITING),
        ):
            lists.append(names((yield call)))
        return lists

    expected = ["acdefg", "gfedca", "acefg", "d"]
    assert stores.transact(steps) == expected
    rows = stores.db.task_states
    assert names(stores.do(rows.fetch_by_workflow("w", newest=False))) == "acdefg"
    assert names(stores.do(rows.fetch_by_status(Status.WAITING))) == "d"


@pytest.mark.parametrize("module", [sync, aio])
def test_each_list_and_search_can_be_fetched_with_the_same_arguments(module: Any) -> None:
    for name, repository in vars(module).items():
        if name.endswith("Repository"):
            listed = [each for each in vars(repository) if each.startswith("list_")]
            for method in (*listed, "search"):
                fetch = "fetch" if method == "search" else f"fetch_{method.removeprefix('list_')}"
                asked = inspect.signature(getattr(repository, method)).parameters
                given = inspect.signature(getattr(repository, fetch)).parameters
                assert list(given) == [word for word in asked if word not in ("limit", "cursor")]
