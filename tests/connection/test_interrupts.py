"""An exception from outside, at any moment, costs the pool no connection: signals, job time limits, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from keyweave import aio, sync
from keyweave.connection.direct import link_sync, pool_sync
from keyweave.connection.redis_py import channel_sync, open_sync
from keyweave.connection.redis_py import link_sync as borrowed_link_sync
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure
from tests.connection.peers import pool_of, sending, unblock
from tests.over import client_at
from tests.servers.running import new_key, server_url
from tests.waiting import until

TRACED = (
    pool_sync.__file__,
    link_sync.__file__,
    channel_sync.__file__,
    borrowed_link_sync.__file__,
)

# A socket that an exception separates from its owner is closed by its finalizer, which warns.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """Collect what a test leaves while warnings about it are ignored; later they would fail another test."""
    yield
    gc.collect()


class Interrupt(BaseException):
    """What the tests throw into a thread."""


@contextlib.contextmanager
def interrupt_at(number: int, *, opcodes: bool = True) -> Iterator[list[int]]:
    """Raise `Interrupt` in this thread at the given event inside the pool and its links; count the events before it."""
    seen = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        frame.f_trace_opcodes = opcodes
        if event in (("line", "opcode") if opcodes else ("line",)):
            seen[0] += 1
            if seen[0] == number:
                sys.settrace(None)
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


def every_moment(attempt: Callable[[], object], check: Callable[[], None], *, opcodes: bool = True) -> int:
    """Interrupt an attempt at its first event, at its second and so on, until one completes. Returns the count."""
    for number in itertools.count(1):
        interrupted = False
        try:
            with interrupt_at(number, opcodes=opcodes):
                attempt()
        except Interrupt:
            interrupted = True
        except ConnectionFailure:
            interrupted = True
        check()
        if not interrupted:
            return number
    raise AssertionError


def whole(shell: sync.Shell) -> None:
    """Check that every connection of the pool is idle."""
    state = shell.pool_state()
    assert state is not None
    assert (state.open, state.waiting) == (state.idle, 0)


def all_at_once(shell: sync.Shell, count: int = 4) -> None:
    """Check that as many threads as the pool has connections work at the same time."""
    begin = threading.Barrier(count)
    key = new_key("all")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            begin.wait(10)
            shell.run(sending(("BLPOP", key, 5)))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    with sync.Shell(parse_url(server_url())) as other:
        limit = time.monotonic() + 5
        while not blocked_on(other, count, shell.settings.client_name):
            assert time.monotonic() < limit, "fewer connections than the pool has places"
            time.sleep(0.005)
        other.run(sending(("RPUSH", key, *["x"] * count)))
    for thread in threads:
        thread.join(10)
    assert failures == []


def blocked_on(other: sync.Shell, count: int, name: str | None) -> bool:
    """Return whether `count` clients of this name wait in BLPOP."""
    (clients,) = other.run(sending(("CLIENT", "LIST")))
    lines = [line for line in clients.decode().splitlines() if f" name={name} " in line]
    return sum(" cmd=blpop " in line and " flags=b" in line for line in lines) >= count


def named(**options: Any) -> sync.Shell:
    return sync.Shell(parse_url(server_url(), pool_size=4, client_name=new_key("interrupts"), **options))


@contextlib.contextmanager
def over_redis_py(**options: Any) -> Iterator[sync.Shell]:
    """A shell over a client of redis-py with four connections."""
    client, close = client_at(
        server_url(), asynchronous=False, pool_size=4, client_name=new_key("interrupts"), **options
    )
    with sync.Shell(open_sync.client_channel(client)) as shell:
        yield shell
    close()


@pytest.mark.parametrize("options", [{}, {"health_check_interval": 1e-9}])
def test_an_exception_at_any_bytecode_of_a_use_costs_a_client_no_connection(options: dict[str, Any]) -> None:
    with over_redis_py(**options) as shell:
        assert every_moment(lambda: echo(shell), lambda: whole(shell)) > 50
        served_by_four(shell)


def test_an_exception_at_any_bytecode_of_connecting_costs_a_client_no_connection() -> None:
    with over_redis_py() as shell, sync.Shell(parse_url(server_url())) as other:

        def replacing() -> None:
            (identity,) = shell.run(sending(("CLIENT", "ID")))
            other.run(sending(("CLIENT", "KILL", "ID", str(identity))))
            echo(shell)

        assert every_moment(replacing, lambda: whole(shell)) > 50
        served_by_four(shell)


def served_by_four(shell: sync.Shell) -> None:
    """Check that the client's pool still has four connections to lease, and no fifth."""
    leases: list[list[Any]] = [[] for _ in range(5)]
    channel = pool_of(shell)
    assert [channel._take(lease) for lease in leases] == [True] * 4 + [False]
    for lease in leases:
        channel._release(lease)


