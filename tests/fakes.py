"""Shells whose connections end in an in-memory server: quick, and without a process.

A fake lacks the `#!lua` line of scripts. It is cut off here, on the way, and the script's digest is translated,
so that the runtime sends the same commands to a fake as to a real server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any

from fakeredis import FakeRedisConnection, FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as HungUpError

from keyweave import aio, sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError

SETTINGS = parse_url("redis://fake")


def fake_sync_shell(server: FakeServer, log: list[Command] | None = None) -> sync.Shell:
    """A blocking shell on a fake; all shells on one `FakeServer` share its data. `log` receives every command."""
    return sync.Shell(SETTINGS, connection_factory=lambda: _FakeLink(server, log))


def fake_async_shell(server: FakeServer, log: list[Command] | None = None) -> aio.Shell:
    """An asyncio shell on a fake, like `fake_sync_shell`."""

    async def connect() -> _FakeAsyncLink:
        return _FakeAsyncLink(server, log)

    return aio.Shell(SETTINGS, connection_factory=connect)


class _Headless:
    """Cuts the `#!` line off scripts, and remembers which digest stands for which."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._originals: dict[str, str] = {}

    def command(self, command: Command) -> Command:
        name = _text(command[0]).upper()
        if name == "EVAL":
            return (command[0], self._cut(_text(command[1])), *command[2:])
        if name == "EVALSHA":
            digest = _text(command[1])
            return (command[0], self._digests.get(digest, digest), *command[2:])
        if name == "SCRIPT" and _text(command[1]).upper() == "LOAD":
            return (command[0], command[1], self._cut(_text(command[2])))
        if name == "SCRIPT" and _text(command[1]).upper() == "EXISTS":
            known = [self._digests.get(_text(each), each) for each in command[2:]]
            return (command[0], command[1], *known)
        return command

    def reply(self, reply: Reply) -> Reply:
        """The digest that SCRIPT LOAD answers is that of the script as it was sent."""
        if isinstance(reply, bytes) and len(reply) == 40:
            return self._originals.get(reply.decode("latin-1"), reply.decode("latin-1")).encode("latin-1")
        return reply

    def _cut(self, script: str) -> str:
        if not script.startswith("#!"):
            return script
        body = script.partition("\n")[2]
        original, headless = (sha1(text.encode()).hexdigest() for text in (script, body))
        self._digests[original] = headless
        self._originals[headless] = original
        return body


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


class _FakeLink:
    def __init__(self, server: FakeServer, log: list[Command] | None) -> None:
        self._log = [] if log is None else log
        self._connection: Any = FakeRedisConnection(server=server, protocol=2, driver_info=None)
        self._scripts = _headless_of(server)
        self.usable = True
        self.condemned = False
        self.last_used = time.monotonic()
        try:
            self._connection.connect()
        except HungUpError as error:
            raise ConnectionFailure("connect", str(error), sent=False) from error

    def exchange(
        self,
        commands: Sequence[Command],
        _timeout: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        self.usable = False
        if meanwhile is not None:
            meanwhile()
        self._log.extend(commands)
        replies = []
        for command in commands:
            try:
                self._connection.send_command(*self._scripts.command(command))
                replies.append(self._scripts.reply(_value(self._connection.read_response())))
            except (ResponseError, BusyLoadingError) as error:
                replies.append(_value(error))
            except HungUpError as error:
                raise ConnectionFailure("closed", str(error), sent=True) from error
        self.usable = True
        return replies

    def stale(self) -> bool:
        return False

    def close(self) -> None:
        self.usable = False
        self._connection.disconnect()


class _FakeAsyncLink:
    def __init__(self, server: FakeServer, log: list[Command] | None) -> None:
        self._log = [] if log is None else log
        self._connection: Any = FakeAsyncRedisConnection(server=server, protocol=2, driver_info=None)
        self._scripts = _headless_of(server)
        self.usable = True
        self.condemned = False
        self.last_used = time.monotonic()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        self.usable = False
        self._log.extend(commands)
        replies = []
        for command in commands:
            try:
                await self._connection.send_command(*self._scripts.command(command))
                replies.append(self._scripts.reply(_value(await self._connection.read_response())))
            except (ResponseError, BusyLoadingError) as error:
                replies.append(_value(error))
            except HungUpError as error:
                raise ConnectionFailure("closed", str(error), sent=True) from error
        self.usable = True
        return replies

    def stale(self) -> bool:
        return False

    def close(self) -> asyncio.Future[None]:
        self.usable = False
        closing: asyncio.Future[None] = asyncio.ensure_future(self._connection.disconnect())
        return closing


_HEADLESS = "keyweave_headless_scripts"


def _headless_of(server: FakeServer) -> _Headless:
    """One translation for each server: a script that one connection sent is known to all."""
    found: _Headless | None = getattr(server, _HEADLESS, None)
    if found is None:
        found = _Headless()
        setattr(server, _HEADLESS, found)
    return found


def _value(reply: Any) -> Reply:
    """A reply as the wire has it: the client's error classes stand for codes that it cut off."""
    if isinstance(reply, Exception):
        code = getattr(reply, "status_code", None)
        message = str(reply)
        text = f"{code} {message}" if code and not message.startswith(f"{code} ") else message
        return ServerError(text.partition(" ")[0], text)
    if isinstance(reply, list | tuple):
        return [_value(each) for each in reply]
    if isinstance(reply, str):
        return reply.encode()
    if isinstance(reply, float):
        return repr(reply).encode()
    return reply
