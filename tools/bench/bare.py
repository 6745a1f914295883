"""The limits: other senders of the bytes that Keyweave sent for a call, which do not use the replies.

Bare bytes are sent by redis-py. The wire is the least that asyncio can do: bytes that were packed before, handed to a
transport, and a reader that only reports when the last reply is complete. No client can be quicker with the same commands.

A second engine with a tap on its connection makes the call first, untimed. Then the rows are prepared again, so
that the bytes meet the state that they were made for, and they are sent again. Only the revisions in the guards of
plans are renewed, because the prepared rows have new ones.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import select
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio

from compozy_engine import Engine
from compozy_store import PACKAGE
from keyweave.connection.direct.busy_poll import BusyPoll
from keyweave.connection.direct.link_aio import COALESCED, Link, open_link
from keyweave.connection.direct.wire import INCOMPLETE, READ_SIZE, new_reader, pack_command
from keyweave.connection.settings import parse_url
from keyweave.effects import Command, Packed, Reply, ServerError
from keyweave.exchange.deadline import TIME
from tools.bench.case import Case, Turn
from tools.bench.sides import KeyweaveRows, Outcome, Side

_GUARDS: Final = {
    "revision": 3,
    "absent": 1,
    "exists": 1,
    "dead": 3,
    "unchanged": 3,
    "same": 2,
    "missing": 1,
    "free": 3,
    "holds": 3,
    "count": 2,
}
"""How many words each guard of `apply` has; see its header."""

_RENEWED: Final = frozenset({"revision", "unchanged", "dead"})


def _begin(what: str) -> int:
    """How many words stand before the first one of a kind, by the header of `apply`."""
    found = re.search(rf"^--   (\d+)\.\. +{what} ", PACKAGE.scripts["apply"], flags=re.MULTILINE)
    assert found is not None, what
    return int(found[1]) - 1


_POLLED: Final = parse_url("unix:///any").busy_poll
"""Seconds."""
_WIRES: Final = 2
"""Connections of the wire: as many as Keyweave opens before callers share them."""
_FIXED_KEYS: Final = _begin("documents")
_FIRST_GUARD: Final = _begin("guards")
_REVISION: Final = re.compile(rb'^{"revision":(\d+)')
_SLOT: Final = 1
"""Where the slot of the ledger is among a plan's arguments; the sequence number follows it."""

_OP: Final = re.compile(rb'"op":"[0-9a-f]*"')
_MICROS: Final = re.compile(rb"\b\d{16}\b")
_MOMENT: Final = re.compile(rb'"last_used":"[^"]*"')


@dataclass(slots=True)
class Sent:
    """One pipeline, as it was sent and answered."""

    commands: list[Command]
    replies: list[Reply] = field(default_factory=list)


def pack(commands: Sequence[Command]) -> bytes:
    """Commands as one pipeline."""
    return b"".join([each.data if type(each) is Packed else pack_command(each) for each in commands])


class SentOtherwise(Exception):
    """A call sent another number of commands than the one whose answers are at hand."""


