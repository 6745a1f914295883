"""Filters over several views in one round trip find the same as comparing every row, in every order and page size."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import Component, Status, TaskState
from compozy_store.entities import TASK_STATE
from keyweave.effects import Command
from keyweave.keyspace.keys import escape
from keyweave.read import query_page
from keyweave.read.query import where_query
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    directed,
    harness,
    in_batches,
    run,
    task,
    watched,
)
from tests.scripted import declare_keys

LIVE = (Status.PENDING, Status.RUNNING, Status.WAITING)
RUNS = ("w", "odd:%3A", "other")


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Tasks of a few executions. FAILED ones are past their deadline, and some have no document."""
    chance = random.Random(11)
    with harness(request.param, request.node.name, retention={"TaskState": AT_ONCE}) as opened:
        for key in RUNS:
            opened.do(opened.db.workflow_states.create(run(key)))
        rows = [
            task(
                f"t{number}",
                workflow=chance.choice(RUNS),
                status=chance.choice((*LIVE, Status.FAILED)),
                name=chance.choice("ab"),
                agent_id=chance.choice(("writer", "a:b%", None)),
                action_id="act",
            )
            for number in range(120)
        ]
        for row in rows:
            if row.agent_id is None:
                row.action_id = None
            else:
                row.component = Component.AGENT
        add_tasks(opened, rows)
        yield opened


def filters(chance: random.Random) -> dict[str, Any]:
    """Values for some of the fields; `component` has no view."""
    every = {
        "workflow_exec_id": chance.choice(RUNS),
        "status": chance.choice(LIVE),
        "task_id": chance.choice("ab"),
        "agent_id": chance.choice(("writer", "a:b%", "nobody")),
        "component": chance.choice(("task", "agent")),
    }
    return {name: every[name] for name in chance.sample(sorted(every), chance.randint(1, 3))}


def names(rows: list[TaskState]) -> list[str]:
    return [row.task_exec_id for row in rows]


def sent_by(stores: Harness, **wanted: Any) -> tuple[list[str], list[Command]]:
    """The result of a search, and the commands that it sent."""
    stores.do(stores.db.task_states.where(**wanted).page())  # the server knows the script from here on
    commands: list[Command] = []
    context = stores.db.session.context
    found = query_page.page(context, where_query(TASK_STATE, wanted), 50, None)
    watching = watched(stores, found, lambda _, batch: commands.extend(batch))
    page = stores.do(stores.db.session.run(watching))
    return names(page.rows), commands


@pytest.mark.parametrize("declared_only", [False, True])
def test_pages_are_those_of_comparing_every_row(stores: Harness, declared_only: bool) -> None:
    everything = stores.do(stores.db.task_states.all())
    partition = stores.db.session.context.partition(TASK_STATE)
    for row in everything[::7]:
        stores.send(("DEL", partition.document("TaskState", row.task_exec_id)))
    left = [row for row in everything if row not in everything[::7]]
    declare_keys(stores.db.session.context, declared_only)
    chance = random.Random(5)
    for _ in range(40):
        wanted, newest = filters(chance), chance.random() < 0.5
        expected = [row for row in left if all(getattr(row, name) == wanted[name] for name in wanted)]
        found = stores.do(
            in_batches(
                directed(stores.db.task_states.where(**wanted), newest=newest), chance.choice((1, 3, 200))
            )
        )
        assert names(found) == names(expected if newest else expected[::-1]), wanted


def test_two_views_are_one_round_trip_that_reads_only_rows_in_both(stores: Harness) -> None:
    everything = stores.do(stores.db.task_states.all())
    found, commands = sent_by(stores, status=Status.RUNNING, agent_id="a:b%")
    assert found == names(
        [row for row in everything if (row.status, row.agent_id) == (Status.RUNNING, "a:b%")]
    )
    assert [command[0] for command in commands] == ["EVALSHA"]
    plan = stores.do(stores.db.task_states.where(status=Status.RUNNING, agent_id="a:b%").explain())
    assert sorted((plan.view, *plan.narrowing)) == ["by_agent", "by_status"]
    assert plan.view == min(plan.candidates, key=lambda name: plan.candidates[name])
    assert plan.compared == ()


def test_a_view_whose_fields_another_view_has_too_is_not_read(stores: Harness) -> None:
    plan = stores.do(stores.db.task_states.where(parent_state_id="t1", status=Status.RUNNING).explain())
    assert (plan.view, plan.narrowing, plan.candidates) == ("by_parent_status", (), {})


def test_a_view_in_another_order_narrows_what_is_read(stores: Harness) -> None:
    stores.do(stores.db.workflow_states.create(run("done", Status.WAITING)))
    wanted = {"workflow_id": "f", "status": Status.WAITING}
    plan = stores.do(stores.db.workflow_states.where(**wanted).order_by("created").explain())
    assert (plan.view, plan.narrowing, plan.compared) == ("newest_of_workflow", ("by_status",), ())
    found = stores.do(stores.db.workflow_states.where(**wanted).order_by("created").page()).rows
    assert [row.workflow_exec_id for row in found] == ["done"]


