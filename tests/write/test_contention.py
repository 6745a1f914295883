"""Many concurrent writers of the same rows: threads, tasks and processes. No update is lost and no error surfaces."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, Status, UsageEntry
from keyweave.errors import LockTimeoutError, ReferenceViolationError
from tests.harness import FLAVOURS, Harness, errors_in, harness, run, task, user
from tests.servers.running import server_url

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Three stores on one namespace with one execution."""
    with harness(request.param, request.node.name, count=3) as opened:
        opened.do(opened.db.workflow_states.create(run(output={"count": 0})))
        yield opened


def once() -> Callable[[], bool]:
    """True the first time."""
    answers = iter([True])
    return lambda: next(answers, False)


@pytest.mark.parametrize("write", ["save", "upsert", "change"])
@pytest.mark.parametrize("lock", [True, False])
def test_concurrent_counting_transactions_lose_no_update(stores: Harness, lock: bool, write: str) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        if write == "change":
            if lock:
                yield tx.workflow_states.get_for_update("w")
            yield tx.workflow_states.change("w", lambda row: row.output.update(count=row.output["count"] + 1))
            return
        row = yield (tx.workflow_states.get_for_update("w") if lock else tx.workflow_states.get("w"))
        if write == "save":
            row.output = {"count": row.output["count"] + 1}
            yield tx.workflow_states.save(row)
        else:
            yield tx.workflow_states.upsert(run(output={"count": row.output["count"] + 1}))

    closure = stores.closure(steps)
    outcomes = stores.together([lambda store: store.transact(closure)] * 20)
    assert errors_in(outcomes) == []
    assert stores.do(stores.db.workflow_states.get("w")).output == {"count": 20}
    assert stores.clean()


def test_concurrent_changes_outside_transactions_lose_no_update(stores: Harness) -> None:
    def add(row: Any) -> None:
        row.output = {"count": row.output["count"] + 1}

    outcomes = stores.together([lambda store: store.workflow_states.change("w", add)] * 20)
    assert errors_in(outcomes) == []
    assert stores.do(stores.db.workflow_states.get("w")).output == {"count": 20}


def test_concurrent_merges_lose_no_element(stores: Harness) -> None:
    def merge(number: int) -> Callable[[Any], Any]:
        entry = UsageEntry(
            provider="p", model=f"m{number % 3}", prompt_tokens=number, agent_ids=[f"a{number % 5}"]
        )
        return lambda store: store.workflow_states.merge_usage("w", [entry])

    outcomes = stores.together([merge(number) for number in range(30)])
    assert errors_in(outcomes) == []
    usage = stores.do(stores.db.workflow_states.get("w")).usage
    assert {entry.model: entry.prompt_tokens for entry in usage} == {
        f"m{rest}": sum(range(rest, 30, 3)) for rest in range(3)
    }
    assert [entry.agent_ids for entry in usage] == [[f"a{number}" for number in range(5)]] * 3
    assert sum(entry.total_tokens for entry in usage) == sum(range(30))


def test_one_of_many_concurrent_claims_of_a_unique_value_wins(stores: Harness) -> None:
    def create(number: int) -> Callable[[Any], Any]:
        return lambda store: store.users.create(user(f"u{number}", email="one@X" if number % 2 else "ONE@x"))

    outcomes = stores.together([create(number) for number in range(10)])
    assert errors_in(outcomes) == ["EmailExistsError"] * 9
    (winner,) = [outcome for outcome in outcomes if not isinstance(outcome, EmailExistsError)]
    assert stores.do(stores.db.users.get_by_email("one@x")).id == winner.id
    assert [row.id for row in stores.do(stores.db.users.all())] == [winner.id]
    assert stores.clean()


@pytest.mark.parametrize("inside", [True, False])
def test_one_of_many_concurrent_inserts_of_a_key_wins(stores: Harness, inside: bool) -> None:
    def create(number: int) -> Callable[[Any], Any]:
        def steps(tx: Any) -> Generator[Any, Any, Any]:
            return (yield tx.users.create(user("u", email=f"{number}@x")))

        if inside:
            return lambda store: store.transact(stores.closure(steps))
        return lambda store: store.users.create(user("u", email=f"{number}@x"))

    outcomes = stores.together([create(number) for number in range(10)])
    assert errors_in(outcomes) == ["AlreadyExistsError"] * 9
    (winner,) = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert stores.do(stores.db.users.get("u")).email == winner.email
    taken = [stores.do(stores.db.users.find_by_email(f"{number}@x")) is not None for number in range(10)]
    assert sum(taken) == 1
    assert stores.clean()


