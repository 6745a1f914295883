"""Retention: deadlines are set and cleared with the status, and a row is invisible from its deadline on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import APIKey, Role, Status, TaskState, UsageEntry, User
from compozy_store.entities import TASK_STATE
from keyweave.document.head import read_head
from keyweave.errors import (
    AlreadyExistsError,
    ConfigurationError,
    NotFoundError,
    ReferenceViolationError,
    UniqueViolationError,
)
from keyweave.store.clock import ServerClock
from tests.depot import depot
from tests.harness import AT_ONCE, FLAVOURS, Harness, add_tasks, harness, in_batches, run, task

HOUR = 3_600_000_000
DAY = 24 * HOUR


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stores(flavour: str, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Terminal rows expire at once. The execution `w` has a live task and a dead one; `over` is dead."""
    retention = {"TaskState": AT_ONCE, "WorkflowState": AT_ONCE}
    with harness(flavour, request.node.name, count=2, retention=retention) as opened:
        for key in ("w", "over"):
            opened.do(opened.db.workflow_states.create(run(key)))
        rows = [task("live"), task("dead"), task("below", "live"), task("of over", workflow="over")]
        add_tasks(opened, [*rows, task("gone below", "live", name="gone")])
        for key in ("dead", "gone below"):
            finish(opened, key)
        opened.do(opened.db.workflow_states.change("over", lambda row: setattr(row, "status", Status.FAILED)))
        yield opened


def finish(stores: Harness, key: str, status: Status = Status.SUCCESS) -> None:
    stores.do(stores.db.task_states.change(key, lambda row: setattr(row, "status", status)))


def deadline(stores: Harness, key: str, name: str = "TaskState") -> tuple[int, int, Any, Any]:
    """A row's revision, and its deadline in the head, in the expiry set and as native TTL."""
    partition = stores.db.session.context.partition(TASK_STATE)
    place = partition.document(name, key)
    document, score, ends = stores.send(
        ("GET", place), ("ZSCORE", partition.expiry, partition.expiring(name, key)), ("PEXPIRETIME", place)
    )
    head = read_head(document)
    assert head is not None
    return head.revision, head.expires, score, ends


