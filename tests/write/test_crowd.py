"""A crowd on one row: callers of one process write it together. Counts are exact, and each caller gets what is its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, Status, UsageEntry, aio
from keyweave.errors import (
    ConflictError,
    LockTimeoutError,
    NotFoundError,
    OutcomeUnknownError,
    StoreTimeoutError,
    ValidationError,
)
from tests.harness import FLAVOURS, Harness, errors_in, exchanges, harness, run, user
from tests.servers.running import new_namespace, server_url
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


class Refused(Exception):
    """What a function raises."""


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """One store with one execution and one user."""
    with harness(request.param, request.node.name) as opened:
        opened.do(opened.db.workflow_states.create(run(output=[])))
        opened.do(opened.db.users.create(user("u")))
        yield opened


def append(number: int) -> Callable[[Any], Any]:
    """A call that appends a number to the output of the execution."""

    def function(row: Any) -> None:
        row.output = [*row.output, number]

    return lambda store: store.workflow_states.change("w", function)


def output(stores: Harness) -> Any:
    return stores.do(stores.db.workflow_states.get("w")).output


@pytest.mark.parametrize("number", [16, 300])
def test_each_caller_gets_the_state_after_its_own_function(stores: Harness, number: int) -> None:
    with exchanges(stores) as sent:
        outcomes = stores.together([append(each) for each in range(number)])
    assert errors_in(outcomes) == []
    final = output(stores)
    assert sorted(final) == list(range(number))
    for each, outcome in enumerate(outcomes):
        assert outcome.output == final[: final.index(each) + 1]
    assert len({outcome.updated_at for outcome in outcomes}) == number
    assert sorted(outcomes, key=lambda row: row.updated_at) == sorted(
        outcomes, key=lambda row: len(row.output)
    )
    assert len(sent) <= 4 + number // 8, "a crowd takes an exchange for each batch, not for each caller"
    assert stores.clean()


def test_a_caller_alone_takes_one_exchange(stores: Harness) -> None:
    stores.do(append(0)(stores.db))
    with exchanges(stores) as sent:
        stores.do(append(1)(stores.db))
    assert len(sent) == 1


@pytest.mark.parametrize("number", [16, 100])
def test_every_method_takes_its_turn(stores: Harness, number: int) -> None:
    entry = UsageEntry(provider="p", model="m", prompt_tokens=1)
    stores.do(stores.db.workflow_states.change("w", lambda row: setattr(row, "output", {"count": 0})))

    def count(row: Any) -> None:
        row.output = {"count": row.output["count"] + 1}

    def locked(tx: Any) -> Generator[Any, Any, None]:
        row = yield tx.workflow_states.get_for_update("w")
        count(row)
        yield tx.workflow_states.save(row)

    closure = stores.closure(locked)
    calls: list[Callable[[Any], Any]] = [
        lambda store: store.workflow_states.change("w", count),
        lambda store: store.workflow_states.merge_usage("w", [entry]),
        lambda store: store.workflow_states.update("w", status=Status.PENDING),
        lambda store: store.transact(closure),
    ]
    outcomes = stores.together([calls[each % 4] for each in range(number)])
    assert errors_in(outcomes) == []
    row = stores.do(stores.db.workflow_states.get("w"))
    assert row.output == {"count": number // 2}
    assert [each.prompt_tokens for each in row.usage] == [number // 4]
    assert row.status is Status.PENDING
    assert stores.clean()


def test_upserts_of_one_row_are_written_in_order(stores: Harness) -> None:
    def upsert(number: int) -> Callable[[Any], Any]:
        return lambda store: store.workflow_states.upsert(run("new", output=number))

    outcomes = stores.together([upsert(number) for number in range(100)])
    assert errors_in(outcomes) == []
    assert [outcome.output for outcome in outcomes] == list(range(100))
    stored = stores.do(stores.db.workflow_states.get("new"))
    last = max(outcomes, key=lambda row: row.updated_at)
    assert (stored.output, stored.created_at) == (last.output, min(row.updated_at for row in outcomes))
    assert stores.clean()


def test_the_effects_of_a_function_that_raises_are_left_out(stores: Harness) -> None:
    def refuse(number: int) -> Callable[[Any], Any]:
        def function(row: Any) -> None:
            row.output = [*row.output, number]
            raise Refused(number)

        return lambda store: store.workflow_states.change("w", function)

    outcomes = stores.together([(refuse if each % 3 == 0 else append)(each) for each in range(60)])
    kept = [each for each in range(60) if each % 3]
    assert sorted(output(stores)) == kept
    for each, outcome in enumerate(outcomes):
        if each % 3:
            assert outcome.output[-1] == each
        else:
            assert isinstance(outcome, Refused)
            assert outcome.args == (each,)


def test_all_functions_raise(stores: Harness) -> None:
    def function(row: Any) -> None:
        raise Refused

    outcomes = stores.together([lambda store: store.workflow_states.change("w", function)] * 40)
    assert errors_in(outcomes) == ["Refused"] * 40
    assert output(stores) == []


def test_an_invalid_record_is_an_error_of_its_own_caller(stores: Harness) -> None:
    def spoil(row: Any) -> None:
        row.workflow_id = 7

    def rename(row: Any) -> None:
        row.workflow_exec_id = "other"

    def wrong(row: Any) -> Any:
        return "nothing"

    bad = [
        lambda store, function=function: store.workflow_states.change("w", function)
        for function in (spoil, rename, wrong)
    ]
    outcomes = stores.together([bad[each % 12 // 4] if each % 4 == 0 else append(each) for each in range(48)])
    assert errors_in(outcomes) == ["ValidationError"] * 12
    assert all(isinstance(outcomes[each], ValidationError) for each in range(0, 48, 4))
    assert sorted(output(stores)) == [each for each in range(48) if each % 4]


def test_a_taken_unique_value_is_an_error_of_its_own_caller(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("other", email="taken@x")))

    def claim(number: int) -> Callable[[Any], Any]:
        email = "TAKEN@x" if number % 4 == 0 else f"{number}@x"
        return lambda store: store.users.update("u", email=email)

    def promote(number: int) -> Callable[[Any], Any]:
        role = Role.ADMIN if number % 2 else Role.USER
        return lambda store: store.users.update("u", role=role)

    outcomes = stores.together([(claim if each % 2 == 0 else promote)(each) for each in range(48)])
    assert errors_in(outcomes) == ["EmailExistsError"] * 12
    assert all(isinstance(outcomes[each], EmailExistsError) for each in range(0, 48, 4))
    kept = {outcome.email for outcome in outcomes if not isinstance(outcome, Exception)}
    stored = stores.do(stores.db.users.get("u"))
    assert stored.email in kept
    assert stores.do(stores.db.users.get_by_email(stored.email)).id == "u"
    assert stores.do(stores.db.users.get_by_email("taken@x")).id == "other"
    assert stores.clean()


def test_a_row_that_does_not_exist(stores: Harness) -> None:
    def change(number: int) -> Callable[[Any], Any]:
        return lambda store: store.workflow_states.update("none", status=Status.FAILED)

    outcomes = stores.together([change(each) for each in range(30)])
    assert all(isinstance(outcome, NotFoundError) for outcome in outcomes)
    assert stores.do(stores.db.workflow_states.find("none")) is None


def test_a_record_can_be_saved_later_unless_others_wrote_after_it(stores: Harness) -> None:
    outcomes = stores.together([append(each) for each in range(40)])
    final = output(stores)
    for each, outcome in enumerate(outcomes):
        outcome.status = Status.FAILED
        if each != final[-1]:
            with pytest.raises(ConflictError):
                stores.do(stores.db.workflow_states.save(outcome))
    stores.do(stores.db.workflow_states.save(outcomes[final[-1]]))
    row = stores.do(stores.db.workflow_states.get("w"))
    assert (row.output, row.status) == (final, Status.FAILED)
    again = outcomes[final[0]]
    stores.do(stores.db.workflow_states.upsert(again))
    assert output(stores) == again.output
    assert stores.clean()


@pytest.mark.parametrize("number", [16, 200])
def test_locked_transactions_take_their_turns_without_asking_the_server(stores: Harness, number: int) -> None:
    def locked(tx: Any) -> Generator[Any, Any, int]:
        row = yield tx.workflow_states.get_for_update("w")
        row.output = [*row.output, len(row.output)]
        yield tx.workflow_states.save(row)
        return len(row.output)

    closure = stores.closure(locked)
    with exchanges(stores) as sent:
        outcomes = stores.together([lambda store: store.transact(closure)] * number)
    assert errors_in(outcomes) == []
    assert sorted(outcomes) == list(range(1, number + 1))
    assert output(stores) == list(range(number))
    assert len(sent) <= 2 * number + number // 8 + 4
    name = stores.db.session.context.keyspace.partition("execution").lock("WorkflowState", "w")
    assert stores.send(("EXISTS", name)) == [0]


def test_a_transaction_that_raises_passes_the_lock_on(stores: Harness) -> None:
    def locked(number: int) -> Callable[[Any], Any]:
        def steps(tx: Any) -> Generator[Any, Any, None]:
            row = yield tx.workflow_states.get_for_update("w")
            row.output = [*row.output, number]
            yield tx.workflow_states.save(row)
            if number % 2:
                raise Refused

        closure = stores.closure(steps)
        return lambda store: store.transact(closure)

    outcomes = stores.together([locked(each) for each in range(40)])
    assert errors_in(outcomes) == ["Refused"] * 20
    assert sorted(output(stores)) == list(range(0, 40, 2))


def test_a_transaction_waits_in_the_queue_no_longer_than_it_may(stores: Harness) -> None:
    held = threading.Event() if stores.flavour == "sync" else None
    gate = asyncio.Event()

    def holding(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.get_for_update("w")
        yield from stay()

    def stay() -> Generator[Any, Any, None]:
        if held is not None:
            held.wait(30)
        else:
            yield gate.wait()

    def impatient(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.get_for_update("w", wait=0.1)

    def call(store: Any) -> Any:
        begun = time.monotonic()
        try:
            return store.transact(stores.closure(impatient))
        finally:
            if held is not None:
                assert time.monotonic() - begun < 20
                held.set()

    async def waiting(store: Any) -> None:
        try:
            await store.transact(stores.closure(impatient))
        finally:
            gate.set()

    outcomes = stores.together(
        [
            lambda store: store.transact(stores.closure(holding)),
            call if stores.flavour == "sync" else waiting,
        ]
    )
    # Either may be first in the queue; if the impatient one is, it holds no lock for long.
    assert all(outcome is None or isinstance(outcome, LockTimeoutError) for outcome in outcomes)


def blocking(stores: Harness, begun: Any, gate: Any) -> Callable[[Any], Any]:
    """A function of `change` that says when it runs and then waits for a gate."""

    def sync(row: Any) -> None:
        begun.set()
        assert gate.wait(30)
        row.output = [*row.output, "slow"]

    async def aio(row: Any) -> None:
        begun.set()
        await gate.wait()
        row.output = [*row.output, "slow"]

    return sync if stores.flavour == "sync" else aio


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_deadline_that_passes_in_the_queue(flavour: str) -> None:
    with harness(flavour, "late", deadline=0.4) as stores:
        stores.do(stores.db.workflow_states.create(run(output=[])))
        kind: Any = threading.Event if flavour == "sync" else asyncio.Event
        begun, gate = kind(), kind()
        slow = blocking(stores, begun, gate)
        late: list[Any] = []

        def note(number: int) -> Callable[[Any], Any]:
            def call(store: Any) -> Any:
                begun.wait(30)
                try:
                    return append(number)(store)
                except StoreTimeoutError as error:
                    late.append(error)
                    if len(late) == 20:
                        gate.set()
                    raise

            async def waiting(store: Any) -> Any:
                await begun.wait()
                try:
                    return await append(number)(store)
                except StoreTimeoutError as error:
                    late.append(error)
                    if len(late) == 20:
                        gate.set()
                    raise

            return call if flavour == "sync" else waiting

        outcomes = stores.together(
            [lambda store: store.workflow_states.change("w", slow), *[note(each) for each in range(20)]]
        )
        assert [type(error) for error in outcomes[1:]] == [StoreTimeoutError] * 20
        assert "deadline" in str(outcomes[1])
        # The deadline of the slow one has passed as well; what is certain is that no other one wrote.
        assert set(output(stores)) <= {"slow"}
        stores.do(append(1)(stores.db))
        assert output(stores)[-1] == 1


def test_a_function_that_waits_for_others_does_not_stop_them(stores: Harness) -> None:
    """A function changes another row, of which a function changes this one: each gives up its place after a second."""
    stores.do(stores.db.workflow_states.create(run("v", output=[])))
    both: Any = threading.Barrier(2) if stores.flavour == "sync" else None
    met: list[int] = []
    arrived = asyncio.Event()

    def crossing(here: str, there: str) -> Callable[[Any], Any]:
        def sync(row: Any) -> None:
            if not met:
                both.wait(30)
            met.append(1)
            stores.db.workflow_states.change(there, lambda other: add(other, here))
            add(row, here)

        async def aio(row: Any) -> None:
            met.append(1)
            if len(met) == 2:
                arrived.set()
            await arrived.wait()
            await stores.db.workflow_states.change(there, lambda other: add(other, here))
            add(row, here)

        return lambda store: store.workflow_states.change(here, sync if stores.flavour == "sync" else aio)

    def add(row: Any, name: str) -> None:
        row.output = sorted({*row.output, name})

    begun = time.monotonic()
    outcomes = stores.together([crossing("v", "w"), crossing("w", "v")])
    assert errors_in(outcomes) == []
    assert time.monotonic() - begun < 8
    assert output(stores) == ["v", "w"]


def test_a_cancelled_task_does_not_stop_others() -> None:
    with harness("aio", "cancelled") as stores:
        stores.do(stores.db.workflow_states.create(run(output=[])))

        async def crowd() -> list[Any]:
            tasks = [asyncio.ensure_future(append(each)(stores.db)) for each in range(90)]
            for each in range(0, 90, 3):
                await asyncio.sleep(0)
                tasks[(each * 7) % 90].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

        for _ in range(5):
            stores.do(stores.db.workflow_states.update("w", output=[]))
            outcomes = stores.runner.run(crowd())
            final = output(stores)
            assert len(set(final)) == len(final)
            for each, outcome in enumerate(outcomes):
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, asyncio.CancelledError)
                else:
                    assert outcome.output == final[: final.index(each) + 1]
        assert not stores.db.session.context.placing.writers.get(("WorkflowState", "w"))


async def behind_another(
    context: Any, name: tuple[str, str], change: Any, *functions: Any, pause: float = 0.0
) -> list[asyncio.Task[Any]]:
    """Begin changes of a row, named by entity and key, while a first one holds the turn, so that they write it together.

    Args:
        context: of the row's partition.
        pause: seconds by which the deadline of each is later than that of the one before it.

    Returns:
        Their tasks.
    """
    holds, gate = asyncio.Event(), asyncio.Event()

    async def hold(row: Any) -> None:
        holds.set()
        await gate.wait()

    holder = asyncio.create_task(change(hold))
    await holds.wait()
    tasks: list[asyncio.Task[Any]] = []
    for function in functions:
        tasks.append(asyncio.create_task(change(function)))
        await until(lambda: len(context.placing.writers.get(name).waiting) == len(tasks))
        await asyncio.sleep(pause)
    gate.set()
    await holder
    return tasks


def test_a_caller_whose_plan_another_one_sends_can_settle_it() -> None:
    """Both change a unique value, so the second one sends the first one's plan before it begins its own."""

    async def main() -> tuple[Any, Any, Any]:
        async with aio.Store.open(server_url(), namespace=new_namespace("left"), deadline=0.9) as store:
            await store.users.create(user("u"))
            channel: Any = store.session.shell.channel
            gate = asyncio.Event()
            exchange = channel.exchange

            async def held(commands: Any, *more: Any) -> Any:
                await gate.wait()
                return await exchange(commands, *more)

            def first(row: Any) -> None:
                row.email = "first@x"

            def second(row: Any) -> None:
                channel.exchange = held
                row.email = "second@x"

            tasks = await behind_another(
                store.session.context,
                ("User", "u"),
                lambda f: store.users.change("u", f),
                first,
                second,
                pause=0.3,
            )
            error: Any
            (error,) = await asyncio.gather(tasks[0], return_exceptions=True)
            gate.set()
            await asyncio.gather(tasks[1], return_exceptions=True)
            channel.exchange = exchange
            return error, await store.outcome(error), await store.users.get("u")

    error, settled, row = asyncio.run(asyncio.wait_for(main(), 30))
    assert isinstance(error, OutcomeUnknownError)
    assert settled.applied is True
    assert row.email in ("first@x", "second@x")


