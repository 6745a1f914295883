"""This machine sleeps: its monotonic clock stops, so an estimate of the server's time would be hours old and look fresh."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE
from keyweave.errors import NotFoundError
from keyweave.expiry import tend as tend_flows
from keyweave.health.measure import measure
from keyweave.store.clock import ServerClock
from tests.depot import depot
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness, run, task

HOUR = 3600


class Sleeper:
    """Clocks of a machine that went to sleep right after it learned the server's time, an hour ago."""

    def __init__(self, stores: Harness) -> None:
        self.asleep = 0.0
        state = stores.db.session.context.state
        state.clock = ServerClock(lambda: 100.0, lambda: 1000.0 + self.asleep)
        state.clock.set(int((time.time() - HOUR) * 1_000_000))

    def wake(self) -> None:
        self.asleep = HOUR


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A task that ended while the machine slept."""
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "sweep_every": 0}
    with harness(request.param, "asleep", **options) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        opened.do(opened.db.task_states.create(task("t", status=Status.SUCCESS)))
        Sleeper(opened).wake()
        yield opened


@pytest.mark.parametrize(
    "read",
    [
        lambda rows: rows.find("t"),
        lambda rows: rows.get_many(["t"]),
        lambda rows: rows.all().page(),
        lambda rows: rows.by_status(Status.SUCCESS).page(),
        lambda rows: rows.by_workflow("w").count(),
        lambda rows: rows.where(status=Status.SUCCESS, workflow_exec_id="w").page(),
        lambda rows: rows.where(task_exec_id="t").page(),
        lambda rows: rows.tree("t"),
        lambda rows: rows.with_task_states(rows.by_workflow("w")).list(),
    ],
)
def test_every_read_counts_with_the_servers_time(stores: Harness, read: Any) -> None:
    found = stores.do(read(stores.db.task_states))
    assert getattr(found, "rows", found) in (None, [], [None], 0, [[]])


def test_every_write_counts_with_the_servers_time(stores: Harness) -> None:
    with pytest.raises(NotFoundError):
        stores.do(stores.db.task_states.change("t", lambda _: None))
    with pytest.raises(NotFoundError):
        stores.do(stores.db.task_states.delete("t"))
    stores.do(stores.db.task_states.create(task("t")))
    assert stores.clean()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_unique_value_is_free_for_lookups_and_for_writes(flavour: str) -> None:
    package = depot()
    options: dict[str, Any] = {"module": package, "retention": {"Ticket": AT_ONCE}, "sweep_every": 0}
    with harness(flavour, "asleep-unique", **options) as stores:
        stores.do(stores.db.tickets.create(package.Ticket(id="t", code="c", state=package.State.CLOSED)))
        Sleeper(stores).wake()
        assert stores.do(stores.db.tickets.find_by_code("c")) is None
        stores.do(stores.db.tickets.create(package.Ticket(id="u", code="c", state=package.State.OPEN)))


def test_the_time_that_a_transaction_shows_is_the_servers(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        record = yield tx.task_states.create(task("new"))
        return record.created_at.timestamp()

    assert abs(stores.transact(steps) - time.time()) < 60


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_writes_sweep_what_ended_meanwhile(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tend_flows, "_MARGIN", 0)
    options: dict[str, Any] = {"retention": {"TaskState": AT_ONCE}, "sweep_every": 1}
    with harness(flavour, "asleep-sweep", **options) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("t", status=Status.SUCCESS)))
        Sleeper(stores).wake()
        stores.do(stores.db.workflow_states.upsert(run()))
        expiry = stores.db.session.context.partition(TASK_STATE).expiry
        assert stores.send(("ZCARD", expiry)) == [0]


def test_the_gauge_of_overdue_rows_counts_them(stores: Harness) -> None:
    state = stores.do(stores.db.session.run(measure(stores.db.session.context)))
    assert state.overdue == 1


def test_a_check_knows_that_a_native_ttl_was_due(stores: Harness) -> None:
    """A repair has given a row that ended long ago a TTL that ends later."""
    name = stores.db.session.context.partition(TASK_STATE).document("TaskState", "t")
    stores.send(("PEXPIRE", name, HOUR * 1000))
    with harness(stores.flavour, stores, grace_ms=1, sweep_every=0) as others:
        Sleeper(others).wake()
        assert others.do(others.db.check()).clean
