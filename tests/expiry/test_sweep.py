"""Sweeping: after it, the keyspace is that of a store that never had the dead rows."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import Status, WorkflowState
from compozy_store.entities import TASK_STATE
from keyweave.effects import Command, ConnectionFailure
from keyweave.errors import StoreOutOfMemoryError
from keyweave.expiry import sweep as sweep_flows
from keyweave.expiry import tend as tend_flows
from keyweave.read import count as count_flows
from tests.depot import depot
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    errors_in,
    harness,
    plans_in,
    run,
    task,
    watched,
)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stores(flavour: str, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Two stores; an execution with two tasks that stay. Terminal rows expire at once."""
    retention = {"TaskState": AT_ONCE, "WorkflowState": AT_ONCE}
    with harness(flavour, request.node.name, count=2, retention=retention) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        add_tasks(opened, [task("p"), task("c", "p")])
        yield opened


def add_dead(stores: Harness, count: int) -> None:
    add_tasks(stores, [task(f"dead{n}", "p" if n % 2 else None, status=Status.SUCCESS) for n in range(count)])


def test_a_sweep_leaves_nothing_of_dead_rows(stores: Harness) -> None:
    before = stores.contents()
    add_dead(stores, 250)
    assert stores.contents() != before
    assert stores.do(stores.db.sweep()) == 250
    assert stores.db.stats.swept == 250
    assert stores.contents() == before
    assert stores.do(stores.db.sweep()) == 0


def test_a_sweep_removes_the_family_of_a_dead_row(stores: Harness) -> None:
    before = stores.contents()
    stores.do(stores.db.workflow_states.create(run("over")))
    tasks = [task(f"t{n}", f"t{n - 1}" if n % 3 else None, workflow="over") for n in range(700)]
    add_tasks(stores, tasks)
    stores.do(stores.db.workflow_states.change("over", lambda row: setattr(row, "status", Status.FAILED)))
    assert stores.do(stores.db.sweep()) == 701
    assert stores.contents() == before


def test_a_sweep_removes_dead_parents_with_dead_children(stores: Harness) -> None:
    before = stores.contents()
    stores.do(stores.db.workflow_states.create(run("over")))
    add_tasks(stores, [task(f"t{n}", workflow="over") for n in range(120)])
    stores.do(stores.db.workflow_states.change("over", lambda row: setattr(row, "status", Status.FAILED)))
    for number in range(0, 120, 7):
        row = WorkflowState(workflow_exec_id=f"w{number}", workflow_id="f", status=Status.CANCELED)
        stores.do(stores.db.workflow_states.create(row))
    stores.do(stores.db.sweep())
    assert stores.contents() == before


def test_a_sweep_stops_at_its_limit(stores: Harness) -> None:
    add_dead(stores, 30)
    assert [stores.do(stores.db.sweep(limit=12)) for _ in range(4)] == [12, 12, 6, 0]


def test_concurrent_sweeps_share_the_work(stores: Harness) -> None:
    before = stores.contents()
    add_dead(stores, 120)
    outcomes = stores.together([lambda store: store.sweep()] * 4)
    assert errors_in(outcomes) == []
    rest = stores.do(stores.db.sweep())
    assert sum(outcomes) + rest == 120
    assert stores.contents() == before


def test_sweeps_and_inserts_of_the_same_keys_do_not_affect_each_other(stores: Harness) -> None:
    """While two clients sweep, others insert living rows under the keys of the dead."""
    add_dead(stores, 60)

    def revive(number: int) -> Any:
        return lambda store: store.task_states.create(task(f"dead{number}", "p"))

    sweeps = [lambda store: store.sweep()] * 2
    outcomes = stores.together([*sweeps, *[revive(number) for number in range(0, 60, 3)]])
    assert errors_in(outcomes) == []
    stores.do(stores.db.sweep())
    living = [row.task_exec_id for row in stores.do(stores.db.task_states.by_parent("p"))]
    assert sorted(living) == sorted(["c", *(f"dead{number}" for number in range(0, 60, 3))])
    assert stores.clean()


def test_a_count_beyond_its_bound_sweeps_first(stores: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_flows, "LOOKUPS", 200)
    monkeypatch.setattr(count_flows, "_SECONDS", 30.0)  # however slow the machine is
    add_dead(stores, 450)
    assert stores.do(stores.db.task_states.by_parent_status("w").group_counts()) == {}
    assert stores.db.stats.swept == 0
    assert stores.do(stores.db.task_states.by_workflow("w").count()) == 2
    assert stores.do(stores.db.task_states.by_parent_status("p").group_counts()) == {Status.RUNNING: 1}
    assert 250 <= stores.db.stats.swept < 450


