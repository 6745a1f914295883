"""Keyweave as a theatre: sessions wait when a flow pauses for a lock, which the shell sees, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, cast

from compozy_engine import Engine, new_id
from compozy_engine.tasks import TaskRepository
from compozy_store import aio
from compozy_store.package import PACKAGE
from keyweave.aio.session import Session as StoreSession
from keyweave.effects import Call, Flow, Send, Sleep
from keyweave.opening.prepare import prepare
from keyweave.store.context import Context
from keyweave.store.script import Script
from tests.isolation.acting import Body, actor, gate_of
from tests.isolation.exploring import Session, Stand
from tests.servers.running import server_url

_LONG: Final = 3600.0
"""Seconds that no test takes: locks do not expire, and no session stops waiting."""


class _Stepped:
    """A shell that reports to its session when a flow pauses, and optionally stops it before every exchange."""

    def __init__(self, session: KeyweaveSession, shell: Any) -> None:
        self._session = session
        self._shell = shell
        self.settings = shell.settings

    async def run(self, flow: Flow[Any], *_about: str, **_limits: Any) -> Any:
        return await self._shell.run(self._watched(flow))

    def _watched(self, flow: Flow[Any]) -> Flow[Any]:
        session = self._session
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as done:
                return done.value
            answer = failure = None
            try:
                if type(effect) is Sleep:
                    answer = yield Call(session.pause)
                elif type(effect) is Send and session.each_exchange:
                    yield Call(session.before_exchange, effect.commands)
                    answer = yield effect
                else:
                    answer = yield effect
                if type(effect) is Send:
                    session.locked_out = effect.commands[0][0] == "SET" and answer[0] is None
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                failure = error


class KeyweaveSession(Session):
    """Waits when a flow pauses because a lock is taken. Other pauses are backoff, which is cut short.

    Args:
        each_exchange: stop before every exchange with the server instead of at the body's own gates.
    """

    def __init__(self, name: str, shell: Any, context: Context, *, each_exchange: bool) -> None:
        super().__init__(name)
        self.each_exchange: Final = each_exchange
        self.locked_out = False
        self._wake = asyncio.Event()
        self._retrying = False
        self.engine: Final = Engine(aio.Store(StoreSession(cast(Any, _Stepped(self, shell)), context)))

    async def pause(self) -> None:
        if not self.locked_out:
            return
        self._wake.clear()
        self.report(Stand.WAITS)
        await self._wake.wait()
        self._retrying = True

    async def before_exchange(self, commands: Any) -> None:
        if self._retrying:  # asking for the lock again is no step of its own
            self._retrying = False
            return
        await self.gate("+".join(_word(command) for command in commands))

    async def ask_again(self) -> None:
        self._wake.set()
        await self.hear()


def _word(command: Any) -> str:
    verb = str(command[0])
    if verb not in ("EVALSHA", "EVAL"):
        return verb
    return next(
        (name for name, text in PACKAGE.scripts.items() if Script(name, text).sha in command[1:2]), "script"
    )


class KeyweaveTheatre:
    """Keyweave on the server under test; every run has a namespace of its own, every session its own connections."""

    def __init__(
        self,
        stack: AsyncExitStack,
        setup: Callable[[Any], Awaitable[None]],
        bodies: Mapping[str, Body],
        *,
        each: bool,
    ) -> None:
        self._stack = stack
        self._setup = setup
        self._bodies = bodies
        self._each = each
        self._shells: dict[str, Any] = {}
        self.engine: Engine = cast(Engine, None)

    async def open(self) -> None:
        for name in ("", *self._bodies):
            store = await self._stack.enter_async_context(aio.Store.open(server_url(), namespace=new_id()))
            self._shells[name] = store.session.shell
        await _load_scripts(self._engine(new_id()))

    def _engine(self, namespace: str) -> Engine:
        return Engine(aio.Store(StoreSession(self._shells[""], _context(namespace))))

    async def set(self) -> Mapping[str, Session]:
        namespace = new_id()
        self.engine = self._engine(namespace)
        await self._setup(actor(self.engine))
        sessions = {}
        for name, body in self._bodies.items():
            session = KeyweaveSession(name, self._shells[name], _context(namespace), each_exchange=self._each)
            sessions[name] = session
            gate = gate_of(session) if not self._each else _no_gate
            await session.begin(partial(body, actor(session.engine), gate))
        return sessions

    async def relieve(self) -> None:
        """Let one of the locks expire, as it would after its TTL."""
        pattern = self.engine.store.session.context.keyspace.pattern()
        await self.engine.store.session.run(_drop_one_lock(f"{pattern}@lock:*"))


def _context(namespace: str) -> Context:
    _, context = prepare(
        PACKAGE, "redis://stage", namespace=namespace, lock_ttl=_LONG, lock_wait=_LONG, timeout=30.0
    )
    return context


def _drop_one_lock(pattern: str) -> Flow[None]:
    cursor: Any = b"0"
    names: list[bytes] = []
    while True:
        ((cursor, found),) = yield Send((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000),))
        names += found
        if int(cursor) == 0:
            break
    assert names, "every session waits, and no session holds a lock"
    yield Send((("DEL", min(names)),))


async def _load_scripts(engine: Engine) -> None:
    """Run every script once, so that the server knows them and no schedule has an exchange more for it."""

    async def nothing(repository: TaskRepository) -> None:
        try:
            await repository.get_state_for_update("nobody")
        except LookupError:
            pass

    await engine.tasks.with_transaction(nothing)
    await engine.tasks.list_states()
    await engine.tasks.get_progress_info("nobody")
    await engine.auth.delete_api_key("nobody")


async def _no_gate(label: str) -> None:
    """Gates of bodies are open where sessions stop before every exchange."""
