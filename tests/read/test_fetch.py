"""Fetching whole lists and searches, in both flavours: over several pages, during writes, and in transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import Component, Status
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from keyweave.effects import Command, Flow
from keyweave.errors import ValidationError
from keyweave.read import answers
from keyweave.read.query import view_query, where_query
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, directed, harness, run, task, watched


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    """A store with the execution `w`, whose pages have two rows."""
    monkeypatch.setattr(answers, "PAGE_SIZE", 2)
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
    query = view_query(TASK_STATE, "by_workflow", ("w",))
    return answers.list_rows(stores.db.session.context, query if newest else query.reversed())


def changed(other: Any, key: str) -> Callable[[], Any]:
    return lambda: other.workflow_states.change(key, lambda row: setattr(row, "output", 1))


def test_a_fetch_without_rows_is_an_empty_list(stores: Harness) -> None:
    repository = stores.db.task_states
    assert stores.do(repository.all().list()) == stores.do(repository.by_workflow("nobody").list()) == []
    assert (
        stores.do(repository.where().scan().list())
        == stores.do(repository.where(status=Status.SUCCESS).list())
        == []
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_fetch_includes_every_page(stores: Harness, count: int) -> None:
    keys = "abcdefg"[:count]
    add(stores, keys)
    repository = stores.db.task_states
    for newest, expected in ((True, keys[::-1]), (False, keys)):
        found = stores.do(directed(repository.by_workflow("w"), newest=newest).list())
        assert names(found) == expected
        assert found == stores.do(directed(repository.all(), newest=newest).list())
        assert found == stores.do(
            directed(repository.where(workflow_id="f", status=Status.RUNNING), newest=newest).list()
        )
        assert found == stores.do(
            directed(repository.where(task_id="t"), newest=newest).list()
        ), "compared on documents"
        assert found == stores.do(directed(repository.by_workflow("w"), newest=newest))


def test_a_fetch_by_several_filters_reads_to_the_end(stores: Harness) -> None:
    for number, key in enumerate("abcdefg"):
        row = task(key, name="other" if number % 3 else "t", tool_id="x" if number % 2 else "y")
        row.component = Component.TOOL
        stores.do(stores.db.task_states.create(row))
    assert names(stores.do(stores.db.task_states.where(status=Status.RUNNING, task_id="t").list())) == "gda"
    assert names(stores.do(stores.db.task_states.where(tool_id="x", task_id="other").list())) == "fb"
    assert (
        names(stores.do(stores.db.task_states.where(task_exec_id="c", status=Status.RUNNING).list())) == "c"
    )
    found = stores.do(
        stores.db.workflow_states.where().having(stores.db.task_states.where(task_id="other")).list()
    )
    assert names(found) == "w"


def test_a_fetch_takes_one_round_trip_per_page_and_none_to_detect_the_end(stores: Harness) -> None:
    add(stores, "abcd")
    trips: list[int] = []
    flow = watched(stores, tasks(stores), lambda number, _: trips.append(number))
    assert names(stores.do(stores.db.session.run(flow))) == "abcd"
    assert trips == [1, 2]


def test_a_fetch_in_an_order_without_a_view_is_refused(stores: Harness) -> None:
    with pytest.raises(ValidationError):
        stores.do(stores.db.task_states.where().order_by("revision").list())


def test_rows_that_expire_between_two_pages_are_left_out(stores: Harness, other: Any) -> None:
    add(stores, "abcdefg")

    def end() -> None:
        for key in "bdg":
            other.task_states.change(key, lambda row: setattr(row, "status", Status.SUCCESS))

    assert between(stores, tasks(stores), end) == "abcef", "b was read before it ended"
    assert names(stores.do(stores.db.task_states.by_workflow("w").reverse().list())) == "acef"


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
    flow = answers.list_rows(context, view_query(WORKFLOW_STATE, view.name, values).reversed())
    assert between(stores, flow, changed(other, "w")) == "xyzw"
    query = where_query(WORKFLOW_STATE, {"workflow_id": "f"}).ordered("revision").reversed()
    flow = answers.list_rows(context, query)
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
            tx.task_states.by_workflow("w").reverse().list(),
            tx.task_states.all().list(),
            tx.task_states.where(status=Status.RUNNING, task_id="t").reverse().list(),
            tx.task_states.by_status(Status.WAITING).list(),
        ):
            lists.append(names((yield call)))
        return lists

    expected = ["acdefg", "gfedca", "acefg", "d"]
    assert stores.transact(steps) == expected
    rows = stores.db.task_states
    assert names(stores.do(rows.by_workflow("w").reverse().list())) == "acdefg"
    assert names(stores.do(rows.by_status(Status.WAITING).list())) == "d"