class Kept:
    """The traffic through the taps of an engine, and prepared answers for the next pipelines.

    Attributes:
        sent: the pipelines, oldest first.
        answers: to the next pipelines; without one, the server is asked.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answers: deque[list[Reply]] = deque()


class Tap:
    """A link that keeps what passes through it."""

    def __init__(self, link: Link, kept: Kept) -> None:
        self._link = link
        self._kept = kept

    @property
    def usable(self) -> bool:
        return self._link.usable

    @property
    def last_used(self) -> float:
        return self._link.last_used

    @last_used.setter
    def last_used(self, value: float) -> None:
        self._link.last_used = value

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        sent = Sent(list(commands))
        self._kept.sent.append(sent)
        if self._kept.answers:
            sent.replies = self._kept.answers.popleft()
            if len(sent.replies) != len(commands):
                raise SentOtherwise
            return sent.replies
        sent.replies = await self._link.exchange(commands)
        return sent.replies

    @property
    def condemned(self) -> bool:
        return self._link.condemned

    @condemned.setter
    def condemned(self, value: bool) -> None:
        self._link.condemned = value

    def stale(self) -> bool:
        return self._link.stale()

    def close(self) -> Any:
        return self._link.close()


class BareSide(Side):
    """Replays through redis-py what the engine sent.

    Attributes:
        sent: the pipelines of the last call.
    """

    def __init__(self, name: str, engine: Engine, client: Any, kept: Kept) -> None:
        super().__init__(name, engine, KeyweaveRows(engine))
        self._client = client
        self._kept = kept
        self.sent: list[Sent] = []
        self._sequence = itertools.count(1)

    async def once(self, case: Case, turn: Turn) -> Outcome:
        """Let the engine make the call, restore its rows, and time the replay of its bytes."""
        self.sent = await self.recorded(case, turn)
        return await self._replay()

    async def recorded(self, case: Case, turn: Turn) -> list[Sent]:
        """Let the engine make the call, and restore its rows; what is to be sent to make it again."""
        if case.writes:
            self.rows.begin_anew()  # the last replay wrote its rows without it
        recorded = await self.spied(case, await case.prepare(self, turn))
        if case.writes:
            await case.prepare(self, turn)
            for sent in recorded:
                sent.commands = [await self._renewed(command) for command in sent.commands]
        return recorded

    async def _replay(self) -> Outcome:
        calls = [self._call(sent.commands) for sent in self.sent]
        replies = []
        started = time.perf_counter_ns()
        for call, arguments in calls:
            replies.append(await call(*arguments))
        took = time.perf_counter_ns() - started
        answered = [
            [reply] if len(sent.commands) == 1 else reply
            for sent, reply in zip(self.sent, replies, strict=True)
        ]
        return Outcome(took, answered)

    async def spied(self, case: Case, arguments: tuple[Any, ...]) -> list[Sent]:
        """Let the engine make the call; what it sent."""
        self._kept.sent.clear()
        await case.target(self.engine)(*arguments)
        return list(self._kept.sent)

    async def answered(
        self, case: Case, arguments: tuple[Any, ...], pipelines: Sequence[Sent]
    ) -> float | None:
        """Let the engine make the call with the answers at hand that it got before.

        Returns:
            The microseconds that it took; None when it sent something else: one write in many also sweeps, and a read may
            ask for the server's time.
        """
        self._kept.sent.clear()
        self._kept.answers.extend(sent.replies for sent in pipelines)
        target = case.target(self.engine)
        began = time.perf_counter_ns()
        try:
            await target(*arguments)
            took = time.perf_counter_ns() - began
            other = len(self._kept.sent) != len(pipelines) or bool(self._kept.answers)
        except SentOtherwise:
            return None
        finally:
            self._kept.answers.clear()
        return None if other else took / 1_000

    def _call(self, commands: list[Command]) -> tuple[Any, tuple[Any, ...]]:
        if len(commands) == 1:
            return self._client.execute_command, tuple(commands[0])
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute, ()

    async def _renewed(self, command: Command) -> Command:
        """A plan with a place of its own in the ledger, whose guards name its rows' revisions of now; anything else as it is."""
        words = list(command)
        if words[0] != "EVALSHA" or "rows" not in words:
            return command
        number = int(words[2])
        keys, at = words[3 : 3 + number], 3 + number + _FIRST_GUARD
        words[3 + number + _SLOT : 3 + number + _SLOT + 2] = self.name, next(self._sequence)
        while words[at] != "rows":
            if words[at] in _RENEWED:
                document = keys[_FIXED_KEYS - 1 + int(words[at + 1])]
                head = _REVISION.match(await self._client.getrange(document, 0, 127) or b"")
                if head is not None:
                    words[at + 2 : at + 4] = head[1], ""  # an empty op means any op
            elif words[at] == "same":
                document = keys[_FIXED_KEYS - 1 + int(words[at + 1])]
                words[at + 2] = await self._client.get(document) or words[at + 2]
            at += 1 + _GUARDS[str(words[at])]
        return tuple(words)


@dataclass(slots=True)
class _Expected:
    """Replies that are waited for."""

    answer: asyncio.Future[list[Reply]]
    number: int
    replies: list[Reply] = field(default_factory=list)


