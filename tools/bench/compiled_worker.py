"""One side of `make bench-compiled`: the processor time of calls of the engine whose replies are at hand, without a server.

It imports the engine, the generated package and the runtime that its PYTHONPATH leads to, compiled or not. When it starts, a real
server answers every call, and its replies are kept. Then the worker prints how many of its modules are compiled, and commands come in as JSON
lines: a layer, a case and a number of rounds. Each is answered with the nanoseconds of every round.
"""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from compozy_engine import Engine
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import WorkflowRepository
from compozy_store import Component, Status, TaskState, WorkflowState
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.direct.link_aio import StreamLink
from keyweave.connection.settings import parse_url
from keyweave.effects import Call, Flow, Reply, Send

CASES: Final = ("status", "workflow", "create", "get", "list")
LAYERS: Final = ("flow", "call", "link")
ROWS: Final = 50
"""Rows of the list."""

_STATES: Final = (Status.RUNNING, Status.WAITING)
_PAYLOAD: Final = {"text": "x" * 500}

Made: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
"""Makes a call that has been prepared."""


class SentOtherwise(Exception):
    """A call asked for other replies than those at hand."""


class AnsweringLink:
    """A link that returns the replies at hand, or those of another link, which it keeps.

    Attributes:
        hand: the replies to the next exchanges, in order.
        kept: what the other link returned.
        other: None when no other link is to be used any more.
    """

    broken = condemned = False
    usable = True
    last_used = float("inf")  # so that no health check asks the server
    in_flight = 0

    def __init__(self, other: StreamLink) -> None:
        self.hand: deque[list[Reply]] = deque()
        self.kept: list[list[Reply]] = []
        self.other: StreamLink | None = other

    def take(self, commands: Sequence[Any]) -> list[Reply]:
        """Return the replies at hand."""
        if not self.hand or len(self.hand[0]) != len(commands):
            raise SentOtherwise(f"there is no reply to {commands!r:.200}")
        return self.hand.popleft()

    async def exchange(self, commands: Sequence[Any]) -> list[Reply]:
        if self.other is None:
            return self.take(commands)
        replies = await self.other.exchange(commands)
        self.kept.append(copy.deepcopy(replies))  # the call may take its replies apart
        return replies

    def stale(self) -> bool:
        return False

    def close(self) -> Awaitable[None]:
        return asyncio.sleep(0)


class AnsweredLink(StreamLink):
    """The link of the direct channel, on a socket that has the replies before they are asked for."""

    def stale(self) -> bool:
        super().stale()  # it sees the replies
        return False


def encoded(reply: Reply) -> bytes:
    """A reply as a server sends it."""
    if isinstance(reply, list):
        return b"*%d\r\n%b" % (len(reply), b"".join(map(encoded, reply)))
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    return b"$-1\r\n" if reply is None else b"$%d\r\n%b\r\n" % (len(reply), reply)


