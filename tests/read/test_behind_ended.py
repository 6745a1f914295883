"""Reads behind many rows that have ended: what they cost, and that they return every live row once."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from compozy_store import Status, TaskState
from compozy_store.entities import TASK_STATE
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    directed,
    exchanges,
    harness,
    run,
    task,
    until_freed,
)
from tests.scripted import declare_keys

MANY = 2000


@pytest.fixture(params=[(flavour, keys) for flavour in FLAVOURS for keys in (False, True)])
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A store that nothing sweeps, on a server that permits scripts all keys, or declared ones only."""
    flavour, keys = request.param
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "sweep_every": 0, "deadline": 60}
    with harness(flavour, "behind", **options) as opened:
        declare_keys(opened.db.session.context, keys)
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


def end(stores: Harness, number: int) -> None:
    for start in range(0, number, 500):
        add_tasks(
            stores, [task(f"e{n}", status=Status.SUCCESS) for n in range(start, min(start + 500, number))]
        )


def test_the_first_row_behind_many_ended_ones_takes_few_exchanges(stores: Harness) -> None:
    stores.do(stores.db.task_states.create(task("live")))
    end(stores, MANY)
    with exchanges(stores) as sent:
        assert stores.do(stores.db.task_states.where(workflow_exec_id="w").first()).task_exec_id == "live"
        assert len(sent) <= 45, f"{len(sent)} exchanges"
        sent.clear()
        page = stores.do(stores.db.task_states.by_workflow("w").page(limit=3))
        assert [row.task_exec_id for row in page.rows] == ["live"]
        assert len(sent) <= 45, f"{len(sent)} exchanges"


def test_so_it_does_in_a_transaction_and_with_the_rows_that_refer_to_it(stores: Harness) -> None:
    stores.do(stores.db.task_states.create(task("live")))
    stores.do(stores.db.task_states.create(task("child", "live", status=Status.PAUSED)))
    end(stores, MANY)

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.task_states.create(task("own", status=Status.PAUSED))
        page = yield tx.task_states.by_workflow("w").page(limit=3)
        assert [row.task_exec_id for row in page.rows] == ["own", "child", "live"]

    with exchanges(stores) as sent:
        stores.transact(steps)
        assert len(sent) <= 50, f"{len(sent)} exchanges"
        sent.clear()
        found, rows = stores.do(
            stores.db.task_states.with_task_states(
                stores.db.task_states.where(workflow_exec_id="w", status=Status.RUNNING)
            ).first()
        )
        assert (found.task_exec_id, [row.task_exec_id for row in rows]) == ("live", ["child"])
        assert len(sent) <= 45, f"{len(sent)} exchanges"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_behind_many_freed_rows_a_read_heals_a_bounded_number(flavour: str) -> None:
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "sweep_every": 0, "grace_ms": 1}
    with harness(flavour, "behind-freed", **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("live")))
        end(stores, MANY)
        until_freed(stores, TASK_STATE, [f"e{n}" for n in range(MANY)])
        with exchanges(stores) as sent:
            assert stores.do(stores.db.task_states.where(workflow_exec_id="w").first()).task_exec_id == "live"
            assert len(sent) <= 8, f"{len(sent)} exchanges"
        assert stores.do(stores.db.sweep()) == MANY
        assert stores.clean()


def test_pages_among_ended_and_freed_rows_return_every_live_row_once(stores: Harness) -> None:
    """Runs of ended rows, freed rows and live rows of random lengths, read by pages of every size and in both orders."""
    chance = random.Random(2026)
    rows: list[TaskState] = []
    while len(rows) < 300:
        status = chance.choice([Status.RUNNING, Status.SUCCESS])
        rows += [task(f"t{len(rows) + n}", status=status) for n in range(chance.choice([1, 2, 5, 40]))]
    add_tasks(stores, rows)
    freed = [row.task_exec_id for row in rows if row.status is Status.SUCCESS and chance.random() < 0.3]
    partition = stores.db.session.context.partition(TASK_STATE)
    stores.send(("UNLINK", *(partition.document("TaskState", key) for key in freed)))
    live = [row.task_exec_id for row in rows if row.status is Status.RUNNING]
    assert 0 < len(live) < len(rows) - len(freed)
    for newest in (True, False):
        for limit in (1, 2, 3, 7, 30, 299, 1000):
            found: list[str] = []
            cursor = None
            while True:
                page = stores.do(
                    directed(stores.db.task_states.by_workflow("w"), newest=newest).page(
                        limit=limit, cursor=cursor
                    )
                )
                assert len(page.rows) == limit or page.cursor is None
                found += [row.task_exec_id for row in page.rows]
                cursor = page.cursor
                if cursor is None:
                    break
            assert found == (live[::-1] if newest else live), (newest, limit)