class _Wire(asyncio.BufferedProtocol):
    """Sends bytes, and waits for as many replies as were asked for, as Keyweave's connection does.

    A single wait polls first; what is sent in the same turn of the loop beside others goes out together.
    """

    def __init__(self, polling: BusyPoll) -> None:
        self._loop = asyncio.get_running_loop()
        self._polling = polling
        self._buffer = bytearray(READ_SIZE)
        self._reader = new_reader()
        self._unsent: list[bytes] = []
        self.waiting: deque[_Expected] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._socket = transport.get_extra_info("socket").fileno()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    def exchange(self, payload: bytes, expected: int) -> asyncio.Future[list[Reply]]:
        """All replies; an error is one of them."""
        answer: asyncio.Future[list[Reply]] = self._loop.create_future()
        self.waiting.append(_Expected(answer, expected))
        if len(self.waiting) == 1:
            self._began = time.monotonic()
            self.transport.write(payload)
            if self._polling.begin(self._socket):
                self._loop.call_soon(self._look)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(payload)
            if len(self._unsent) >= COALESCED:
                self._flush()
        return answer

    def _flush(self) -> None:
        if self._unsent:
            self.transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def _look(self) -> None:
        while len(self.waiting) == 1 and self._polling.poll(self._poller, self._began):
            size = os.readv(self._socket, [self._buffer])
            if not size:
                return  # the transport reports the end
            self.buffer_updated(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.feed(self._buffer, 0, nbytes)
        while (reply := self._reader.gets()) is not INCOMPLETE:
            first = self.waiting[0]
            first.replies.append(reply)
            if len(first.replies) == first.number:
                self.waiting.popleft()
                first.answer.set_result(first.replies)
        if not self.waiting:
            self._polling.end(self._socket)

    def connection_lost(self, exc: Exception | None) -> None:
        for each in self.waiting:
            each.answer.set_exception(exc or ConnectionError("the server closed the connection"))


class WireSide(BareSide):
    """Replays with the smallest possible client."""

    preparing = 1
    """The taps do not distinguish what several calls send."""

    def __init__(self, name: str, engine: Engine, client: Any, kept: Kept, wires: Sequence[_Wire]) -> None:
        super().__init__(name, engine, client, kept)
        self._wires = wires

    async def ready(self, case: Case, turn: Turn) -> Callable[[], Awaitable[Any]]:
        """What replays the call, beside others."""
        sent = await self.recorded(case, turn)
        payloads = [(pack(each.commands), len(each.commands)) for each in sent]

        async def replay() -> None:
            for payload, expected in payloads:
                wire = min(self._wires, key=lambda each: len(each.waiting))
                replies = await wire.exchange(payload, expected)
                if any(isinstance(reply, ServerError) for reply in replies):
                    raise AssertionError(f"{case.name}: a replay was refused: {replies!r:.200}")

        return replay

    async def _replay(self) -> Outcome:
        payloads = [(pack(sent.commands), len(sent.commands)) for sent in self.sent]
        wire, answered = self._wires[0], []
        started = time.perf_counter_ns()
        for payload, expected in payloads:
            answered.append(await wire.exchange(payload, expected))
        return Outcome(time.perf_counter_ns() - started, answered)


def same_answers(sent: Sequence[Sent], answered: Sequence[Any]) -> bool:
    """Whether a replay was answered as the call was, apart from revisions, times and op ids."""
    return [_timeless(each, each.replies) for each in sent] == [
        _timeless(each, replies) for each, replies in zip(sent, answered, strict=True)
    ]


def _timeless(sent: Sent, replies: Sequence[Any]) -> list[Any]:
    """Return replies as they compare; the reply to TIME is left out."""
    pairs = zip(sent.commands, replies, strict=True)
    return [_plain(reply) for command, reply in pairs if command != TIME]


def _plain(reply: Any) -> Any:
    if isinstance(reply, list | tuple):
        return [_plain(each) for each in reply]
    if isinstance(reply, int) and reply >= 10**15:
        return "micros"
    if isinstance(reply, bytes):
        return _MOMENT.sub(b"moment", _MICROS.sub(b"micros", _OP.sub(b"op", reply)))
    return b"OK" if reply is True else reply


@asynccontextmanager
async def bare_sides(
    names: tuple[str, str], socket: str, namespace: str
) -> AsyncIterator[tuple[BareSide, WireSide]]:
    """A side of bare calls to the server at `socket`, and one of the wire alone."""
    kept = Kept()
    settings = parse_url(f"unix://{socket}")

    async def tapped() -> Link:
        return Tap(await open_link(settings, None), kept)

    client = redis.asyncio.Redis(unix_socket_path=socket, protocol=2)
    async with Engine.open(f"unix://{socket}", namespace=namespace, connection_factory=tapped) as engine:
        polling = BusyPoll(_POLLED)
        loop = asyncio.get_running_loop()
        opened = [await loop.create_unix_connection(lambda: _Wire(polling), socket) for _ in range(_WIRES)]
        wires = [wire for _, wire in opened]
        for wire in wires:
            await wire.exchange(pack([("PING",)]), 1)
        try:
            yield (
                BareSide(names[0], engine, client, kept),
                WireSide(names[1], engine, client, kept, wires),
            )
        finally:
            for transport, _ in opened:
                transport.close()
            await client.aclose()
