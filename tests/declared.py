"""Links to a server whose scripts may access only keys that the caller declares, as on some managed services.

The server under test permits other keys. Each script therefore gets a few lines in front, which check the keys of every
command that it calls, and refuse one that is not declared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from typing import Any, Final

from keyweave.connection.direct.link_aio import StreamLink, open_link
from keyweave.connection.direct.link_sync import SocketLink
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, Reply

_UNKNOWN: Final = "0" * 40

_CHECK: Final = """
local open, declared = redis, {}
for _, key in ipairs(KEYS) do declared[key] = true end
local function refusal(name, ...)
  local words, first, last = { ... }, 1, 1
  name = string.upper(name)
  if name == 'TIME' then
    last = 0
  elseif name == 'DEL' or name == 'EXISTS' or name == 'MGET' then
    last = #words
  elseif name == 'ZINTER' or name == 'ZINTERCARD' then
    first, last = 2, 1 + tonumber(words[1])
  elseif name == 'RENAMENX' then
    last = 2
  end
  for index = first, last do
    if not declared[words[index]] then
      return { err = 'ERR script tried accessing undeclared key' }
    end
  end
end
local redis = setmetatable({
  call = function(...)
    local refused = refusal(...)
    if refused then error(refused) end
    return open.call(...)
  end,
  pcall = function(...)
    return refusal(...) or open.pcall(...)
  end,
}, { __index = open })
"""


class CheckingScripts:
    """Replaces scripts by versions that check keys. A digest of the first version stands for the second one."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def script(self, text: str) -> str:
        """Return the checking version of a script. From now on `digest` knows both."""
        head, line, body = text.partition("\n")
        if not head.startswith("#!"):
            head, line, body = "", "", text
        checked = f"{head}{line}{_CHECK}{body}"
        self._digests[_digest(text)] = self._digests[_digest(checked)] = _digest(checked)
        return checked

    def digest(self, digest: str) -> str:
        """Return the digest of the checking version; one that no server knows if the script never passed by."""
        return self._digests.get(digest.lower(), _UNKNOWN)


class DeclaredKeys:
    """Makes links to one server; all of them know the same scripts."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._scripts = CheckingScripts()

    def factory(self, flavour: str) -> Callable[[], Any]:
        """Return the `connection_factory` of a store."""
        return self._open_sync if flavour == "sync" else self._open_aio

    def commands(self, commands: Sequence[Command]) -> list[Command]:
        """Return commands with the checking version of each script."""
        return [self._command(command) for command in commands]

    def _command(self, command: Command) -> Command:
        verb, *words = command
        if verb == "EVALSHA":
            return (verb, self._scripts.digest(str(words[0])), *words[1:])
        if verb != "EVAL":
            return command
        return (verb, self._scripts.script(str(words[0])), *words[1:])

    def _open_sync(self) -> SocketLink:
        return _DeclaredLink(self._settings, self)

    async def _open_aio(self) -> _DeclaredStream:
        return _DeclaredStream(await open_link(self._settings, None), self)


class _DeclaredLink(SocketLink):
    def __init__(self, settings: ConnectionSettings, scripts: DeclaredKeys) -> None:
        self._scripts = scripts
        super().__init__(settings, None)

    def exchange(
        self,
        commands: Sequence[Command],
        within: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        return super().exchange(self._scripts.commands(commands), within, meanwhile)


class _DeclaredStream:
    def __init__(self, link: StreamLink, scripts: DeclaredKeys) -> None:
        self._link = link
        self._scripts = scripts

    def exchange(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        return self._link.exchange(self._scripts.commands(commands))

    def close(self) -> asyncio.Future[None]:
        return self._link.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


def _digest(text: str) -> str:
    return sha1(text.encode()).hexdigest()