@pytest.mark.parametrize("more", [0, 30])
def test_a_count_looks_up_the_smaller_of_two_sets(stores: Harness, more: int) -> None:
    """Few dead rows and a long view, or many dead rows and a short one; both counts include only live rows."""
    add_tasks(stores, [task(f"alive{number}", "c") for number in range(more)])
    add_dead(stores, 20)
    assert stores.do(stores.db.task_states.by_workflow("w").count()) == 2 + more
    assert stores.do(stores.db.task_states.by_parent("c").count()) == more
    assert stores.do(stores.db.task_states.by_parent("p").count()) == 1
    assert stores.do(stores.db.task_states.by_status().group_counts()) == {Status.RUNNING: 2 + more}
    assert stores.db.stats.swept == 0


def test_rows_of_an_entity_that_this_schema_lacks_do_not_block_a_sweep(stores: Harness) -> None:
    """Unsweepable entries are older than all others; sweeps and counts skip them."""
    expiry = stores.db.session.context.partition(TASK_STATE).expiry
    stores.send(*[("ZADD", expiry, 1, f"Forgotten:{number}") for number in range(count_flows.LOOKUPS + 500)])
    before = stores.contents()
    add_dead(stores, 3)
    assert stores.do(stores.db.task_states.by_workflow("w").count()) == 2
    add_dead(stores, 20)
    stores.do(stores.db.sweep())
    assert stores.contents() == before


def test_unsweepable_rows_are_counted_once_and_hide_no_other_row(stores: Harness) -> None:
    """They are among rows that can be removed, wherever a step begins."""
    context = stores.db.session.context
    expiry = context.partition(TASK_STATE).expiry
    before = stores.contents()
    add_dead(stores, 300)
    ends = [float(score) for score in stores.send(("ZRANGE", expiry, 0, -1, "WITHSCORES"))[0][1::2]]
    for number in range(0, 300, 5):
        stores.send(("ZADD", expiry, ends[number], f"Forgotten:{number}"))
    progress = tend_flows.SweepProgress()
    stores.do(stores.db.session.run(tend_flows.tend_once(context, tend_flows.Pace(share=1), progress)))
    assert (progress.swept, progress.kept) == (300, 60)
    stores.send(("DEL", expiry))
    assert stores.contents() == before


def test_a_live_row_with_a_wrong_deadline_entry_stays(stores: Harness) -> None:
    """Another program has added a live row to the deadlines. A check reports it, and the sweep must still end."""
    context = stores.db.session.context
    expiry = context.partition(TASK_STATE).expiry
    stores.send(("ZADD", expiry, 1, "TaskState:p"))
    add_dead(stores, 3)
    progress = tend_flows.SweepProgress()
    stores.do(stores.db.session.run(tend_flows.tend_once(context, tend_flows.Pace(share=1), progress)))
    assert (progress.swept, progress.kept) == (3, 1)
    assert stores.do(stores.db.sweep()) == 0
    assert stores.do(stores.db.task_states.get("p")).status is Status.RUNNING


