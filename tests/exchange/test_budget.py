"""`deadline` is the budget of a whole operation: nothing returns more than `timeout` after it, for every behaviour of the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import pytest

from compozy_store import Role, User, aio, sync
from keyweave.connection.settings import parse_url
from keyweave.embedded import server as embedded
from keyweave.errors import (
    LockTimeoutError,
    OutcomeUnknownError,
    StoreTimeoutError,
    StoreUnavailableError,
    TransactionConflictError,
)
from tests.connection.peers import sending
from tests.harness import FLAVOURS, Harness
from tests.servers.running import new_namespace

SLACK: Final = 0.5

SHORT: Final[dict[str, Any]] = {"timeout": 0.25, "deadline": 0.6, "connect_timeout": 5, "pool_timeout": 5}


class Proxy:
    """Carries bytes between stores and a server, as `mode` says: `pass`, `swallow`, `dead` or `unaccepted`.

    Attributes:
        delay: seconds that each reply waits.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._mode = "pass"
        self.delay = 0.0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                server.connect(self._path)
                threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65_536):
                if replies and self.delay:
                    time.sleep(self.delay)
                if self._mode == "pass":
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Accept everything and answer nothing."""
        self._mode = "swallow"

    def die(self) -> None:
        """Break every connection and refuse new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def fill_backlog(self) -> None:
        """Break every connection, and leave new ones without an answer even to connecting."""
        port = self.port
        self.die()
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.0.1", port))
        full.listen(0)
        self._open = [full]
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self._open.append(filler)
        time.sleep(0.05)

    def close(self) -> None:
        """Release what it holds."""
        self.die()


class Server(NamedTuple):
    """A server of its own behind a proxy, and its process."""

    proxy: Proxy
    pid: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}"

    def stop(self) -> None:
        """Stop the process: the kernel accepts connections and bytes, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may break."""
    lease = embedded.acquire(str(tmp_path))
    try:
        path = lease.settings(parse_url("embedded:")).path
        with sync.Store.open(f"unix://{path}", namespace="pid") as store:
            (info,) = store.session.shell.run(sending(("INFO", "server")))
        (pid,) = (int(line[11:]) for line in info.splitlines() if line.startswith(b"process_id:"))
        proxy = Proxy(path)
        try:
            yield Server(proxy, pid)
        finally:
            os.kill(pid, signal.SIGCONT)
            proxy.close()
    finally:
        lease.release()


def user(key: str) -> User:
    return User(id=key, email=f"{key}@x", role=Role.USER)


class Attempt(NamedTuple):
    """How an operation ended: after how many seconds, and with which error."""

    seconds: float
    error: BaseException | None


Operation = Callable[[Harness, Callable[[], None]], None]
"""Calls the function that breaks the server (once for all operations of a test), and does its work on the user `row`."""


def get(stores: Harness, broken: Callable[[], None]) -> None:
    broken()
    stores.do(stores.db.users.get("row"))


def save(stores: Harness, broken: Callable[[], None]) -> None:
    record = stores.do(stores.db.users.get("row"))
    record.role = Role.ADMIN
    broken()
    stores.do(stores.db.users.save(record))


def transact(stores: Harness, broken: Callable[[], None]) -> None:
    broken()

    def steps(tx: Any) -> Any:
        record = yield tx.users.get_for_update("row")
        yield tx.users.save(record)

    stores.transact(steps)


def transact_half(stores: Harness, broken: Callable[[], None]) -> None:
    def steps(tx: Any) -> Any:
        record = yield tx.users.get_for_update("row")
        broken()
        record.role = Role.ADMIN
        yield tx.users.save(record)

    stores.transact(steps)


def raising(stores: Harness, broken: Callable[[], None]) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.get_for_update("row")
        broken()
        raise ValueError("the caller's own")

    stores.transact(steps)


def many(stores: Harness, broken: Callable[[], None]) -> None:
    def steps(tx: Any) -> Any:
        broken()
        for number in range(1000):
            yield tx.users.find(str(number))

    stores.transact(steps)


