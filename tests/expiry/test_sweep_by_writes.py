"""Writes sweep expired rows, with or without a sweeper beside them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from compozy_store.entities import TASK_STATE
from tests.harness import FLAVOURS, Harness, add_tasks, run, task
from tests.sweeping import add_dead, opened, sweeping, unswept, wait


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def later(stores: Harness) -> None:
    """Advance this client's clock by two seconds, because writes sweep only rows that have been dead for a while."""
    clock = stores.db.session.context.state.clock
    clock.set(clock.now() + 2_000_000)


def test_writes_sweep_a_store_without_a_sweeper(flavour: str) -> None:
    with opened(flavour, "tidy", sweep_every=4, sweep_rows=10) as stores:
        before = stores.contents()
        add_dead(stores, 50)
        left = []
        for _ in range(32):
            later(stores)
            stores.do(stores.db.workflow_states.change("w", lambda row: setattr(row, "output", 1)))
            left.append(unswept(stores))
        steps = [earlier - after for earlier, after in zip([50, *left], left, strict=False)]
        assert left[-1] == 0
        assert max(steps) == 10, "no write does more than its share"
        assert sum(step > 0 for step in steps) == 5
        after = stores.contents()
        assert {key for key in after if "WorkflowState" not in key} == {
            key for key in before if "WorkflowState" not in key
        }


@pytest.mark.parametrize("remembered", [0, 1024])
def test_deletes_sweep_as_other_writes_do(flavour: str, remembered: int) -> None:
    """Of a row that this process remembers or has to read, with its referrers or alone, and in a transaction."""

    def in_transaction(tx: Any) -> Any:
        yield tx.task_states.delete("p3")

    with opened(flavour, "delete", sweep_every=1, sweep_rows=1, remembered=remembered) as stores:
        db = stores.db
        stores.do(db.workflow_states.create(run("v")))
        add_tasks(stores, [task("p1"), task("p2"), task("p3"), task("child", "p2")])
        add_dead(stores, 8)
        calls: list[Callable[[], Any]] = [
            lambda: stores.do(db.task_states.delete("p1")),
            lambda: stores.do(db.task_states.delete("p2")),
            lambda: stores.do(db.workflow_states.discard("v")),
            lambda: stores.transact(in_transaction),
        ]
        left = [unswept(stores)]
        for call in calls:
            later(stores)
            call()
            left.append(unswept(stores))
        assert [before - after for before, after in pairwise(left)] == [1, 1, 1, 1]


def write(stores: Harness, times: int = 1) -> None:
    """Make writes, with the clock advanced so that some of them may sweep."""
    for _ in range(times):
        later(stores)
        stores.do(stores.db.workflow_states.upsert(run()))


def test_writes_leave_a_small_backlog_to_the_sweeper_of_their_store(flavour: str) -> None:
    with opened(flavour, "leave", sweep_every=1) as stores:
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.rounds == 1)
            add_dead(stores, 64)
            write(stores, 3)
            assert unswept(stores) == 64
        write(stores)
        assert unswept(stores) == 0


def test_writes_sweep_a_large_backlog_although_a_sweeper_runs(flavour: str) -> None:
    """The sweeper waits for its next round, so rows that are removed meanwhile were swept by writes."""
    with opened(flavour, "pile", sweep_every=4, sweep_rows=50) as stores:
        before = stores.contents()
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.rounds == 1)
            add_dead(stores, 200)
            left = []
            for _ in range(20):
                write(stores)
                left.append(unswept(stores))
            assert sweeper.progress.swept == 0
            steps = [earlier - after for earlier, after in zip([200, *left], left, strict=False)]
            assert [step for step in steps if step] == [50, 50, 50], "until nothing piles up any more"
            assert stores.db.session.context.state.swept_by_writes == 150
        write(stores, 8)
        after = stores.contents()
        assert {key for key in after if "WorkflowState" not in key} == {
            key for key in before if "WorkflowState" not in key
        }


def test_unsweepable_rows_do_not_count_as_backlog(flavour: str) -> None:
    """A sweeper has found 70 rows of an entity that is not in this schema. Writes do not read them again."""
    with opened(flavour, "kept", sweep_every=1) as stores:
        expiry = stores.db.session.context.partition(TASK_STATE).expiry
        stores.send(("ZADD", expiry, *(word for n in range(70) for word in (n + 1, f"Forgotten:{n}"))))
        sweeper = stores.db.sweeper(interval=3600)
        with sweeping(stores, sweeper):
            wait(stores, lambda: sweeper.progress.kept == 70)
            add_dead(stores, 64)
            write(stores, 2)
            assert unswept(stores) == 134
            add_dead(stores, 65)
            write(stores, 10)
            assert unswept(stores) <= 134


def test_sweeping_by_writes_can_be_disabled(flavour: str) -> None:
    with opened(flavour, "never", sweep_every=0) as stores:
        add_dead(stores, 5)
        for _ in range(70):
            later(stores)
            stores.do(stores.db.workflow_states.upsert(run()))
        assert unswept(stores) == 5