@pytest.fixture
def freed(flavour: str, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A store whose server frees dead rows a millisecond after their deadline; it has freed one, `gone`."""
    name = request.node.name
    with harness(flavour, name, retention={"TaskState": AT_ONCE}, grace_ms=1) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        add_tasks(opened, [task("p")])
        opened.do(opened.db.task_states.create(task("gone", "p", status=Status.SUCCESS)))
        until_freed(opened, "gone")
        yield opened


def until_freed(stores: Harness, key: str) -> None:
    document = stores.db.session.context.partition(TASK_STATE).document("TaskState", key)
    limit = time.monotonic() + 10
    while stores.send(("EXISTS", document)) != [0]:
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_a_row_that_the_server_freed_is_missing_for_every_read(freed: Harness) -> None:
    assert freed.do(freed.db.task_states.find("gone")) is None
    assert freed.do(freed.db.task_states.by_workflow("w").count()) == 1
    assert [row.task_exec_id for row in freed.do(freed.db.task_states.by_workflow("w").page()).rows] == ["p"]
    assert freed.do(freed.db.task_states.by_parent("p").page()).rows == []
    assert freed.db.stats.healed == 2
    assert freed.do(freed.db.sweep()) == 1
    assert freed.do(freed.db.task_states.by_workflow("w").count()) == 1
    assert freed.do(freed.db.sweep()) == 0


def test_deleting_a_parent_spares_a_row_under_the_key_of_a_child_that_the_server_freed(
    freed: Harness,
) -> None:
    """The old row's entry is still in its parent's view and leads to a row of another parent."""
    add_tasks(freed, [task("q")])
    freed.do(freed.db.task_states.create(task("gone", "q")))
    freed.do(freed.db.task_states.delete("p"))
    assert freed.do(freed.db.task_states.get("gone")).parent_state_id == "q"
    parents = freed.db.session.context.partition(TASK_STATE).view("TaskState", "by_parent", ("p",))
    assert freed.send(("ZCARD", parents)) == [0]


def test_a_new_row_does_not_inherit_the_deadline_of_one_that_the_server_freed(freed: Harness) -> None:
    partition = freed.db.session.context.partition(TASK_STATE)
    freed.do(freed.db.task_states.create(task("gone", "p")))
    assert freed.send(("ZSCORE", partition.expiry, partition.expiring("TaskState", "gone"))) == [None]
    assert freed.do(freed.db.task_states.by_parent("p").count()) == 1
    assert freed.do(freed.db.sweep()) == 0
    assert freed.do(freed.db.task_states.get("gone")).status is Status.RUNNING


def test_a_sweep_leaves_nothing_of_rows_that_the_server_freed(flavour: str) -> None:
    """Their documents do not exist any more, so all indexes are searched for them; other rows keep their entries."""
    options: Any = {"retention": {"TaskState": AT_ONCE}, "grace_ms": 1}
    with harness(flavour, f"nothing-{flavour}", **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task("p"), task("c", "p"), task("a:b%")])
        before = stores.contents()
        dead = [f"dead{n}" for n in range(40)] + ["de:ad", "de%3Aad"]
        add_tasks(stores, [task(key, "p", name=f"n:{len(key)}", status=Status.SUCCESS) for key in dead])
        for key in dead:
            until_freed(stores, key)
        assert stores.contents() != before
        assert stores.do(stores.db.task_states.by_parent("p").count()) == 1
        assert stores.do(stores.db.sweep()) == len(dead)
        assert stores.contents() == before
        assert stores.do(stores.db.task_states.by_parent("p").count()) == 1


def test_a_new_row_under_a_freed_key_inherits_no_entry(freed: Harness) -> None:
    """Otherwise a list would return it for the values of the freed row."""
    freed.do(freed.db.task_states.create(task("gone", "p", name="other")))
    assert freed.do(freed.db.task_states.by_status(Status.SUCCESS).page()).rows == []
    assert freed.do(freed.db.task_states.by_task_id("t").page()).rows[0].task_exec_id == "p"
    assert freed.do(freed.db.task_states.by_task_id("t").count()) == 1
    assert freed.clean()


def test_a_sweep_releases_the_claims_of_rows_that_the_server_freed(flavour: str) -> None:
    closed = depot().State.CLOSED
    options: Any = {"retention": {"Ticket": AT_ONCE}, "grace_ms": 1}
    with harness(flavour, f"claims-{flavour}", module=depot(), **options) as stores:
        stores.do(stores.db.tickets.create(depot().Ticket(id="stays", code="x", state=depot().State.OPEN)))
        before = stores.contents()
        stores.do(stores.db.tickets.create(depot().Ticket(id="old", code="code", state=closed)))
        place = stores.db.session.context.keyspace.partition("goods").document("Ticket", "old")
        limit = time.monotonic() + 10
        while stores.send(("EXISTS", place)) != [0]:
            assert time.monotonic() < limit
        assert stores.do(stores.db.sweep()) == 1
        assert stores.contents() == before


def test_rows_that_expire_at_once_leave_nothing_during_concurrent_writes(flavour: str) -> None:
    """Families of dead rows, two sweepers and concurrent writers: the keyspace is that of a store that never had them."""
    chance = random.Random(2026)
    names = [f"n:{number}" for number in range(4)]
    with harness(flavour, f"at-once-{flavour}", count=3, retention={"TaskState": AT_ONCE}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        living = [task(f"stays{number}", name=chance.choice(names)) for number in range(20)]
        add_tasks(stores, living)

        def spin(number: int) -> Any:
            return lambda store: store.task_states.change(
                f"stays{number}", lambda row: setattr(row, "output", number)
            )

        for number in range(20):
            stores.do(spin(number)(stores.db))
        before = shape(stores)
        for start in range(0, 1500, 250):
            rows = [
                task(
                    f"dead{number}",
                    chance.choice([None, "stays1", "stays2", f"dead{start}"]) if number > start else None,
                    name=chance.choice(names),
                    status=chance.choice([Status.SUCCESS, Status.FAILED, Status.TIMED_OUT]),
                )
                for number in range(start, start + 250)
            ]
            add_tasks(stores, rows)
        writers = [spin(number) for number in range(20)] * 3
        outcomes = stores.together([lambda store: store.sweep()] * 3 + writers)
        assert errors_in(outcomes) == []
        stores.do(stores.db.sweep())
        assert shape(stores) == before
        assert stores.clean()


def shape(stores: Harness) -> dict[str, Any]:
    """The whole keyspace without revisions: documents without their heads, members without their scores."""
    found: dict[str, Any] = {}
    for name, (kind, value, _) in stores.contents().items():
        if kind == b"string":
            found[name] = re.sub(rb'^\{"revision".*?"op":"[^"]*"', b"", value)
        else:
            found[name] = sorted(value[0::2]) if kind == b"zset" else value
    return found


def test_a_sweep_whose_reply_was_lost_counts_once(stores: Harness) -> None:
    """The reply to a plan is lost. The repeated plan finds no rows, and nothing is counted twice."""
    before = stores.contents()
    add_dead(stores, 10)
    lost: list[bool] = []

    def lose(_: int, commands: tuple[Command, ...]) -> None:
        if plans_in(stores, commands) and not lost:
            lost.append(True)
            raise ConnectionFailure("closed", "the connection broke", sent=True)

    context = stores.db.session.context
    stores.do(stores.db.session.run(watched(stores, sweep_flows.sweep(context), lose)))
    assert lost
    assert stores.contents() == before


def test_the_unique_value_of_a_row_that_the_server_freed_is_free(flavour: str) -> None:
    closed, opened = depot().State.CLOSED, depot().State.OPEN
    with harness(
        flavour, f"freed-{flavour}", module=depot(), retention={"Ticket": AT_ONCE}, grace_ms=1
    ) as stores:
        stores.do(stores.db.tickets.create(depot().Ticket(id="old", code="code", state=closed)))
        place = stores.db.session.context.keyspace.partition("goods").document("Ticket", "old")
        limit = time.monotonic() + 10
        while stores.send(("EXISTS", place)) != [0]:
            assert time.monotonic() < limit
        stores.do(stores.db.tickets.create(depot().Ticket(id="new", code="CODE", state=opened)))
        assert stores.do(stores.db.tickets.get_by_code("code")).id == "new"


def test_a_row_that_is_inserted_at_any_time_during_a_sweep_keeps_its_deadline(flavour: str) -> None:
    """The sweep forgets a row that the server freed, while another client inserts a terminal row with the same key."""
    moment, over = 0, False
    while not over:
        moment += 1
        name = f"keeps-{flavour}-{moment}"
        with (
            harness(flavour, name, retention={"TaskState": AT_ONCE}, grace_ms=1) as stores,
            harness("sync", stores, retention={"TaskState": timedelta(hours=1)}, grace_ms=1) as later,
        ):
            stores.do(stores.db.workflow_states.create(run()))
            stores.do(stores.db.task_states.create(task("t", status=Status.SUCCESS)))
            until_freed(stores, "t")
            over = True

            def insert(
                number: int, _: tuple[Command, ...], later: Harness = later, moment: int = moment
            ) -> None:
                nonlocal over
                if number == moment:
                    over = False
                    later.db.task_states.create(task("t", status=Status.SUCCESS))

            stores.do(
                stores.db.session.run(watched(stores, sweep_flows.sweep(stores.db.session.context), insert))
            )
            if not over:
                assert stores.do(stores.db.task_states.get("t")).status is Status.SUCCESS
                assert stores.do(stores.db.task_states.all().count()) == 1
                assert stores.clean()
    assert moment > 4


def test_a_server_at_its_memory_limit_can_still_be_swept(stores: Harness) -> None:
    """Otherwise its memory could never be freed. Deletes work too; nothing else is written."""
    add_dead(stores, 20)
    add_tasks(stores, [task("extra")])
    context = stores.db.session.context
    # On a cluster, the key leads to the server that has the rows.
    there: Command = ("EXISTS", context.partition(context.package.entities["TaskState"]).clock)
    _, (_, limit), (_, policy) = stores.send(
        there, ("CONFIG", "GET", "maxmemory"), ("CONFIG", "GET", "maxmemory-policy")
    )
    stores.send(there, ("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("CONFIG", "SET", "maxmemory", 1))
    try:
        with pytest.raises(StoreOutOfMemoryError):
            stores.do(stores.db.task_states.create(task("more")))
        assert stores.do(stores.db.sweep()) == 20
        stores.do(stores.db.task_states.delete("extra"))
    finally:
        stores.send(
            there, ("CONFIG", "SET", "maxmemory", limit), ("CONFIG", "SET", "maxmemory-policy", policy)
        )
    assert stores.do(stores.db.task_states.all().count()) == 2
    assert stores.clean()