def echo(shell: sync.Shell) -> None:
    assert shell.run(sending(("ECHO", "x"))) == [b"x"]


def test_an_exception_at_any_bytecode_of_a_use_loses_no_connection() -> None:
    with named() as shell:
        assert every_moment(lambda: echo(shell), lambda: whole(shell)) > 50
        all_at_once(shell)


def test_an_exception_at_any_bytecode_of_opening_loses_no_permit() -> None:
    with named() as shell:

        def opening() -> None:
            pool_of(shell).forget()
            echo(shell)

        assert every_moment(opening, lambda: whole(shell)) > 50
        all_at_once(shell)


def test_an_exception_at_any_bytecode_of_a_health_check_loses_no_connection() -> None:
    with named(health_check_interval=1e-9) as shell:
        assert every_moment(lambda: echo(shell), lambda: whole(shell)) > 50
        all_at_once(shell)


def test_an_exception_at_any_bytecode_of_replacing_a_dead_connection_loses_no_permit() -> None:
    with named() as shell, sync.Shell(parse_url(server_url())) as other:

        def replacing() -> None:
            (identity,) = shell.run(sending(("CLIENT", "ID")))
            other.run(sending(("CLIENT", "KILL", "ID", str(identity))))
            echo(shell)

        assert every_moment(replacing, lambda: whole(shell)) > 50
        all_at_once(shell)


def test_an_exception_that_the_caller_keeps_holds_no_connection() -> None:
    kept: list[BaseException] = []
    with named() as shell:

        def keeping() -> None:
            try:
                echo(shell)
            except BaseException as error:
                kept.append(error)
                raise

        every_moment(keeping, lambda: whole(shell))
        assert len(kept) > 50
        all_at_once(shell)


def test_a_waiter_is_served_although_the_releasing_thread_is_interrupted_at_any_line() -> None:
    with sync.Shell(
        parse_url(server_url(), pool_size=1, pool_timeout=5, client_name=new_key("one"))
    ) as shell:
        echo(shell)

        def releasing() -> None:
            pool = pool_of(shell)
            with contextlib.suppress(Interrupt):
                lease = pool.lease()
            waiter = threading.Thread(target=lambda: served.append(shell.run(sending(("ECHO", "w")))))
            waiter.start()
            limit = time.monotonic() + 5
            while not pool._waiters:
                assert time.monotonic() < limit
            try:
                with interrupt_at(number, opcodes=False) as seen:
                    pool.release(lease)
            except Interrupt:
                pass
            finally:
                more[0] = seen[0] >= number
                lease.clear()
                started = time.monotonic()
                waiter.join(3)
                assert not waiter.is_alive()
                slowest.append(time.monotonic() - started)

        served: list[object] = []
        slowest: list[float] = []
        more = [True]
        number = 0
        while more[0]:
            number += 1
            releasing()
            whole(shell)
        assert number > 3
        assert served == [[b"w"]] * number
        assert max(slowest) < 1


def test_an_interrupted_waiter_loses_no_connection_at_any_line() -> None:
    with sync.Shell(
        parse_url(server_url(), pool_size=1, pool_timeout=5, client_name=new_key("one"))
    ) as shell:

        def waiting() -> None:
            lease = pool_of(shell).lease()
            timer = threading.Timer(0.002, lambda: pool_of(shell).release(lease))
            timer.start()
            try:
                echo(shell)
            finally:
                timer.join()

        assert every_moment(waiting, lambda: whole(shell), opcodes=False) > 10
        all_at_once(shell, 1)