def attempts(
    server: Server,
    operations: Sequence[Operation],
    breaking: Callable[[], None],
    *settings: dict[str, Any],
) -> dict[tuple[str, str, int], Attempt]:
    """Run operations of both flavours at the same time, with each of the settings, while the server breaks.

    Until then the server is well. What has failed by then, or waits for its fellows inside its short deadline, says nothing: on a
    busy machine all of them begin again.
    """
    cases = [
        (flavour, each, number)
        for flavour in FLAVOURS
        for each in operations
        for number in range(len(settings))
    ]
    for _ in range(10):
        together = _Together(len(cases), breaking)
        with ThreadPoolExecutor(len(cases)) as threads:
            ran = [
                threads.submit(together.attempt, server.url, flavour, operation, dict(settings[number]))
                for flavour, operation, number in cases
            ]
        done = {
            (flavour, operation.__name__, number): attempt.result()
            for (flavour, operation, number), attempt in zip(cases, ran, strict=True)
        }
        if together.broke:
            return cast("dict[tuple[str, str, int], Attempt]", done)
    raise AssertionError("the operations never came to the moment together at which the server breaks")


class _Together:
    """Operations that meet twice: with a store and a row each, and at the moment at which the server breaks."""

    def __init__(self, count: int, breaking: Callable[[], None]) -> None:
        self.broke = False
        self._breaking = breaking
        self._ready = threading.Barrier(count, action=self._begin)
        self._at_the_moment = threading.Barrier(count, action=self._break)
        self._opening = threading.Lock()
        self._began = 0.0

    def _begin(self) -> None:
        self._began = time.monotonic()

    def _break(self) -> None:
        if time.monotonic() - self._began > 0.3:
            raise threading.BrokenBarrierError
        self.broke = True
        self._breaking()

    def attempt(
        self, url: str, flavour: str, operation: Operation, options: dict[str, Any]
    ) -> Attempt | None:
        """Run one operation; None if it did not come to the moment."""
        options["namespace"] = new_namespace("budget")
        with asyncio.Runner() as runner:
            with self._opening:
                store = _opened_store(flavour, url, options, runner)
                stores = Harness(flavour, options["namespace"], runner, [store])
            began: float | None = None

            def broken() -> None:
                # A coroutine of this runner waits here as well: no other one uses its loop.
                nonlocal began
                if began is None:
                    self._at_the_moment.wait(20)
                    began = time.monotonic()

            error: BaseException | None = None
            try:
                with self._opening:
                    stores.do(store.users.create(user("row")))
                self._ready.wait(60)
                operation(stores, broken)
            except Exception as raised:  # noqa: BLE001 - the test looks at it
                error = raised
            ended = time.monotonic()
            if began is None:
                self._ready.abort()
                self._at_the_moment.abort()
            stores.do(store.close())
            return None if began is None else Attempt(ended - began, error)


def _opened_store(flavour: str, url: str, options: dict[str, Any], runner: asyncio.Runner) -> Any:
    """Open a store while others are opened as well: with a short timeout that may take more than one attempt."""
    until = time.monotonic() + 15
    while True:
        try:
            if flavour == "sync":
                return sync.Store.open(url, **options)
            return runner.run(_opened(aio.Store.open(url, **options)))
        except StoreUnavailableError:
            if time.monotonic() > until:
                raise


async def _opened(connecting: Any) -> Any:
    return await connecting


def in_time(done: dict[tuple[str, str, int], Attempt], *settings: dict[str, Any]) -> None:
    """Check that every attempt ended within its deadline and timeout."""
    late = {
        case: attempt
        for case, attempt in done.items()
        if attempt.seconds > settings[case[2]]["deadline"] + settings[case[2]]["timeout"] + SLACK
    }
    assert late == {}


def errors(done: dict[tuple[str, str, int], Attempt]) -> dict[str, set[type[Any]]]:
    """The types of errors by operation."""
    kinds: dict[str, set[type[Any]]] = {}
    for (_, operation, _), attempt in done.items():
        kinds.setdefault(operation, set()).add(type(attempt.error))
    return kinds


ALL: Final[Sequence[Operation]] = [get, save, transact, transact_half, raising]


def test_a_stopped_server_at_several_settings(server: Server) -> None:
    settings = (SHORT, {"timeout": 1, "deadline": 3}, {"timeout": 0.5, "deadline": 10}, {"deadline": 1})
    settings[3]["timeout"] = 2
    done = attempts(server, ALL, server.stop, *settings)
    in_time(done, *settings)
    assert errors(done) == {
        "get": {StoreTimeoutError},
        "save": {OutcomeUnknownError},
        "transact": {StoreTimeoutError},
        "transact_half": {OutcomeUnknownError},
        "raising": {ValueError},
    }
    assert max(attempt.seconds for case, attempt in done.items() if case[1] == "raising") < 0.5 + SLACK


