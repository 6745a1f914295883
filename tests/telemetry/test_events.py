"""Events inside operations are counted by entity."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import Role, Status
from keyweave.effects import ConnectionFailure
from keyweave.errors import ConflictError, LockTimeoutError
from keyweave.telemetry.catalogue import METRICS, Kind
from keyweave.write import save as save_flows
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    harness,
    plans_in,
    run,
    task,
    user,
    watched,
)
from tests.telemetry.recording import Recording


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest, recording: Recording) -> Iterator[Harness]:
    """Two stores with one execution."""
    with harness(request.param, request.node.name, count=2, **recording.metrics_only) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


def test_a_lost_save_is_a_conflict(stores: Harness, recording: Recording) -> None:
    mine = stores.do(stores.db.workflow_states.get("w"))
    stores.do(stores.db.workflow_states.upsert(run(status=Status.PAUSED)))
    with pytest.raises(ConflictError):
        stores.do(stores.db.workflow_states.save(mine))
    assert recording.total("keyweave.conflicts", db_collection_name="WorkflowState") == 1
    assert stores.db.stats.conflicts == 1


def test_a_transaction_that_runs_again_is_a_conflict(stores: Harness, recording: Recording) -> None:
    tries: list[int] = []

    def steps(tx: Any) -> Generator[Any, Any, None]:
        row = yield tx.workflow_states.get("w")
        if not tries:
            tries.append(1)
            other = stores.stores[1].workflow_states.upsert(run(status=Status.PAUSED))
            if stores.flavour == "aio":
                yield other
        row.output = {"n": 1}
        yield tx.workflow_states.save(row)

    stores.transact(steps)
    assert recording.total("keyweave.conflicts") == 1
    assert recording.total("db.client.operation.duration", db_operation_name="transact") == 1
    assert recording.total("db.client.operation.duration", db_operation_name="tx.save") == 2


def test_a_write_that_is_sent_again_is_a_retry_and_a_replay(stores: Harness, recording: Recording) -> None:
    context = stores.db.session.context
    broken: list[int] = []

    def before(_: int, commands: Any) -> None:
        if plans_in(stores, commands) and not broken:
            broken.append(1)
            raise ConnectionFailure("closed", "the connection broke", sent=True)

    entity = context.package.entities["User"]
    flow = save_flows.create(context, entity, user("u", Role.USER))
    stores.do(stores.db.session.run(watched(stores, flow, before)))
    assert recording.total("keyweave.retries") == 1
    assert recording.total("keyweave.replays") == 1


def test_locks_are_timed(stores: Harness, recording: Recording) -> None:
    name = stores.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.get_for_update("w")

    stores.transact(steps)
    assert recording.total("keyweave.lock.hold_time", db_collection_name="WorkflowState") == 1
    assert recording.total("keyweave.lock.wait_time") == 0
    stores.send(("SET", name, "somebody", "PX", 100))
    began = time.monotonic()
    stores.transact(steps)
    took = time.monotonic() - began
    (waited,) = recording.points("keyweave.lock.wait_time")
    assert waited.count == 1
    assert 0 < waited.value < took
    assert waited.attributes["db.collection.name"] == "WorkflowState"
    assert recording.total("keyweave.lock.timeouts") == 0


def test_a_lock_that_is_not_released_is_a_timeout(stores: Harness, recording: Recording) -> None:
    name = stores.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")
    stores.send(("SET", name, "somebody", "PX", 60_000))

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.get_for_update("w", wait=0.02)

    with pytest.raises(LockTimeoutError):
        stores.transact(steps)
    assert recording.total("keyweave.lock.timeouts", db_collection_name="WorkflowState") == 1
    assert recording.total("keyweave.lock.wait_time") == 1
    assert recording.total("keyweave.lock.hold_time") == 0
    assert stores.db.stats.lock_timeouts == 1
    stores.send(("DEL", name))


def test_dead_rows_are_counted_when_read_and_when_swept(
    recording: Recording, request: pytest.FixtureRequest
) -> None:
    retention = {"TaskState": AT_ONCE}
    with harness("sync", request.node.name, retention=retention, **recording.metrics_only) as stores:
        stores.db.workflow_states.create(run())
        add_tasks(stores, [task(f"t{number}", status=Status.SUCCESS) for number in range(3)])
        assert stores.db.task_states.find("t0") is None
        assert (
            recording.total("keyweave.dead.met", db_collection_name="TaskState", keyweave_reason="expired")
            == 1
        )
        assert stores.db.sweep() == 3
        assert recording.total("keyweave.sweep.rows", db_collection_name="TaskState") == 3
        (delay,) = recording.points("keyweave.sweep.delay")
        assert delay.count == 3
        assert 0 < delay.value < 30


def test_entries_without_a_document_are_counted_and_healed(stores: Harness, recording: Recording) -> None:
    add_tasks(stores, [task("t")])
    partition = stores.db.session.context.keyspace.partition("execution")
    stores.send(("DEL", partition.document("TaskState", "t")))
    assert stores.do(stores.db.task_states.all().page()).rows == []
    assert (
        recording.total("keyweave.dead.met", db_collection_name="TaskState", keyweave_reason="dangling") == 1
    )
    assert recording.total("keyweave.dead.healed", db_collection_name="TaskState") == 1


def test_gauges_show_the_backlog_of_retention(recording: Recording, request: pytest.FixtureRequest) -> None:
    retention = {"TaskState": timedelta(milliseconds=1)}
    with harness("sync", request.node.name, retention=retention, **recording.metrics_only) as stores:
        stores.db.workflow_states.create(run())
        assert (recording.total("keyweave.sweep.overdue"), recording.total("keyweave.sweep.lag")) == (0, 0)
        add_tasks(stores, [task(f"t{number}", status=Status.SUCCESS) for number in range(3)])
        until = time.monotonic() + 20
        while recording.total("keyweave.sweep.overdue") < 3:
            assert time.monotonic() < until
        assert 0 < recording.total("keyweave.sweep.lag") < 30
        with (
            harness("sync", stores, **recording.metrics_only),
            harness("sync", "other", **recording.metrics_only),
        ):
            assert (
                recording.total("keyweave.sweep.overdue") == 3
            ), "rows count once, however many stores see them"
        stores.db.sweep()
        assert (recording.total("keyweave.sweep.overdue"), recording.total("keyweave.sweep.lag")) == (0, 0)


def test_every_counter_is_there_before_anything_happens(stores: Harness, recording: Recording) -> None:
    """A query for the increase of a counter returns nothing if the counter appears with its first event."""
    counters = [metric for metric in METRICS if metric.kind is Kind.COUNTER]
    for metric in counters:
        points = recording.points(metric.name)
        assert points, metric.name
        assert {point.value for point in points} == {0}, metric.name
        entities = {point.attributes.get("db.collection.name") for point in points}
        if "db.collection.name" in metric.attributes:
            assert entities >= {"User", "APIKey", "WorkflowState", "TaskState"}