@pytest.mark.parametrize("way", ["change", "save", "upsert", "transaction"])
def test_a_deadline_is_set_cleared_and_set_again_with_the_status(flavour: str, way: str) -> None:
    with harness(flavour, f"deadline-{flavour}-{way}", retention={"TaskState": timedelta(hours=2)}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        record = stores.do(stores.db.task_states.create(task("t")))

        def write(status: Status) -> tuple[int, int, Any, Any]:
            nonlocal record
            if way == "change":
                finish(stores, "t", status)
            elif way == "save":
                record.status = status
                record = stores.do(stores.db.task_states.save(record))
            elif way == "upsert":
                stores.do(stores.db.task_states.upsert(task("t", status=status)))
            else:
                stores.transact(lambda tx: (yield tx.task_states.upsert(task("t", status=status))))
            return deadline(stores, "t")

        _, expires, score, ends = deadline(stores, "t")
        assert (expires, score, ends) == (0, None, -1)
        revision, first, score, ends = write(Status.SUCCESS)
        assert 0 <= revision - (first - 2 * HOUR) < 1_000_000
        assert (float(score), ends) == (first, first // 1000 + DAY // 1000)
        _, expires, score, ends = write(Status.CANCELED)
        assert (expires, float(score), ends) == (first, first, first // 1000 + DAY // 1000)
        _, expires, score, ends = write(Status.RUNNING)
        assert (expires, score, ends) == (0, None, -1)
        _, expires, score, ends = write(Status.TIMED_OUT)
        assert expires == float(score) > first
        assert stores.clean()


def in_transaction(*calls: Callable[[Any], Any]) -> Callable[[Any], Generator[Any, Any, None]]:
    """Steps that make calls one after the other."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for call in calls:
            yield call(tx)

    return steps


def status(value: Status) -> Callable[[Any], Any]:
    return lambda on: on.task_states.change("t", lambda row: setattr(row, "status", value))


def test_a_transaction_sets_the_deadline_of_its_last_write(flavour: str) -> None:
    """Only the state that the transaction writes counts, not its intermediate states."""
    done, running = status(Status.SUCCESS), status(Status.RUNNING)
    with harness(flavour, f"last-word-{flavour}", retention={"TaskState": timedelta(hours=2)}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("t")))
        stores.transact(in_transaction(done, running))
        assert deadline(stores, "t")[1:] == (0, None, -1)
        stores.transact(in_transaction(running, done))
        _, first, score, _ = deadline(stores, "t")
        assert first == float(score) > 0
        stores.transact(in_transaction(running, done))
        assert deadline(stores, "t")[1] == first, "it has never been seen to leave its status"
        stores.transact(in_transaction(status(Status.FAILED), running))
        assert deadline(stores, "t")[1:] == (0, None, -1)
        stores.transact(in_transaction(lambda on: on.task_states.create(task("new", status=Status.CANCELED))))
        revision, expires, *_ = deadline(stores, "new")
        assert 0 <= revision - (expires - 2 * HOUR) < 1_000_000
        assert stores.clean()


def test_a_rolled_back_transaction_leaves_every_deadline_unchanged(flavour: str) -> None:
    class Boom(Exception):
        pass

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield status(Status.RUNNING)(tx)
        raise Boom

    with harness(flavour, f"discarded-{flavour}", retention={"TaskState": timedelta(hours=2)}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("t", status=Status.SUCCESS)))
        before = stores.contents()
        with pytest.raises(Boom):
            stores.transact(steps)
        assert stores.contents() == before


def test_writes_that_keep_the_status_keep_the_deadline(flavour: str) -> None:
    entry = UsageEntry(provider="p", model="m", prompt_tokens=1)
    with harness(flavour, f"alone-{flavour}", retention={"TaskState": timedelta(hours=2)}) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        for key, state in (("t", Status.SUCCESS), ("r", Status.RUNNING)):
            stores.do(stores.db.task_states.create(task(key, status=state)))
            ends = deadline(stores, key)[1:]
            stores.do(stores.db.task_states.merge_usage(key, [entry]))
            stores.do(stores.db.task_states.change(key, lambda row: setattr(row, "output", {"n": 1})))
            stores.do(stores.db.task_states.upsert(task(key, status=state, output=[])))
            stores.transact(in_transaction(lambda on, key=key: on.task_states.merge_usage(key, [entry])))  # type: ignore[misc]
            assert deadline(stores, key)[1:] == ends
        assert stores.clean()


@pytest.mark.parametrize("way", ["delete", "transaction"])
def test_a_deleted_row_leaves_no_deadline(flavour: str, way: str) -> None:
    with harness(flavour, f"no-deadline-{flavour}-{way}") as stores:
        stores.do(stores.db.workflow_states.create(run()))
        before = stores.contents()
        stores.do(stores.db.task_states.create(task("t", status=Status.SUCCESS)))
        if way == "delete":
            stores.do(stores.db.task_states.delete("t"))
        else:
            stores.transact(in_transaction(lambda on: on.task_states.delete("t")))
        assert stores.contents() == before


def test_a_new_retention_applies_only_to_new_deadlines(flavour: str) -> None:
    """A row keeps its deadline when a program with another configuration writes it."""
    with (
        harness(flavour, f"new-{flavour}", retention={"TaskState": timedelta(hours=2)}) as old,
        harness(flavour, old, retention={"TaskState": timedelta(hours=1)}) as new,
    ):
        old.do(old.db.workflow_states.create(run()))
        old.do(old.db.task_states.create(task("t", status=Status.SUCCESS)))
        first = deadline(old, "t")[1]
        new.do(new.db.task_states.change("t", lambda row: setattr(row, "output", 1)))
        assert deadline(old, "t")[1] == first
        finish(new, "t", Status.RUNNING)
        finish(new, "t")
        revision, expires, *_ = deadline(old, "t")
        assert 0 <= revision - (expires - HOUR) < 1_000_000


@pytest.mark.parametrize("inside", [True, False])
def test_touching_a_row_keeps_its_deadline(flavour: str, inside: bool) -> None:
    """A user has no deadline, and touching one of its keys sets none."""
    with harness(flavour, f"touch-{flavour}-{inside}") as stores:
        stores.do(stores.db.users.create(User(id="u", email="u@x", role=Role.USER)))
        stores.do(
            stores.db.api_keys.create(APIKey(id="k", user_id="u", hash=b"h", fingerprint=b"f", prefix="p"))
        )

        def touch(on: Any) -> Any:
            return on.api_keys.touch_last_used("k")

        stores.transact(in_transaction(touch)) if inside else stores.do(touch(stores.db))
        ends = [stores.contents()[key][2] for key in stores.contents()]
        assert set(ends) == {-1}
        assert not [key for key in stores.contents() if "@expiry" in key]


@pytest.mark.parametrize(
    ("override", "tasks", "runs"),
    [
        ({}, 14 * DAY, 60 * DAY),
        ({"TaskState": timedelta(days=7)}, 7 * DAY, 60 * DAY),
        ({"WorkflowState": timedelta(days=90), "TaskState": timedelta(seconds=1)}, 1_000_000, 90 * DAY),
    ],
)
def test_each_entity_has_its_own_retention(
    flavour: str, override: dict[str, timedelta], tasks: int, runs: int
) -> None:
    with harness(flavour, f"{flavour}-{tasks}-{runs}", retention=override) as stores:
        stores.do(stores.db.workflow_states.create(run("done", Status.SUCCESS)))
        revision, expires, *_ = deadline(stores, "done", "WorkflowState")
        assert 0 <= revision - (expires - runs) < 1_000_000
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("t", status=Status.FAILED)))
        revision, expires, *_ = deadline(stores, "t")
        assert 0 <= revision - (expires - tasks) < 1_000_000


@pytest.mark.parametrize(
    "override",
    [
        {"User": timedelta(1)},
        {"TaskState": timedelta(0)},
        {"TaskState": timedelta(-1)},
        {"TaskState": 5},
        {"TaskState": timedelta(days=36_501)},
    ],
)
def test_an_invalid_retention_is_refused(override: Any) -> None:
    with pytest.raises(ConfigurationError), harness("sync", "refused", retention=override):
        pass


@pytest.mark.parametrize("skew", [-80_000, 0, 80_000])
def test_a_row_is_visible_until_its_deadline_and_not_after(flavour: str, skew: int) -> None:
    """The deadline is exact although the client's estimate of the server's time may be off by almost 0.1 s."""
    retention = {"TaskState": timedelta(milliseconds=150)}
    with harness(flavour, f"until-{flavour}-{skew}", retention=retention) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        stores.do(stores.db.task_states.create(task("t", status=Status.SUCCESS)))
        _, expires, *_ = deadline(stores, "t")
        seen = 0
        while True:
            before = now(stores)
            stores.db.session.context.state.clock.set(before + skew)
            found = stores.do(stores.db.task_states.find("t"))
            after = now(stores)
            if found is None:
                break
            assert before < expires
            seen += 1
        assert after >= expires
        assert seen > 0


def now(stores: Harness) -> int:
    ((seconds, micros),) = stores.send(("TIME",))
    return int(seconds) * 1_000_000 + int(micros)


def names(rows: Any) -> list[str]:
    return sorted(row.task_exec_id for row in rows)


READS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "find": (lambda on: on.task_states.find("dead"), None),
    "get_many": (lambda on: on.task_states.get_many(["dead", "gone below"]), [None, None]),
    "list": (lambda on: on.task_states.by_workflow("w").reverse().page(limit=2), ["below", "live"]),
    "list of status": (lambda on: on.task_states.by_status(Status.SUCCESS).page(), []),
    "iterate": (lambda on: in_batches(on.task_states.all(), 1), ["below", "live", "of over"]),
    "iterate a filter": (lambda on: on.task_states.where(workflow_id="f", task_id="gone"), []),
    "fetch": (lambda on: on.task_states.all().list(), ["below", "live", "of over"]),
    "fetch a filter": (lambda on: on.task_states.where(workflow_id="f", task_id="gone").list(), []),
    "search": (lambda on: on.task_states.where(parent_state_id="live").page(), ["below"]),
    "search a key": (lambda on: on.task_states.where(task_exec_id="dead").page(), []),
    "count": (lambda on: on.task_states.by_workflow("w").count(), 2),
    "count all": (lambda on: on.task_states.all().count(), 3),
    "group counts": (lambda on: on.task_states.by_parent_status("live").group_counts(), {Status.RUNNING: 1}),
    "group counts of all": (lambda on: on.task_states.by_status().group_counts(), {Status.RUNNING: 3}),
    "tree": (lambda on: on.task_states.tree("live"), ["below", "live"]),
    "tree of nothing": (lambda on: on.task_states.tree("dead"), []),
    "executions": (lambda on: on.workflow_states.all().count(), 1),
    "execution": (lambda on: on.workflow_states.find("over"), None),
}


def plain(found: Any) -> Any:
    """Names in place of rows."""
    rows = getattr(found, "rows", found)
    return names(rows) if isinstance(rows, list) and rows and isinstance(rows[0], TaskState) else rows


@pytest.mark.parametrize("read", READS)
def test_a_dead_row_is_invisible_to_every_read(stores: Harness, read: str) -> None:
    ask, expected = READS[read]

    def steps(tx: Any) -> Generator[Any, Any, Any]:
        return (yield ask(tx))

    def buffering(tx: Any) -> Generator[Any, Any, Any]:
        yield tx.users.all().count()
        yield tx.task_states.change("live", lambda row: setattr(row, "output", 1))
        return (yield ask(tx))

    assert plain(stores.do(ask(stores.db))) == expected
    assert plain(stores.transact(steps)) == expected
    assert plain(stores.transact(buffering)) == expected


WRITES: dict[str, Callable[[Any], Any]] = {
    "get": lambda on: on.task_states.get("dead"),
    "change": lambda on: on.task_states.change("dead", lambda row: setattr(row, "output", 1)),
    "delete": lambda on: on.task_states.delete("dead"),
    "merge": lambda on: on.task_states.merge_usage("dead", [UsageEntry(provider="p", model="m")]),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_dead_row_is_missing_for_every_write(stores: Harness, write: str) -> None:
    before = stores.contents()
    with pytest.raises(NotFoundError):
        stores.do(WRITES[write](stores.db))
    with pytest.raises(NotFoundError):
        stores.transact(lambda tx: (yield WRITES[write](tx)))
    with pytest.raises(NotFoundError):
        stores.transact(lambda tx: (yield tx.task_states.get_for_update("dead")))
    assert stores.do(stores.db.task_states.discard("dead")) is False
    assert stores.contents() == before


@pytest.mark.parametrize("inside", [True, False])
def test_nothing_can_refer_to_a_dead_row(stores: Harness, inside: bool) -> None:
    def perform(call: Callable[[Any], Any]) -> None:
        if inside:
            stores.transact(lambda tx: (yield call(tx)))
        else:
            stores.do(call(stores.db))

    def refused(call: Callable[[Any], Any]) -> None:
        with pytest.raises(ReferenceViolationError):
            perform(call)

    before = stores.contents()
    refused(lambda on: on.task_states.create(task("new", workflow="over")))
    refused(lambda on: on.task_states.upsert(task("new", "dead")))
    refused(lambda on: on.task_states.change("below", lambda row: setattr(row, "parent_state_id", "dead")))
    assert stores.contents() == before


@pytest.mark.parametrize("way", ["create", "upsert", "transaction"])
def test_the_key_of_a_dead_row_is_free_for_a_new_row(stores: Harness, way: str) -> None:
    """It has its own creation time, and nothing of the dead row's family is left."""
    opened = now(stores)
    if way == "transaction":
        stores.transact(lambda tx: (yield tx.workflow_states.create(run("over"))))
    else:
        stores.do(getattr(stores.db.workflow_states, way)(run("over")))
    again = stores.do(stores.db.workflow_states.get("over"))
    assert again.created_at.timestamp() * 1e6 >= opened - 1
    assert again.created_at == again.updated_at
    assert deadline(stores, "over", "WorkflowState")[1:] == (0, None, -1)
    assert stores.do(stores.db.task_states.find("of over")) is None
    assert stores.do(stores.db.workflow_states.all().count()) == 2
    with pytest.raises(AlreadyExistsError):
        stores.do(stores.db.workflow_states.create(run("over")))
    stores.do(stores.db.sweep())
    assert stores.clean()


@pytest.mark.parametrize("way", ["create", "upsert", "transaction"])
def test_the_unique_value_of_a_dead_row_is_free_at_once(flavour: str, way: str) -> None:
    def ticket(key: str, state: str) -> Any:
        return depot().Ticket(id=key, code="Code", state=depot().State(state))

    retention = {"Ticket": AT_ONCE}
    with harness(flavour, f"ticket-{flavour}-{way}", module=depot(), retention=retention) as stores:
        stores.do(stores.db.tickets.create(ticket("old", "open")))
        with pytest.raises(UniqueViolationError):
            stores.do(stores.db.tickets.create(ticket("new", "open")))
        stores.do(stores.db.tickets.change("old", lambda row: setattr(row, "state", depot().State.CLOSED)))
        assert stores.do(stores.db.tickets.find_by_code("code")) is None
        if way == "transaction":
            stores.transact(lambda tx: (yield tx.tickets.create(ticket("new", "open"))))
        else:
            stores.do(getattr(stores.db.tickets, way)(ticket("new", "open")))
        assert stores.do(stores.db.tickets.get_by_code("CODE")).id == "new"
        report = stores.do(stores.db.check())
        assert (report.clean, report.documents) == (True, 1)


def test_deletes_in_a_transaction_do_not_count_dead_rows_twice(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        assert (yield tx.task_states.by_workflow("w").count()) == 2
        yield tx.task_states.delete("live")
        assert (yield tx.task_states.by_workflow("w").count()) == 0
        assert (yield tx.task_states.all().count()) == 1
        assert (yield tx.task_states.by_status().group_counts()) == {Status.RUNNING: 1}

    stores.transact(steps)
    assert stores.do(stores.db.task_states.all().count()) == 1
    stores.do(stores.db.sweep())
    assert stores.clean()


def test_a_thread_never_combines_the_time_of_one_reply_with_the_age_of_another() -> None:
    """Another thread sets a new time while this thread computes."""
    moments = iter([0.0, 3600.0, 3600.0])

    def monotonic() -> float:
        moment = next(moments)
        if moment and not answered:
            answered.append(True)
            clock.set(1_000_000_000 + 3_600_000_000)
        return moment

    answered: list[bool] = []
    clock = ServerClock(monotonic)
    clock.set(1_000_000_000)
    assert clock.now() == 1_000_000_000 + 3_600_000_000
