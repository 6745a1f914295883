"""Stores of either flavour behind one blocking interface, many calls at once, and the whole keyspace as values."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from fakeredis import FakeServer

from compozy_store import Component, Role, Status, TaskState, User, WorkflowState, aio, sync
from compozy_store.package import PACKAGE
from keyweave.aio import session as session_aio
from keyweave.effects import Command, ConnectionFailure, Flow, Send
from keyweave.health.connect import connect
from keyweave.model.entity import Entity
from keyweave.opening.prepare import prepare
from keyweave.sync import session as session_sync
from keyweave.sync.rows import Pairs, Rows
from tests.fakes import fake_async_shell, fake_sync_shell
from tests.over import opened_store
from tests.servers.partitions import chosen_partitions
from tests.servers.running import new_namespace, server_url

Steps: TypeAlias = Callable[[Any], Generator[Any, Any, Any]]
"""A transaction's function for both flavours: it yields calls and receives their results."""

AT_ONCE = timedelta(microseconds=1)
"""A retention that has passed before the next command reaches the server."""

FLAVOURS = ("sync", "aio")

_PASSING = ("}:@ledger:", "}:@fence:")


class Harness:
    """Several stores on one namespace. `db` is the first of them.

    Args:
        flavour: `sync` or `aio`.
        runner: runs what an asyncio store returns.
    """

    def __init__(self, flavour: str, namespace: str, runner: asyncio.Runner, stores: Sequence[Any]) -> None:
        self.flavour = flavour
        self.namespace = namespace
        self.runner = runner
        self.stores = stores
        self.db: Any = stores[0]

    def do(self, outcome: Any) -> Any:
        """Return the result of a call, awaited or gathered if necessary."""
        if inspect.isawaitable(outcome):
            return self.runner.run(_awaited(outcome))
        if hasattr(outcome, "__aiter__"):
            return self.runner.run(_gathered(outcome))
        if inspect.isgenerator(outcome) or isinstance(outcome, Rows | Pairs):
            return list(outcome)
        return outcome

    def transact(self, steps: Steps, store: Any = None) -> Any:
        """Run steps in one transaction."""
        return self.do((store or self.db).transact(self.closure(steps)))

    def closure(self, steps: Steps) -> Callable[[Any], Any]:
        """Return this flavour's function that runs `steps`."""
        return _blocking(steps) if self.flavour == "sync" else _waiting(steps)

    def together(self, calls: Sequence[Callable[[Any], Any]]) -> list[Any]:
        """Make calls concurrently, spread over the stores: in threads, or as tasks. Errors are returned."""
        stores = [self.stores[index % len(self.stores)] for index in range(len(calls))]
        if self.flavour == "aio":
            return self.runner.run(
                _all([_one(call, store) for call, store in zip(calls, stores, strict=True)])
            )
        begin = threading.Barrier(len(calls))

        def one(call: Callable[[Any], Any], store: Any) -> Any:
            begin.wait(30)
            try:
                return call(store)
            except Exception as error:  # noqa: BLE001 - the test looks at what came out
                return error

        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(one, calls, stores))

    def send(self, *commands: Command) -> list[Any]:
        """Send raw commands in one pipeline."""
        replies: list[Any] = self.do(self.db.session.run(_sending(commands)))
        return replies

    def contents(self) -> dict[str, Any]:
        """Every key of the namespace with its type and value, except for clocks, registries, ledgers and fences, which end by themselves."""
        found: dict[str, Any] = {}
        cursor: Any = 0
        pattern = self.db.session.context.keyspace.pattern()
        while True:
            ((cursor, names),) = self.send(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
            texts = [name.decode() for name in names]
            for name in texts:
                if not name.endswith(("}:@clock", "}:@schema")) and not any(
                    mark in name for mark in _PASSING
                ):
                    found[name] = self._value(name)
            if int(cursor) == 0:
                return found

    def _value(self, name: str) -> Any:
        (kind,) = self.send(("TYPE", name))
        command: Command = {
            b"string": ("GET", name),
            b"zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
            b"hash": ("HGETALL", name),
        }[kind]
        value, ends = self.send(command, ("PEXPIRETIME", name))
        if kind == b"hash":
            value = sorted(zip(value[0::2], value[1::2], strict=True))
        return kind, value, ends

    def clean(self) -> bool:
        """Return whether indexes agree with documents and the target of every reference exists."""
        report = self.do(self.db.check())
        assert report.clean, report.drift
        tasks = self.do(self.db.task_states.all())
        names = {task.task_exec_id for task in tasks}
        runs = {run.workflow_exec_id for run in self.do(self.db.workflow_states.all())}
        for task in tasks:
            assert task.workflow_exec_id in runs, f"{task.task_exec_id} lost its execution"
            assert (
                task.parent_state_id is None or task.parent_state_id in names
            ), f"{task.task_exec_id} is an orphan"
        return True


def directed(rows: Any, *, newest: bool) -> Any:
    """Return a handle of rows from the latest or highest on, or in the opposite direction."""
    return rows if newest else rows.reverse()


def in_batches(rows: Any, size: int) -> Any:
    """Return an iterator of either flavour over the rows of a handle, read in batches of a size."""
    batches = rows.batches(size)
    if hasattr(batches, "__aiter__"):
        return (row async for batch in batches for row in batch)
    return (row for batch in batches for row in batch)


@contextmanager
def harness(
    flavour: str,
    name: str | Harness,
    *,
    count: int = 1,
    module: Any = None,
    url: str | None = None,
    **options: Any,
) -> Iterator[Harness]:
    """Open stores on a new namespace, or on the namespace of other stores, and close them afterwards.

    Args:
        flavour: `sync` or `aio`.
        name: of the namespace, or other stores.
        count: how many stores, each with connections of its own.
        module: the generated package, or None for the engine's.
        url: of the server, or None for the one under test.
        options: of every store. The engine's executions have the partitions under test, unless `url` names a server.
    """
    if module is None and url is None and chosen_partitions() > 1:
        options = {"partitions": {"execution": chosen_partitions()}, **options}
    namespace = new_namespace(name) if isinstance(name, str) else name.namespace
    place = {"sync": sync, "aio": aio}[flavour] if module is None else getattr(module, flavour)

    def close(store: Any) -> None:
        closing = store.close()
        if flavour == "aio":
            runner.run(closing)

    runner = asyncio.Runner()  # makes no loop before it is used: a blocking store may be opened inside one
    with ExitStack() as stack:
        stack.callback(runner.close)
        stores = []
        for _ in range(count):
            store = opened_store(place, flavour, url or server_url(), namespace=namespace, **options)
            stores.append(runner.run(_awaited(store)) if flavour == "aio" else store)
            stack.callback(close, stores[-1])
        yield Harness(flavour, namespace, runner, stores)


@contextmanager
def fake_harness(flavour: str, log: list[Command] | None = None) -> Iterator[Harness]:
    """Open one store on a new fake; `log` receives every command that it sends."""
    _, context = prepare(PACKAGE, "redis://fake", namespace="fake")
    with asyncio.Runner() as runner:
        store: Any
        if flavour == "sync":
            blocking = fake_sync_shell(FakeServer(), log)
            blocking.run(connect(context))
            store = sync.Store(session_sync.Session(blocking, context))
        else:
            waiting = runner.run(_made(fake_async_shell, FakeServer(), log))
            runner.run(waiting.run(connect(context)))
            store = aio.Store(session_aio.Session(waiting, context))
        opened = Harness(flavour, "fake", runner, [store])
        yield opened
        opened.do(store.close())


def run(key: str = "w", status: Status = Status.RUNNING, **more: Any) -> WorkflowState:
    """An execution."""
    return WorkflowState(workflow_exec_id=key, workflow_id="f", status=status, **more)


def task(
    key: str,
    parent: str | None = None,
    *,
    workflow: str = "w",
    status: Status = Status.RUNNING,
    name: str = "t",
    **more: Any,
) -> TaskState:
    """A task of an execution."""
    return TaskState(
        task_exec_id=key,
        task_id=name,
        workflow_exec_id=workflow,
        workflow_id="f",
        component=Component.TASK,
        status=status,
        parent_state_id=parent,
        **more,
    )


def user(key: str, role: Role = Role.USER, email: str | None = None) -> User:
    """A user."""
    return User(id=key, email=email or f"{key}@x", role=role)


def watched(
    stores: Harness, flow: Flow[Any], before: Callable[[int, tuple[Command, ...]], None]
) -> Flow[Any]:
    """`flow`, calling `before` ahead of each exchange with its number and commands.

    A `ConnectionFailure` that it raises is thrown into the flow, in place of the answer if the commands were `sent`.
    """
    number, answer = 0, None
    failure: Exception | None = None
    while True:
        try:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as done:
            return done.value
        answer = failure = None
        if isinstance(effect, Send):
            number += 1
            try:
                before(number, tuple(effect.commands))
            except ConnectionFailure as error:
                failure = error
                if error.sent:
                    yield effect
                continue
        answer = yield effect


@contextmanager
def exchanges(stores: Harness, replies: list[Any] | None = None) -> Iterator[list[tuple[Command, ...]]]:
    """Collect the pipelines that the first store sends, and in `replies` what it receives."""
    sent: list[tuple[Command, ...]] = []
    pool = stores.db.session.shell.channel
    exchange = pool.exchange

    def keeping(commands: Sequence[Command], *more: Any) -> Any:
        sent.append(tuple(commands))
        answer = exchange(commands, *more)
        if replies is None:
            return answer
        if inspect.isawaitable(answer):
            return _kept(answer, replies)
        replies.append(answer)
        return answer

    pool.exchange = keeping
    try:
        yield sent
    finally:
        del pool.exchange


async def _kept(answer: Any, replies: list[Any]) -> Any:
    replies.append(await answer)
    return replies[-1]


def until_freed(stores: Harness, entity: Entity[Any], keys: Sequence[str]) -> None:
    """Wait until the server has freed the documents of rows."""
    partition = stores.db.session.context.partition(entity)
    documents = [partition.document(entity.name, key) for key in keys]
    limit = time.monotonic() + 20
    while stores.send(("EXISTS", *documents)) != [0]:
        assert time.monotonic() < limit
        time.sleep(0.001)


def plans_in(stores: Harness, commands: Sequence[Command]) -> list[Command]:
    """The plans among commands."""
    scripts = [stores.db.session.context.scripts[name] for name in ("apply", "free")]
    texts = [text for script in scripts for text in (script.sha, script.text)]
    return [command for command in commands if command[1:2] and command[1] in texts]


def add_tasks(stores: Harness, tasks: Sequence[TaskState]) -> None:
    """Insert tasks in one step."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for row in tasks:
            yield tx.task_states.create(row)

    stores.transact(steps)


def errors_in(outcomes: Sequence[Any]) -> list[str]:
    """The names of the errors among outcomes."""
    return sorted(type(outcome).__name__ for outcome in outcomes if isinstance(outcome, BaseException))


async def _made(make: Callable[..., Any], *arguments: Any) -> Any:
    return make(*arguments)


async def _awaited(outcome: Any) -> Any:
    return await outcome


async def _gathered(rows: Any) -> list[Any]:
    return [row async for row in rows]


async def _one(call: Callable[[Any], Any], store: Any) -> Any:
    return await call(store)


async def _all(calls: Sequence[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def _sending(commands: tuple[Command, ...]) -> Flow[list[Any]]:
    replies: list[Any] = yield Send(commands)
    return replies


def _blocking(steps: Steps) -> Callable[[Any], Any]:
    def closure(tx: Any) -> Any:
        generator, value, failure = steps(tx), None, None
        while True:
            try:
                value = generator.send(value) if failure is None else generator.throw(failure)
            except StopIteration as done:
                return done.value
            failure = None
            try:
                value = (
                    list(value) if inspect.isgenerator(value) or isinstance(value, Rows | Pairs) else value
                )
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                failure = error

    return closure


def _waiting(steps: Steps) -> Callable[[Any], Any]:
    async def closure(tx: Any) -> Any:
        generator, value, failure = steps(tx), None, None
        while True:
            try:
                value = generator.send(value) if failure is None else generator.throw(failure)
            except StopIteration as done:
                return done.value
            failure = None
            try:
                value = await (_gathered(value) if hasattr(value, "__aiter__") else value)
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                failure = error

    return closure
