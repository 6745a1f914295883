"""The real scripts, run by a real Lua 5.1. Each text is compiled once in a process; `redis.call` acts on one database.

A script sees the same values as on a server: nil as false, statuses as tables, numbers without fractions. An error ends
it at once, and what it wrote before stays written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from lupa import lua51

from tools.simulate.server.commands import COMMANDS
from tools.simulate.server.database import Database, Refused
from tools.simulate.server.strings import StatusReply

_PRELUDE: Final = b"""
local call, pcall_, list = ...
local redis = { call = call, pcall = pcall_ }
function redis.status_reply(text) return { ok = text } end
function redis.error_reply(text) return { err = text } end
local function run(script, count, ...)
  local keys, arguments, number = {}, { ... }, select('#', ...)
  if count > 0 then
    local all = arguments
    arguments = {}
    for index = 1, count do keys[index] = all[index] end
    for index = count + 1, number do arguments[index - count] = all[index] end
  end
  local reply = script(keys, arguments, redis)
  if type(reply) ~= 'table' then
    return reply
  end
  if reply.ok then return reply.ok end
  if reply.err then return nil, reply.err end
  return list, unpack(reply)
end
return run, function(words) return unpack(words) end
"""

_LONGEST: Final = 7000
"""Most words that are given to Lua on its stack."""


class Script(NamedTuple):
    """A compiled script.

    Attributes:
        function: of keys, arguments and the table `redis`.
        writes: its header does not promise to read only.
        frees: its header permits it on a server at its memory limit.
    """

    function: Any
    writes: bool
    frees: bool


def sha_of(text: bytes) -> bytes:
    """The digest by which a server knows a script."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


class _List:
    """Stands before the elements of a list that a script returns."""


class Interpreter:
    """Runs scripts on whichever database is set."""

    def __init__(self) -> None:
        self._lua: Any = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self._list = _List()
        self._database = Database()
        self._table = self._lua.table_from
        prelude = self._lua.compile(_PRELUDE)
        self._run, self._unpack = prelude(self._call, self._pcall, self._list)

    def compile(self, text: bytes) -> Script:
        """A script ready to run."""
        first, _, rest = text.partition(b"\n")
        flags = first.partition(b"flags=")[2].split(b",") if first.startswith(b"#!") else []
        body = rest if first.startswith(b"#!") else text
        function = self._lua.compile(b"local KEYS, ARGV, redis = ...\n" + body)
        return Script(function, b"no-writes" not in flags, b"allow-oom" in flags)

    def run(self, database: Database, script: Script, count: int, words: Sequence[bytes]) -> Any:
        """The reply of a script to `count` keys and the arguments behind them."""
        if len(words) > _LONGEST:
            raise Refused("ERR too many words for the simulated server")
        self._database = database
        try:
            reply = self._run(script.function, count, *words)
        except lua51.LuaError as error:
            raise Refused(f"ERR {error}") from None
        return self._reply(reply)

    def _reply(self, reply: Any) -> Any:
        kind = type(reply)
        if kind is bytes or kind is int or reply is None:
            return reply
        if kind is tuple:
            if reply[0] is None:
                raise Refused(reply[1].decode())
            return [self._element(each) for each in reply[1:]]
        if kind is bool:
            return 1 if reply else None
        if kind is float:
            return int(reply)
        return []

    def _element(self, value: Any) -> Any:
        kind = type(value)
        if kind is bytes or kind is int or value is None:
            return value
        if kind is bool:
            return 1 if value else None
        if kind is float:
            return int(value)
        found = self._unpack(value)
        if found is None:
            return []
        return [self._element(each) for each in found] if type(found) is tuple else [self._element(found)]

    def _call(self, verb: bytes, *words: Any) -> Any:
        command = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
        if command is None:
            raise Refused(f"ERR Unknown Redis command called from script: {verb.decode()}")
        for word in words:
            if type(word) is not bytes:
                words = tuple(_text(each) for each in words)
                break
        reply = command.run(self._database, words)
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None:
            return False
        if kind is list:
            return self._table([False if each is None else each for each in reply])
        return self._table({b"ok": bytes(reply)}) if kind is StatusReply else int(reply)

    def _pcall(self, verb: bytes, *words: Any) -> Any:
        try:
            return self._call(verb, *words)
        except Refused as refusal:
            return self._table({b"err": str(refusal).encode()})


def _text(word: Any) -> bytes:
    if type(word) is bytes:
        return word
    if type(word) is int:
        return b"%d" % word
    if type(word) is float:
        return b"%.17g" % word
    raise Refused("ERR Lua redis lib command arguments must be strings or integers")


@cache
def interpreter() -> Interpreter:
    """The interpreter of this process."""
    return Interpreter()


@cache
def compiled(text: bytes) -> Script:
    """A script, compiled once in a process."""
    return interpreter().compile(text)