def test_the_plan_of_a_cancelled_caller_is_sent_on_as_the_same_one() -> None:
    """The caller that is left is alone in the batch, but the plan of both is on its way already."""

    async def main() -> tuple[list[Any], int, Any]:
        async with aio.Store.open(server_url(), namespace=new_namespace("on")) as store:
            await store.workflow_states.create(run(output=[]))
            channel: Any = store.session.shell.channel
            arrived, calls = asyncio.Event(), 0
            exchange = channel.exchange

            async def deaf(commands: Any, *more: Any) -> Any:
                channel.exchange = exchange
                await exchange(commands, *more)
                arrived.set()
                await asyncio.Event().wait()

            def first(row: Any) -> None:
                nonlocal calls
                calls += 1
                row.output = [*row.output, "first"]

            def second(row: Any) -> None:
                channel.exchange = deaf
                row.output = [*row.output, "second"]

            tasks = await behind_another(
                store.session.context,
                ("WorkflowState", "w"),
                lambda f: store.workflow_states.change("w", f),
                first,
                second,
            )
            await arrived.wait()
            tasks[1].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            return outcomes, calls, await store.workflow_states.get("w")

    (one, two), calls, row = asyncio.run(asyncio.wait_for(main(), 30))
    assert row.output == ["first", "second"]
    assert one.output == ["first"]
    assert isinstance(two, asyncio.CancelledError)
    assert calls == 1