@pytest.mark.parametrize("inside", [True, False])
def test_one_of_many_concurrent_first_admins_is_inserted(stores: Harness, inside: bool) -> None:
    def create(number: int) -> Callable[[Any], Any]:
        def steps(tx: Any) -> Generator[Any, Any, None]:
            yield tx.users.create(user(f"a{number}", Role.ADMIN), if_none="by_role")

        if inside:
            return lambda store: store.transact(stores.closure(steps))
        return lambda store: store.users.create(user(f"a{number}", Role.ADMIN), if_none="by_role")

    outcomes = stores.together([create(number) for number in range(20)])
    assert errors_in(outcomes) == ["ViewNotEmptyError"] * 19
    assert stores.do(stores.db.users.by_role(Role.ADMIN).count()) == 1
    assert stores.clean()


def test_the_last_of_many_concurrent_upserts_wins_and_the_index_agrees(stores: Harness) -> None:
    statuses = list(Status)

    def upsert(number: int) -> Callable[[Any], Any]:
        return lambda store: store.workflow_states.upsert(
            run("many", statuses[number % len(statuses)], output=number)
        )

    outcomes = stores.together([upsert(number) for number in range(20)])
    assert errors_in(outcomes) == []
    stored = stores.do(stores.db.workflow_states.get("many"))
    last = max(outcomes, key=lambda row: row.updated_at)
    assert (stored.output, stored.status, stored.updated_at) == (last.output, last.status, last.updated_at)
    assert len({row.updated_at for row in outcomes}) == 20
    assert {row.created_at for row in outcomes} == {min(row.updated_at for row in outcomes)}
    for status in statuses:
        rows = stores.do(stores.db.workflow_states.by_status(status).page()).rows
        assert ("many" in [row.workflow_exec_id for row in rows]) == (status is last.status)
    assert stores.clean()


@pytest.mark.parametrize("parent", ["w", "p"])
@pytest.mark.parametrize("inside", [True, False])
def test_no_insert_survives_the_delete_of_its_parent(stores: Harness, parent: str, inside: bool) -> None:
    above = "p" if parent == "p" else None
    for turn in range(6):
        stores.do(stores.db.workflow_states.upsert(run()))
        stores.do(stores.db.task_states.upsert(task("p")))
        rows = stores.db.workflow_states if parent == "w" else stores.db.task_states

        def insert(number: int, turn: int = turn) -> Callable[[Any], Any]:
            return lambda store: store.task_states.create(task(f"c{turn}.{number}", above))

        def remove(store: Any) -> Any:
            def steps(tx: Any) -> Generator[Any, Any, None]:
                yield (tx.workflow_states if parent == "w" else tx.task_states).delete(parent)

            if inside:
                return store.transact(stores.closure(steps))
            return (store.workflow_states if parent == "w" else store.task_states).delete(parent)

        calls = [insert(number) for number in range(8)]
        calls.insert(turn, remove)
        outcomes = stores.together(calls)
        assert outcomes[turn] is None
        assert stores.do(rows.find(parent)) is None
        failures = [error for error in outcomes if isinstance(error, Exception)]
        assert all(type(error) is ReferenceViolationError for error in failures)
        assert stores.do(stores.db.task_states.by_parent("p").count()) == 0
        left = stores.do(stores.db.task_states.by_workflow("w").count())
        assert left == 0
        assert stores.clean()


@pytest.mark.parametrize("write", ["save", "upsert", "delete", "second read"])
def test_an_expired_lock_loses_no_update(stores: Harness, write: str) -> None:
    """The lock's owner is slow. Another client acquires the expired lock and writes, so the owner runs again."""
    with harness(stores.flavour, "slow-" + write, lock_ttl=0.02) as slow:
        slow.do(slow.db.workflow_states.create(run(output=0)))
        first, tries = once(), []

        def steps(tx: Any) -> Generator[Any, Any, None]:
            row = yield tx.workflow_states.get_for_update("w")
            tries.append(row.output)
            if first():
                await_no_lock(slow)
                yield slow.db.transact(slow.closure(add_ten))
            if write == "delete":
                yield tx.workflow_states.delete("w")
                yield tx.workflow_states.create(run("result", output=row.output))
            elif write == "upsert":
                yield tx.workflow_states.upsert(run(output=row.output + 1))
            elif write == "second read":
                again = yield tx.workflow_states.get("w")
                again.output = row.output + 1
                yield tx.workflow_states.save(again)
            else:
                row.output += 1
                yield tx.workflow_states.save(row)

        def add_ten(tx: Any) -> Generator[Any, Any, None]:
            row = yield tx.workflow_states.get_for_update("w")
            row.output += 10
            yield tx.workflow_states.save(row)

        def await_no_lock(slow: Harness) -> None:
            # Blocks the loop on purpose: the owner is stuck until its lock has run out.
            name = slow.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")
            with harness("sync", slow) as watcher:
                deadline = time.monotonic() + 10
                while watcher.send(("EXISTS", name))[0]:
                    assert time.monotonic() < deadline
                    time.sleep(0.002)

        slow.transact(steps)
        assert tries == [0, 10]
        key, expected = ("result", 10) if write == "delete" else ("w", 11)
        assert slow.do(slow.db.workflow_states.get(key)).output == expected