def test_a_server_that_swallows_everything(server: Server) -> None:
    done = attempts(server, ALL, server.proxy.swallow, SHORT)
    in_time(done, SHORT)
    assert errors(done) == {
        "get": {StoreTimeoutError},
        "save": {OutcomeUnknownError},
        "transact": {StoreTimeoutError},
        "transact_half": {OutcomeUnknownError},
        "raising": {ValueError},
    }


def test_a_dead_server(server: Server) -> None:
    done = attempts(server, ALL, server.proxy.die, SHORT)
    in_time(done, SHORT)
    assert errors(done)["get"] == {StoreUnavailableError}
    assert errors(done)["raising"] == {ValueError}


def test_a_server_that_does_not_accept(server: Server) -> None:
    done = attempts(server, ALL, server.proxy.fill_backlog, SHORT)
    in_time(done, SHORT)
    assert errors(done)["get"] <= {StoreTimeoutError, StoreUnavailableError}
    assert errors(done)["raising"] == {ValueError}


def test_a_slow_server(server: Server) -> None:
    def slow() -> None:
        server.proxy.delay = 0.1

    done = attempts(server, [many], slow, SHORT)
    in_time(done, SHORT)
    assert min(attempt.seconds for attempt in done.values()) >= SHORT["deadline"]
    assert errors(done) == {"many": {StoreTimeoutError}}
    assert all("deadline of 0.6 s" in str(attempt.error) for attempt in done.values())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_pool_that_others_hold(server: Server, flavour: str) -> None:
    def held(stores: Harness, broken: Callable[[], None]) -> None:
        if stores.flavour != flavour:
            broken()
            return
        pool = stores.db.session.shell.channel
        lease = pool.lease() if flavour == "sync" else stores.runner.run(_opened(pool.lease()))
        broken()
        try:
            stores.do(stores.db.users.find("held"))
        finally:
            pool.release(lease)

    settings = {**SHORT, "pool_size": 1, "pipelining": 1}
    done = attempts(server, [held], lambda: None, settings)
    in_time(done, settings)
    error = done[flavour, "held", 0].error
    assert type(error) is StoreUnavailableError
    assert "stayed busy" in str(error)


@pytest.mark.parametrize(("wait", "seconds"), [(None, 0.6), (0.2, 0.2)])
def test_waiting_for_a_lock_ends_with_the_smaller_limit(
    server: Server, wait: float | None, seconds: float
) -> None:
    def locked(stores: Harness, broken: Callable[[], None]) -> None:
        context = stores.db.session.context
        stores.send(("SET", context.keyspace.partition("auth").lock("User", "u"), "another"))
        broken()

        def steps(tx: Any) -> Any:
            yield tx.users.get_for_update("u", wait=wait)

        stores.transact(steps)

    done = attempts(server, [locked], lambda: None, SHORT)
    in_time(done, SHORT)
    assert errors(done) == {"locked": {LockTimeoutError}}
    for attempt in done.values():
        assert seconds - 0.05 <= attempt.seconds < seconds + SHORT["timeout"] + SLACK


def test_a_transaction_that_always_loses_ends_by_its_deadline(server: Server) -> None:
    """However slow the machine is, no more attempts begin than fit into the deadline."""
    work, begun = 0.05, Counter[str]()
    settings = {**SHORT, "timeout": 5}  # the server answers: nothing here is to time out

    def losing(stores: Harness, broken: Callable[[], None]) -> None:
        other = sync.Store.open(server.url, namespace=stores.namespace)
        broken()

        def steps(tx: Any) -> Any:
            begun[stores.flavour] += 1
            record = yield tx.users.get("row")
            time.sleep(work)
            other.users.change("row", lambda row: setattr(row, "role", Role.ADMIN))
            yield tx.users.save(record)

        try:
            stores.transact(steps)
        finally:
            other.close()

    done = attempts(server, [losing], lambda: None, settings)
    in_time(done, settings)
    assert errors(done)["losing"] <= {TransactionConflictError, StoreTimeoutError}
    for flavour in FLAVOURS:
        assert 1 <= begun[flavour] <= settings["deadline"] / work + 1


def test_cancelling_a_transaction_on_a_stopped_server_is_quick(server: Server) -> None:
    async def main() -> float:
        async with aio.Store.open(server.url, namespace=new_namespace("cancel")) as store:
            await store.users.create(user("u"))
            stopped = asyncio.Event()

            async def work(tx: Any) -> None:
                await tx.users.get_for_update("u")
                server.stop()
                stopped.set()  # the test continues once the read below waits for the server
                await tx.users.get("v")

            task = asyncio.create_task(store.transact(work))
            await stopped.wait()
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - began

    assert asyncio.run(main()) < SLACK