def test_callers_are_served_in_the_order_of_their_arrival() -> None:
    with harness("aio", "fair") as stores:
        stores.do(stores.db.workflow_states.create(run(output=[])))
        stores.together([append(each) for each in range(200)])
        assert output(stores) == list(range(200))


def test_no_caller_waits_for_more_than_three_batches_of_later_callers() -> None:
    """Eight workers that call again at once do not come before one that waits."""
    with harness("aio", "patient") as stores:
        stores.do(stores.db.workflow_states.create(run(output=[])))
        db, done, waited = stores.db, asyncio.Event(), list[int]()

        async def work(number: int) -> None:
            while not done.is_set():
                await db.workflow_states.update("w", workflow_id=f"f{number}")

        async def look(sent: list[Any]) -> None:
            for each in range(50):
                before = len(sent)
                await db.workflow_states.update("w", output=[each])
                waited.append(len(sent) - before)
            done.set()

        async def crowd(sent: list[Any]) -> None:
            await asyncio.gather(*[work(each) for each in range(8)], look(sent))

        with exchanges(stores) as sent:
            stores.runner.run(crowd(sent))
        assert len(waited) == 50
        assert max(waited) <= 3


PROGRAM = """\
import asyncio, sys
from compozy_store import UsageEntry
from compozy_store.aio import Store

url, namespace, name, number = sys.argv[1:]

def count(row):
    row.output = {"count": row.output["count"] + 1}

async def locked(tx):
    row = await tx.workflow_states.get_for_update("w")
    count(row)
    await tx.workflow_states.save(row)

async def main():
    async with Store.open(url, namespace=namespace, deadline=60, lock_wait=60) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        calls = {
            "change": lambda each: store.workflow_states.change("w", count),
            "transact": lambda each: store.transact(locked),
        }[name]
        outcomes = await asyncio.gather(*[calls(each) for each in range(int(number))], return_exceptions=True)
        print([repr(each) for each in outcomes if isinstance(each, BaseException)], flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["change", "transact"])
def test_eight_processes_of_125_callers(name: str) -> None:
    with harness("sync", "eight") as stores:
        stores.do(stores.db.workflow_states.create(run(output={"count": 0})))
        settings = stores.db.session.shell.settings
        url = f"unix://{settings.path}" if settings.path else server_url()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, url, stores.namespace, name, "125"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for _ in range(8)
        ]
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
        assert outputs == ["[]\n"] * 8
        assert output(stores) == {"count": 1000}
        assert stores.clean()