def test_the_lock_of_a_client_that_died_is_acquired_after_it_expires(stores: Harness) -> None:
    """A client waits for an abandoned lock until its TTL ends, and no longer."""
    name = stores.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")

    def steps(tx: Any) -> Generator[Any, Any, None]:
        row = yield tx.workflow_states.get_for_update("w")
        row.output = "mine"
        yield tx.workflow_states.save(row)

    begun = time.monotonic()
    stores.send(("SET", name, "a client that died", "PX", 200))
    stores.transact(steps)
    assert 0.19 < time.monotonic() - begun < 5
    assert stores.db.stats.lock_waits > 0
    assert stores.do(stores.db.workflow_states.get("w")).output == "mine"
    assert stores.send(("EXISTS", name)) == [0]


def test_the_wait_for_a_held_lock_times_out(stores: Harness) -> None:
    name = stores.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")
    stores.send(("SET", name, "somebody"))

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.upsert(run("other"))
        yield tx.workflow_states.get_for_update("w", wait=0.1)

    begun = time.monotonic()
    with pytest.raises(LockTimeoutError) as caught:
        stores.transact(steps)
    assert 0.1 <= caught.value.waited <= time.monotonic() - begun < 5
    assert stores.do(stores.db.workflow_states.find("other")) is None
    assert stores.send(("GET", name)) == [b"somebody"]


def test_the_configured_lock_timeout_applies_to_every_lock(stores: Harness) -> None:
    with harness(stores.flavour, "impatient", lock_wait=0.05) as impatient:
        impatient.do(impatient.db.workflow_states.create(run()))
        name = impatient.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")
        impatient.send(("SET", name, "somebody"))

        def steps(tx: Any) -> Generator[Any, Any, None]:
            yield tx.workflow_states.get_for_update("w")

        with pytest.raises(LockTimeoutError) as caught:
            impatient.transact(steps)
        assert 0.05 <= caught.value.waited < 5


def test_two_locks_in_opposite_order_do_not_deadlock(stores: Harness) -> None:
    """Each owns the other's lock until the first lock expires; the guards make one of them run again."""
    with harness(stores.flavour, "crossed", count=2, lock_ttl=0.1) as crossed:
        for key in ("a", "b"):
            crossed.do(crossed.db.workflow_states.create(run(key, output=0)))

        def steps(first: str, second: str) -> Any:
            def inner(tx: Any) -> Generator[Any, Any, None]:
                for key in (first, second):
                    row = yield tx.workflow_states.get_for_update(key)
                    row.output += 1
                    yield tx.workflow_states.save(row)

            return crossed.closure(inner)

        closures = [steps("a", "b"), steps("b", "a")] * 4
        outcomes = crossed.together([methodcaller("transact", closure) for closure in closures])
        assert errors_in(outcomes) == []
        found = crossed.do(crossed.db.workflow_states.get_many(["a", "b"]))
        assert [row.output for row in found] == [8, 8]


PROGRAM = """\
import sys
from compozy_store import Role, UsageEntry, User
from compozy_store.sync import Store
from keyweave.errors import ViewNotEmptyError

url, namespace, name = sys.argv[1:]
with Store.open(url, namespace=namespace) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    won = False
    try:
        store.users.create(User(id=name, email=name + "@x", role=Role.ADMIN), if_none="by_role")
        won = True
    except ViewNotEmptyError:
        pass
    for number in range(20):
        store.workflow_states.merge_usage("w", [UsageEntry(provider="p", model="m", prompt_tokens=1 + number)])
    print("won" if won else "lost", flush=True)
"""


def test_the_guarantees_hold_between_processes() -> None:
    """Four processes merge into one list and compete for one empty view."""
    with harness("sync", "processes") as stores:
        stores.do(stores.db.workflow_states.create(run()))
        settings = stores.db.session.shell.settings
        url = f"unix://{settings.path}" if settings.path else server_url()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, url, stores.namespace, f"p{number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for number in range(4)
        ]
        outputs = []
        try:
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            outputs = [process.communicate(timeout=60)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        assert sorted(outputs) == ["lost\n"] * 3 + ["won\n"]
        (entry,) = stores.do(stores.db.workflow_states.get("w")).usage
        assert entry.prompt_tokens == 4 * sum(range(1, 21))
        (admin,) = stores.do(stores.db.users.by_role(Role.ADMIN))
        assert outputs[int(admin.id[1:])] == "won\n"
        assert stores.clean()
