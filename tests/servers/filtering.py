"""A proxy before a real server that refuses what a managed service refuses.

A refused command goes on as a command that no server knows, under a name that is used once. The server's answer to it stands where
the refusal belongs: behind the replies of earlier commands, and in a transaction that can then not be executed. Only the text is exchanged.
All other bytes of the server pass as they are, so that the proxy needs not understand replies.

A client that switches replies off (CLIENT REPLY) cannot use it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hiredis

from tests.declared import CheckingScripts
from tests.servers.profiles import Profile
from tests.servers.running import configured_server
from tools.faults.site.crossing import Crossing
from tools.faults.site.proxy import Proxy
from tools.faults.site.way import END

_LINE: Final = b"\r\n"


class Longest:
    """The number of words of the longest command that clients sent."""

    def __init__(self) -> None:
        self.words = 0


class Inspector:
    """What passes through one connection, without IO.

    Args:
        profile: what is refused.
        scripts: those of the server.
        longest: is updated.
    """

    def __init__(self, profile: Profile, scripts: CheckingScripts, longest: Longest | None = None) -> None:
        self._profile: Final = profile
        self._scripts: Final = scripts
        self._longest: Final = longest or Longest()
        self._reader: Final = hiredis.Reader(notEnoughData=False)
        self._refused: Final[deque[tuple[bytes, bytes]]] = deque()
        self._held = b""

    def requests(self, data: bytes) -> bytes:
        """Return what the server gets of what a client sent; the beginning of a command waits for its end.

        Raises:
            hiredis.ProtocolError: it is not the protocol, or an inline command; or the profile cuts the connection here.
        """
        self._reader.feed(data)
        commands: list[bytes] = []
        while (command := self._reader.gets()) is not False:
            self._longest.words = max(self._longest.words, len(command))
            words: tuple[Any, ...] = tuple(self._request(command))
            commands.append(hiredis.pack_command(words))
        return b"".join(commands)

    def _request(self, command: list[bytes]) -> list[bytes]:
        if self._profile.cuts and self._profile.words is not None and len(command) > self._profile.words:
            raise hiredis.ProtocolError("too many words")
        refusal = self._profile.refusal(command)
        if refusal is not None:
            name = f"refused-{secrets.token_hex(16)}".encode()
            self._refused.append((b"-ERR unknown command '%b'" % name, b"-%b\r\n" % refusal.encode()))
            return [name]
        if self._profile.declared_keys:
            return self._checked(command)
        return command

    def _checked(self, command: list[bytes]) -> list[bytes]:
        """Return a command with the checking version of its script."""
        match command:
            case [verb, script, *words] if verb.upper() in {b"EVAL", b"EVAL_RO"}:
                return [verb, self._scripts.script(script.decode()).encode(), *words]
            case [verb, digest, *words] if verb.upper() in {b"EVALSHA", b"EVALSHA_RO"}:
                return [verb, self._scripts.digest(digest.decode()).encode(), *words]
            case [verb, part, script] if (verb.upper(), part.upper()) == (b"SCRIPT", b"LOAD"):
                return [verb, part, self._scripts.script(script.decode()).encode()]
            case [verb, part, *digests] if (verb.upper(), part.upper()) == (b"SCRIPT", b"EXISTS"):
                return [verb, part, *(self._scripts.digest(each.decode()).encode() for each in digests)]
        return command

    def replies(self, data: bytes) -> bytes:
        """Return what the client gets of what the server sent."""
        if not self._refused:
            return data
        self._held += data
        passed: list[bytes] = []
        while self._refused:
            answer, refusal = self._refused[0]
            at = self._held.find(answer)
            end = self._held.find(_LINE, at) if at >= 0 else -1
            if end < 0:
                split = at if at >= 0 else len(self._held) - _beginning(self._held, answer)
                passed.append(self._held[:split])
                self._held = self._held[split:]
                return b"".join(passed)
            passed += [self._held[:at], refusal]
            self._held = self._held[end + len(_LINE) :]
            self._refused.popleft()
        passed.append(self._held)
        self._held = b""
        return b"".join(passed)


def _beginning(data: bytes, answer: bytes) -> int:
    """Return the length of the longest end of `data` with which `answer` begins."""
    for length in range(min(len(answer) - 1, len(data)), 0, -1):
        if data.endswith(answer[:length]):
            return length
    return 0


class _InspectedCrossing(Crossing):
    """A connection through the proxy. One that does not speak the protocol is cut."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop, inspector: Inspector) -> None:
        super().__init__(proxy, loop)
        self._inspector: Final = inspector

    def from_client(self, data: bytes) -> None:
        if data == END:
            super().from_client(END)
            return
        try:
            requests = self._inspector.requests(data)
        except hiredis.ProtocolError:
            self.cut("both")
            return
        if requests:
            super().from_client(requests)

    def from_server(self, data: bytes) -> None:
        if data == END:
            super().from_server(END)
        elif replies := self._inspector.replies(data):
            super().from_server(replies)


class FilteringProxy(Proxy):
    """Listens on a port of loopback, and leads to the unix socket of a server.

    Args:
        target: the socket.
        profile: what is refused.

    Attributes:
        longest: the longest command that clients sent.
    """

    def __init__(self, target: Path, profile: Profile) -> None:
        self._profile: Final = profile
        self._scripts: Final = CheckingScripts()
        self.longest: Final = Longest()
        super().__init__(target, 0)

    def new_crossing(self, loop: asyncio.AbstractEventLoop) -> Crossing:
        """Return a crossing that is inspected."""
        return _InspectedCrossing(self, loop, Inspector(self._profile, self._scripts, self.longest))

    @property
    def url(self) -> str:
        """The URL for clients of the service."""
        return f"redis://127.0.0.1:{self.port}"


@contextmanager
def managed_server(profile: Profile, **options: str) -> Iterator[str]:
    """Start a server of the kind under test behind a proxy, and yield the URL of the service.

    Args:
        profile: of the service.
        options: settings of the server, with `_` for `-`.

    Raises:
        RuntimeError: the server does not start.
    """
    with configured_server(**options) as server:
        proxy = FilteringProxy(server.socket, profile)
        try:
            yield proxy.url
        finally:
            proxy.close()
