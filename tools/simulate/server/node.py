"""A server: its database, its clock, its file, its script cache, and the states in which it refuses.

The file is a list of entries, one for each command or script that changed something. A crash keeps a prefix of it; a
failover continues on a replica that has a prefix. Either way the state afterwards is that of a boundary between scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from keyweave.effects import Command, ServerError
from tools.simulate.server.commands import COMMANDS
from tools.simulate.server.database import Database, Effect, Refused, replay
from tools.simulate.server.scripting import Script, compiled, interpreter, sha_of
from tools.simulate.server.strings import StatusReply

EPOCH: Final = 1_700_000_000_000_000
"""The server's time at the beginning of a run, in microseconds since 1970."""

_OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
_READONLY: Final = "READONLY You can't write against a read only replica."
_LOADING: Final = "LOADING Redis is loading the dataset in memory"

REFUSALS: Final = (
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "MOVED 866 127.0.0.1:7001",
    "ASK 866 127.0.0.1:7001",
    "NOPERM User default has no permissions to run the 'evalsha' command",
    "UNKILLABLE Sorry the script already executed write commands against the dataset.",
)
"""Refusals of single exchanges and of whole moments: the server has not carried out what it refuses."""

_WRITES_ONLY: Final = ("MISCONF", "NOREPLICAS")


class Entry(NamedTuple):
    """One step of the file.

    Attributes:
        at: virtual time in microseconds.
        tag: what the client was doing, as the caller of `execute` says.
        effects: the changes.
    """

    at: int
    tag: Any
    effects: list[Effect]


class Node:
    """A server without sockets.

    Attributes:
        database: the data.
        file: every change since the beginning that has not been lost.
        offset: what its clock is ahead of virtual time, in microseconds.
        full: it is at its memory limit.
        readonly: it takes no writes.
        loading: it reads its data from disk.
        refusing: the text of the refusal that everything meets, or None.
        latest: the latest time that its clock has shown, in microseconds since 1970.
        executed: number of commands that it has carried out or refused.
    """

    def __init__(self) -> None:
        self.database = Database()
        self.file: list[Entry] = []
        self.offset = EPOCH
        self.full = False
        self.readonly = False
        self.loading = False
        self.refusing: str | None = None
        self.latest = 0
        self.executed = 0
        self._scripts: dict[bytes, Script] = {}

    def execute(self, command: Command, at: int, tag: Any = None) -> Any:
        """Carry out one command at a virtual time; a refusal is returned as `ServerError`."""
        self.executed += 1
        database = self.database
        database.now = at + self.offset
        self.latest = max(self.latest, database.now)
        verb, *words = [word if type(word) is bytes else _word(word) for word in command]
        try:
            if self.loading:
                raise Refused(_LOADING)
            if self.refusing is not None and not self.refusing.startswith(_WRITES_ONLY):
                raise Refused(self.refusing)
            if verb == b"EVALSHA" or verb == b"EVAL":
                reply = self._run_script(verb, words)
            else:
                reply = self._run_command(verb, words)
        except Refused as refusal:
            text = str(refusal)
            reply = ServerError(text.partition(" ")[0], text)
        if database.journal:
            self.file.append(Entry(at, tag, database.journal))
            database.journal = []
        return bytes(reply) if type(reply) is StatusReply else reply

    def pipeline(self, commands: Sequence[Command], at: int, tag: Any = None) -> list[Any]:
        """Carry out commands one behind another; those between MULTI and EXEC are answered by EXEC."""
        replies: list[Any] = []
        held: list[Any] | None = None
        for command in commands:
            if command[0] == "MULTI":
                held = []
                replies.append(b"OK")
            elif command[0] == "EXEC":
                replies.append(held)
                held = None
            elif held is None:
                replies.append(self.execute(command, at, tag))
            else:
                held.append(self.execute(command, at, tag))
                replies.append(b"QUEUED")
        return replies

    def flush_scripts(self) -> None:
        """Forget every script."""
        self._scripts = {}

    def lose_tail(self, keep: int) -> list[Entry]:
        """Go back to the first `keep` entries of the file, as after a restart or on a replica. Returns what is lost."""
        lost = self.file[keep:]
        del self.file[keep:]
        now = self.database.now
        self.database = replay(effect for entry in self.file for effect in entry.effects)
        self.database.now = now
        self._scripts = {}
        return lost

    def _refuse_writes(self, writes: bool) -> None:
        if writes and self.readonly:
            raise Refused(_READONLY)
        if writes and self.refusing is not None:
            raise Refused(self.refusing)

    def _run_command(self, verb: bytes, words: Sequence[bytes]) -> Any:
        command = COMMANDS.get(verb)
        if command is None:
            if verb == b"SCRIPT":
                return StatusReply(b"OK")
            raise Refused(f"ERR unknown command '{verb.decode()}'")
        self._refuse_writes(command.writes)
        if command.grows and self.full:
            raise Refused(_OOM)
        return command.run(self.database, words)

    def _run_script(self, verb: bytes, words: Sequence[bytes]) -> Any:
        name = words[0]
        if verb == b"EVAL":
            script = compiled(name)
            self._scripts[sha_of(name)] = script
        else:
            found = self._scripts.get(name)
            if found is None:
                raise Refused("NOSCRIPT No matching script.")
            script = found
        self._refuse_writes(script.writes)
        if script.writes and self.full and not script.frees:
            raise Refused(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
            )
        return interpreter().run(self.database, script, int(words[1]), words[2:])


def _word(word: Any) -> bytes:
    return word.encode() if type(word) is str else str(word).encode()