def run_with(link: AnsweringLink) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a function that runs flows with the replies at hand, and does nothing else."""

    async def run(flow: Flow[Any], *_about: str, until: float | None = None) -> Any:
        answer: Any = None
        try:
            while True:
                effect = flow.send(answer)
                if type(effect) is Send:
                    answer = link.take(effect.commands)
                elif type(effect) is Call:
                    answer = effect.function(*effect.arguments)
                else:
                    raise SentOtherwise
        except StopIteration as stop:
            return stop.value

    return run


class Calls:
    """Prepares the calls: what the methods return makes one.

    Args:
        place: has the generated repositories.
        recent: what the process remembers of rows.
    """

    def __init__(self, place: Any, recent: Any) -> None:
        self._tasks, self._workflows = TaskRepository(place), WorkflowRepository(place)
        self._rows = place.task_states
        self._recent = recent
        self._turn = self._made = 0
        self.held = _task("t0")

    async def begin(self) -> None:
        """Write the rows."""
        running = WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        await self._workflows.upsert_state(running)
        for number in range(1, ROWS):
            await self._tasks.upsert_state(_task(f"t{number}"))
        await self._tasks.upsert_state(self.held)

    def status(self) -> Made:
        """Write a task that was loaded before, with another status."""
        self._turn += 1
        self.held.status = _STATES[self._turn % 2]
        return lambda: self._tasks.upsert_state(self.held)

    def workflow(self) -> Made:
        """Change the status of a workflow."""
        self._turn += 1
        status = _STATES[self._turn % 2]
        return lambda: self._workflows.update_status("w", status)

    def create(self) -> Made:
        """Insert a task."""
        self._made += 1
        task = _task(f"new{self._made % 2}")  # one is made before the replies are kept, and one then
        self._recent.drop("TaskState", task.task_exec_id)
        return lambda: self._tasks.upsert_state(task)

    def get(self) -> Made:
        """Read a task."""
        return lambda: self._tasks.get_state("t1")

    def list(self) -> Made:
        """Read the tasks of a workflow as a page."""
        return lambda: self._rows.by_workflow("w").page(limit=ROWS)


def _task(key: str) -> TaskState:
    return TaskState(
        task_exec_id=key,
        task_id="step-1",
        workflow_exec_id="w",
        workflow_id="f",
        component=Component.AGENT,
        status=Status.RUNNING,
        agent_id="agent-1",
        action_id="action-1",
        output=_PAYLOAD,
    )


class Client:
    """An engine whose calls are timed in three layers.

    flow: the engine's method, the repository's and its flow, without shell, pool, link and event loop.
    call: with all of these, but with a link that returns the replies.
    link: with the link of the direct channel. Its socket has the replies before the call begins.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine, self._settings = engine, parse_url(url)
        session: Any = engine.store.session
        self._state: Any = session.context.state
        self._state.known = float("inf")  # no call reads numbers of partitions again
        self._pool: Any = session.shell.channel
        self._real: StreamLink = self._pool._idle.pop()
        self._link = AnsweringLink(self._real)
        self._replies: dict[str, list[list[Reply]]] = {}
        stored = Calls(engine.store, self._state.recent)
        self._calls = {"call": stored, "link": stored}

    async def begin(self) -> None:
        """Write the rows, keep the replies to every call, and take the server out of the way."""
        self._pool._idle.append(self._link)
        await self._calls["call"].begin()
        for case in CASES:
            await getattr(self._calls["call"], case)()()  # sends scripts that the server does not know
            self._link.kept.clear()
            self._set_clock()
            await getattr(self._calls["call"], case)()()
            self._replies[case], self._link.kept = self._link.kept, []
        self._link.other = None
        self._calls["flow"] = Calls(self._place(), self._state.recent)
        self._calls["flow"].held = self._calls["call"].held
        self._peer, own = socket.socketpair()
        for each in (self._peer, own):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        loop = asyncio.get_running_loop()
        self._linked = AnsweredLink(self._settings, loop, BusyPoll(0.001))
        self._linked.last_used = time.monotonic()
        await loop.create_connection(lambda: self._linked, sock=own)

    def _place(self) -> Any:
        """The repositories, whose flows run without a shell."""
        session: Any = self._engine.store.session
        place = SimpleNamespace()
        for name in ("task_states", "workflow_states"):
            rows = type(getattr(self._engine.store, name))(session)
            rows._run = run_with(self._link)
            setattr(place, name, rows)
        return place

    def _set_clock(self) -> None:
        """Let no read ask for the server's time."""
        self._state.clock.set(time.time_ns() // 1000)

    async def time(self, layer: str, case: str, rounds: int) -> list[int]:
        """The nanoseconds of processor time that each call took."""
        prepare = getattr(self._calls[layer], case)
        timed = {"flow": self._flow, "call": self._call, "link": self._over_link}[layer]
        taken = []
        for _ in range(rounds):
            self._set_clock()
            taken.append(await timed(prepare(), copy.deepcopy(self._replies[case])))
            if self._link.hand:
                raise SentOtherwise(f"{case}: replies are left")
        return taken

    async def _flow(self, make: Made, replies: Sequence[list[Reply]]) -> int:
        self._link.hand.extend(replies)
        began = time.thread_time_ns()
        try:
            make().send(None)
        except StopIteration:
            return time.thread_time_ns() - began
        raise SentOtherwise

    async def _call(self, make: Made, replies: Sequence[list[Reply]]) -> int:
        self._pool._idle[:] = [self._link]
        self._link.hand.extend(replies)
        began = time.thread_time_ns()
        await make()
        return time.thread_time_ns() - began

    async def _over_link(self, make: Made, replies: Sequence[list[Reply]]) -> int:
        self._pool._idle[:] = [self._linked]
        (answer,) = replies
        # Before the event loop reads it, the call has begun.
        self._peer.send(b"".join(map(encoded, answer)))
        began = time.thread_time_ns()
        await make()
        took = time.thread_time_ns() - began
        self._peer.recv(1 << 20)
        return took

    async def close(self) -> None:
        """Give the server's link back to the pool, which closes it."""
        await self._linked.close()
        self._peer.close()
        self._pool._idle[:] = [self._real]


def compiled() -> int:
    """How many modules of the runtime and of the generated package are compiled."""
    return sum(
        name.partition(".")[0] in ("keyweave", "compozy_store")
        and str(getattr(module, "__file__", "")).endswith(".so")
        for name, module in list(sys.modules.items())
    )


async def main(url: str, namespace: str) -> None:
    """Answer commands until standard input ends."""
    async with Engine.open(url, namespace=namespace, sweep_every=0) as engine:
        client = Client(engine, url)
        await client.begin()
        print(json.dumps(compiled()), flush=True)
        for line in sys.stdin:
            layer, case, rounds = json.loads(line)
            print(json.dumps(await client.time(layer, case, rounds)), flush=True)
        await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