def test_fields_that_no_view_covers_are_compared(stores: Harness) -> None:
    plan = stores.do(
        stores.db.task_states.where(status=Status.RUNNING, agent_id="a:b%", component="agent").explain()
    )
    assert plan.compared == ("component",)


def test_explain_reports_the_plan_without_undeclared_keys(stores: Harness) -> None:
    declare_keys(stores.db.session.context)
    plan = stores.do(stores.db.task_states.where(status=Status.RUNNING, agent_id="nobody").explain())
    assert (plan.view, plan.narrowing, plan.compared) == ("by_agent", (), ("status",))


def test_a_call_reads_a_bounded_number_of_members(stores: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyweave.read.page._MIN_SCAN", 10)
    stores.do(stores.db.workflow_states.create(run("wide")))
    rows = [task(f"r{number}", workflow="wide", name="r") for number in range(60)]
    add_tasks(stores, [*rows, task("elsewhere", workflow="w", name="r")])
    stores.do(stores.db.task_states.change("r0", lambda row: setattr(row, "status", Status.PAUSED)))
    for number in range(70):
        add_tasks(stores, [task(f"p{number}", name="p", status=Status.PAUSED)])
    sent_by(stores, task_id="r", status=Status.PAUSED)
    trips: list[int] = []
    query = where_query(TASK_STATE, {"task_id": "r", "status": Status.PAUSED})
    flow = query_page.page(stores.db.session.context, query, 1, None)
    page = stores.do(stores.db.session.run(watched(stores, flow, lambda number, _: trips.append(number))))
    assert names(page.rows) == ["r0"]
    assert len(trips) == 7


def test_pages_stay_correct_during_concurrent_writes(stores: Harness) -> None:
    wanted = {"status": Status.RUNNING, "task_id": "a"}
    before = names(stores.do(stores.db.task_states.where(**wanted)))
    first = stores.do(stores.db.task_states.where(**wanted).page(limit=3))
    add_tasks(stores, [task("later", name="a")])
    last = first.rows[-1].task_exec_id
    stores.do(stores.db.task_states.change(last, lambda row: setattr(row, "status", Status.PENDING)))
    second = stores.do(stores.db.task_states.where(**wanted).page(limit=3, cursor=first.cursor))
    assert names(first.rows) + names(second.rows) == before[:6]


def test_the_server_escapes_values_as_keys_are_built(stores: Harness) -> None:
    script = stores.db.session.context.scripts["tree"].text
    body = script[script.index("local ESCAPES") :].partition("\nend\n")[0] + "\nend\n"
    chance = random.Random(3)
    texts = ["", "%", "::", *("".join(chance.choices("%:3A5{}\0\N{SNOWMAN}", k=6)) for _ in range(60))]
    source = f"#!lua flags=no-writes\n{body}return escape(ARGV[1])"
    answers = stores.send(*(("EVAL", source, 0, text) for text in texts))
    assert [answer.decode() for answer in answers] == [escape(text) for text in texts]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("limit", [1, 4, 50])
def test_few_rows_among_many_are_found_in_order(stores: Harness, newest: bool, limit: int) -> None:
    stores.do(stores.db.workflow_states.create(run("wide")))
    rows = [
        task(f"r{number:03}", workflow="wide", name="rare" if number % 17 == 3 else "r")
        for number in range(200)
    ]
    add_tasks(stores, rows)
    add_tasks(stores, [task(f"s{number:03}", workflow="w", name="rare") for number in range(250)])
    rare = [row.task_exec_id for row in rows if row.task_id == "rare"]
    partition = stores.db.session.context.partition(TASK_STATE)
    stores.send(("DEL", partition.document("TaskState", rare.pop(5))))
    expected = rare[::-1] if newest else rare
    rows = directed(stores.db.task_states.where(workflow_exec_id="wide", task_id="rare"), newest=newest)
    found: list[str] = []
    cursor = None
    for _ in range(1 + len(expected) // limit):
        page = stores.do(rows.page(limit=limit, cursor=cursor))
        found += names(page.rows)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == expected
    assert cursor is None or len(expected) % limit == 0


def test_the_order_is_that_of_the_view_that_is_read(stores: Harness) -> None:
    keys = [f"x{number:02}" for number in range(90)]
    for key in keys:
        stores.do(stores.db.workflow_states.create(run(key)))
    waiting = keys[::20]
    for key in reversed(waiting):  # the view of the status is in the order of these changes
        stores.do(stores.db.workflow_states.change(key, lambda row: setattr(row, "status", Status.WAITING)))
    wanted = {"workflow_id": "f", "status": Status.WAITING}
    plan = stores.do(stores.db.workflow_states.where(**wanted).order_by("created").explain())
    assert (plan.view, plan.narrowing) == ("newest_of_workflow", ("by_status",))
    for limit in (2, 50):
        found = stores.do(in_batches(stores.db.workflow_states.where(**wanted).order_by("created"), limit))
        assert [row.workflow_exec_id for row in found] == waiting[::-1]
    found = stores.do(stores.db.workflow_states.where(**wanted).order_by("created").reverse().page()).rows
    assert [row.workflow_exec_id for row in found] == waiting