@pytest.mark.parametrize("seed", range(2))
def test_exceptions_at_random_moments_leave_the_pool_intact(seed: int) -> None:
    chance = random.Random(seed)
    stopping = threading.Event()
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    with named(health_check_interval=1e-9 if seed else 30, timeout=5) as shell:
        done = [0] * 8

        def loop(number: int) -> None:
            while not stopping.is_set():
                echo(shell)
                done[number] += 1

        def work(number: int) -> None:
            while not stopping.is_set():
                with contextlib.suppress(Interrupt, ConnectionFailure):
                    loop(number)

        def start(number: int) -> threading.Thread:
            def guarded() -> None:
                with contextlib.suppress(Interrupt):
                    work(number)

            thread = threading.Thread(target=guarded, daemon=True)
            thread.start()
            return thread

        threads = [start(number) for number in range(8)]
        thrown = 0
        end = time.monotonic() + 2
        while time.monotonic() < end or (min(thrown, sum(done)) <= 100 and time.monotonic() < end + 20):
            time.sleep(chance.uniform(0, 0.008))
            number = chance.randrange(8)
            if not threads[number].is_alive():
                threads[number] = start(number)
            elif throw(ctypes.c_ulong(threads[number].ident or 0), ctypes.py_object(Interrupt)):
                thrown += 1
                if chance.random() < 0.3:  # while the first one is handled
                    throw(ctypes.c_ulong(threads[number].ident or 0), ctypes.py_object(Interrupt))
        stopping.set()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert thrown > 100
        assert sum(done) > 100
        gc.collect()
        whole(shell)
        all_at_once(shell)


class Alarm:
    """Raises `Interrupt` from a signal handler in the main thread at random moments, while `armed`."""

    def __init__(self, chance: random.Random) -> None:
        self.armed = False
        self.raised = 0
        self._chance = chance

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """The handler. Between two exceptions there is time to handle the first."""
        if self.armed:
            self.armed = False
            self.raised += 1
            raise Interrupt

    def interrupt(self, use: Callable[[], None]) -> bool:
        """Interrupt a use of the pool, unless it ends before. Returns whether it ended."""
        try:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(0.00001, 0.0006))
                use()
                return True
            finally:
                self.armed = False
        except (Interrupt, ConnectionFailure):
            return False


def plainly(shell: sync.Shell) -> None:
    echo(shell)


def opening(shell: sync.Shell) -> None:
    """Every use opens a connection: the one before it was condemned by its peer."""
    lease = pool_of(shell).lease()
    if lease[0].link is not None:
        lease[0].link.usable = False
    pool_of(shell).release(lease)
    echo(shell)


def condemned(shell: sync.Shell) -> None:
    """A reply condemns the connection, which takes the idle ones with it."""
    shell.run(sending(("EVAL", "return redis.error_reply('READONLY no')", "0")))


@pytest.mark.parametrize(
    ("use", "options"),
    [
        (plainly, {}),
        (plainly, {"health_check_interval": 1e-9}),
        (plainly, {"busy_poll": 0}),
        (opening, {}),
        (opening, {"health_check_interval": 1e-9}),
        (condemned, {"health_check_interval": 1e-9}),
    ],
)
def test_exceptions_of_a_signal_handler_leave_the_pool_whole(
    use: Callable[[sync.Shell], None], options: dict[str, Any]
) -> None:
    alarm = Alarm(random.Random(7))
    before = signal.signal(signal.SIGALRM, alarm.handle)
    with named(timeout=5, pool_timeout=1, **options) as shell:
        completed = 0
        end = time.monotonic() + 1.0
        try:
            while time.monotonic() < end or (alarm.raised < 100 and time.monotonic() < end + 20):
                completed += alarm.interrupt(lambda: use(shell))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert alarm.raised >= 100
        assert completed
        gc.collect()
        whole(shell)
        all_at_once(shell)


@pytest.mark.parametrize("pipelining", [1, 32])
def test_cancelling_a_task_at_any_iteration_of_the_event_loop_loses_no_connection(pipelining: int) -> None:
    async def run() -> None:
        settings = parse_url(server_url(), pool_size=2, pipelining=pipelining, health_check_interval=1e-9)
        async with aio.Shell(settings) as shell:
            for number in range(60):
                tasks = [asyncio.create_task(shell.run(sending(("ECHO", str(each))))) for each in range(4)]
                for _ in range(number % 20):
                    await asyncio.sleep(0)
                tasks[number % 4].cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert [each for index, each in enumerate(results) if index != number % 4] == [
                    [b"%d" % index] for index in range(4) if index != number % 4
                ]
                state = shell.pool_state()
                assert state is not None
                assert (state.open, state.waiting) == (state.idle, 0)
            key = new_key("both")
            both = [asyncio.create_task(shell.run(sending(("BLPOP", key, 5)))) for _ in range(2)]
            await until(lambda: pool_of(shell).state().idle == 0)  # type: ignore[union-attr]
            await asyncio.to_thread(unblock, key, 2)
            await asyncio.gather(*both)

    asyncio.run(run())
