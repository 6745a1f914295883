"""A wrong query is a typed error with its field and rule, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compozy_store import Role, Status
from keyweave.errors import (
    InvalidCursorError,
    MultipleRowsError,
    UnboundedQueryError,
    ValidationError,
)
from keyweave.query import at_least, between, contains, is_not, one_of, starts_with
from tests.harness import FLAVOURS, Harness, exchanges, harness, run, task, user

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"wrong-{request.param}") as opened:
        opened.do(opened.db.workflow_states.create(run("w")))
        for number in range(4):
            opened.do(opened.db.task_states.create(task(f"t{number}")))
        opened.do(opened.db.users.create(user("u")))
        yield opened


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an unknown field": (lambda tasks: tasks.where(shoe_size=1), "shoe_size"),
    "a field of json": (lambda tasks: tasks.where(output=1), "output"),
    "another type": (lambda tasks: tasks.where(task_id=5), "task_id"),
    "null of a field that is never null": (lambda tasks: tasks.where(task_id=None), "task_id"),
    "no null of such a field": (lambda tasks: tasks.where(task_id=is_not(None)), "task_id"),
    "a range of an enum": (lambda tasks: tasks.where(status=at_least("P")), "status"),
    "the start of an enum": (lambda tasks: tasks.where(status=starts_with("P")), "status"),
    "an element of a string": (lambda tasks: tasks.where(task_id=contains("t")), "task_id"),
    "a range of another type": (lambda tasks: tasks.where(task_id=between(1, 2)), "task_id"),
    "swapped ends": (lambda tasks: tasks.where(task_id=between("b", "a")), "task_id"),
    "a range without ends": (lambda tasks: tasks.where(task_id=between(None, None)), "task_id"),
    "a naive datetime": (
        lambda tasks: tasks.where(created_at=at_least(datetime(2026, 1, 1))),  # noqa: DTZ001
        "created_at",
    ),
    "10,000 values": (lambda tasks: tasks.where(task_id=one_of(*map(str, range(10_000)))), "task_id"),
    "a value of another type among several": (lambda tasks: tasks.where(task_id=one_of("a", 5)), "task_id"),
    "a value of a view": (lambda tasks: tasks.by_workflow(5), "workflow_exec_id"),
    "no value of a view": (lambda tasks: tasks.by_parent(None), "parent_state_id"),
    "a stretch of another type": (lambda tasks: tasks.all().between(1, 2), "created"),
    "a swapped stretch": (lambda tasks: tasks.all().between(NOW, NOW - timedelta(1)), "created"),
    "an unknown order": (lambda tasks: tasks.where(task_id="t").order_by("shoe_size"), "order"),
    "an order of an enum's list": (lambda tasks: tasks.where(task_id="t").order_by("usage"), "order"),
    "rows that refer to others": (
        lambda tasks: tasks.all().having(tasks.by_workflow("w"), via="task_id"),
        "having",
    ),
    "a wrong condition": (lambda tasks: tasks.all().having(tasks.where(shoe_size=1)), "shoe_size"),
}
ASKS: dict[str, Callable[[Any], Any]] = {
    "page": lambda rows: rows.page(),
    "list": lambda rows: rows.list(),
    "first": lambda rows: rows.first(),
    "one": lambda rows: rows.one(),
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "keys": lambda rows: rows.keys(),
    "explain": lambda rows: rows.explain(),
    "min": lambda rows: rows.min(),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_query_names_the_field_and_sends_nothing(stores: Harness, name: str) -> None:
    make, field = WRONG[name]
    with exchanges(stores) as sent:
        for ask in ASKS.values():
            with pytest.raises(ValidationError) as caught:
                stores.do(ask(make(stores.db.task_states)))
            assert caught.value.field == field
            assert caught.value.rule
    assert sent == []


def test_handles_of_different_rows_or_orders_cannot_be_joined(stores: Harness) -> None:
    tasks, users = stores.db.task_states, stores.db.users
    for left, right in ((tasks.all(), users.all()), (tasks.all(), tasks.all().reverse())):
        with pytest.raises(ValidationError):
            left | right
    with pytest.raises(ValidationError) as caught:
        stores.do(users.all().having(tasks.all()).page())
    assert caught.value.field == "having"


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, True, "5"])
def test_a_limit_out_of_range_sends_nothing(stores: Harness, limit: Any) -> None:
    asks: list[Callable[[Any], Any]] = [
        lambda rows: rows.page(limit),
        lambda rows: rows.batches(limit),
        lambda rows: rows.explain(limit),
    ]
    with exchanges(stores) as sent:
        for ask in asks:
            with pytest.raises(ValidationError) as caught:
                stores.do(ask(stores.db.task_states.all()))
            assert caught.value.field == "limit"
    assert sent == []


def test_a_cursor_belongs_to_its_query(stores: Harness) -> None:
    tasks = stores.db.task_states
    query = tasks.where(workflow_exec_id="w", task_id=one_of("t", "u"))
    cursor = stores.do(query.page(1)).cursor
    same = tasks.where(task_id=one_of("t", "u"), workflow_exec_id="w")
    assert len(stores.do(same.page(10, cursor))) == 3
    others = [
        tasks.where(workflow_exec_id="w"),
        tasks.where(workflow_exec_id="v", task_id=one_of("t", "u")),
        tasks.where(workflow_exec_id="w", task_id=one_of("t", "v")),
        tasks.by_workflow("w"),
        query.reverse(),
        query.between(NOW, None),
        query.order_by("revision"),
        query.having(tasks.all()),
        query | tasks.by_status(Status.RUNNING),
    ]
    with exchanges(stores) as sent:
        for other in others:
            with pytest.raises(InvalidCursorError) as caught:
                stores.do(other.page(10, cursor))
            assert caught.value.field == "cursor"
    assert sent == []


def test_what_no_view_bounds_is_refused_unless_it_may_scan(stores: Harness) -> None:
    tasks = stores.db.task_states
    with exchanges(stores) as sent:
        for wanted in ({"component": "task"}, {"parent_state_id": None}, {"task_id": is_not("x")}):
            rows = tasks.where(**wanted)
            for ask in ASKS.values():
                with pytest.raises(UnboundedQueryError) as caught:
                    stores.do(ask(rows))
                assert caught.value.entity == "TaskState"
                assert next(iter(wanted)) in str(caught.value)
    assert sent == []
    rows = tasks.where(component="task").scan()
    assert stores.do(rows.count()) == 4
    plan = stores.do(rows.explain())
    assert (plan.scan, plan.view, plan.compared) == (True, "all", ("component",))
    assert "scan: all rows are read" in str(plan)


def test_the_only_row(stores: Harness) -> None:
    tasks = stores.db.task_states
    assert stores.do(tasks.where(task_exec_id="t1").one()).task_exec_id == "t1"
    with pytest.raises(MultipleRowsError) as caught:
        stores.do(tasks.by_workflow("w").one())
    assert caught.value.entity == "TaskState"
    assert stores.do(stores.db.users.by_role(Role.USER).one()).id == "u"
