"""A server with an append-only file that is killed, loses power or fails over, and a ledger of the writes that it acknowledged.

SIGKILL loses nothing that the kernel has. A loss of power is SIGKILL and a cut of the append-only file, behind what is certainly on the
disk: `always` leaves nothing open, `everysec` the writes of `WINDOW` seconds, `no` everything. `Durable.flush` makes certain what is there.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import redis

from tests.servers.guarded import guarded
from tests.servers.node import await_until, chosen_command
from tools.faults.site.server import Server

Level: TypeAlias = Literal["always", "everysec", "no"]

WINDOW: Final[dict[Level, float]] = {"always": 0.0, "everysec": 2.0, "no": math.inf}
"""Seconds before a loss of power whose acknowledged writes may be lost."""

_BEAT: Final = 0.02


class Ledger:
    """Writes numbered rows one after another, and remembers what the server said.

    Args:
        server: that is written to.
        confirm: WAIT or WAITAOF, sent in the same pipeline behind each write.

    Attributes:
        acknowledged: numbers that the server acknowledged, and confirmed if it was asked to.
        unconfirmed: numbers that it acknowledged, and did not confirm in time.
        unknown: numbers whose writes were sent and not answered.
    """

    def __init__(self, server: Server, confirm: Sequence[str | int] = ()) -> None:
        self._server: Final = server
        self._confirm: Final = tuple(confirm)
        self.acknowledged: Final[list[int]] = []
        self.unconfirmed: Final[list[int]] = []
        self.unknown: Final[list[int]] = []
        self._name: Final = secrets.token_hex(4)
        self._next = 0

    def write(self, count: int) -> None:
        """Write so many rows.

        Raises:
            redis.ConnectionError: the server is gone; the write that was running is in `unknown`.
        """
        with self._server.client() as client:
            for _ in range(count):
                self._write(client)

    def _write(self, client: redis.Redis) -> None:
        number, self._next = self._next, self._next + 1
        self.unknown.append(number)
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.set(self._key(number), "x" * 100)
        if self._confirm:
            pipeline.execute_command(*self._confirm)
        _, *confirmed = pipeline.execute()
        self.unknown.pop()
        kept = self.acknowledged if all(map(self._confirmed, confirmed)) else self.unconfirmed
        kept.append(number)

    def _confirmed(self, reply: int | list[int]) -> bool:
        """Return whether WAIT's number, or both of WAITAOF's, are at least what was asked for."""
        found = reply if isinstance(reply, list) else [reply]
        return all(here >= int(asked) for here, asked in zip(found, self._confirm[1:], strict=False))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside, a thread writes until the server is gone. It has written something when this begins."""
        ending = threading.Event()

        def run() -> None:
            try:
                while not ending.is_set():
                    self.write(1)
            except redis.ConnectionError:
                pass

        thread = threading.Thread(target=run)
        thread.start()
        try:
            await_until(lambda: bool(self.acknowledged or self.unconfirmed), "the first write")
            yield
        finally:
            ending.set()
            thread.join()

    def lost(self, server: Server | None = None) -> list[int]:
        """Return the acknowledged numbers that are not on a server, by default the one that was written to."""
        return self._missing(self.acknowledged, server or self._server)

    def found(self, numbers: Sequence[int], server: Server | None = None) -> list[int]:
        """Return those of these numbers that are on a server."""
        missing = {*self._missing(numbers, server or self._server)}
        return [number for number in numbers if number not in missing]

    def _missing(self, numbers: Sequence[int], server: Server) -> list[int]:
        if not numbers:
            return []
        values: list[bytes | None] = server.ask("MGET", *map(self._key, numbers))
        return [number for number, value in zip(numbers, values, strict=True) if value is None]

    def _key(self, number: int) -> str:
        return f"{self._name}:{number}"


class Durable:
    """A primary with an append-only file, and replicas. They are not started yet.

    Args:
        folder: for their data.
        level: `appendfsync` of all.
        replicas: how many.

    Attributes:
        primary: that is written to.
        replicas: of it.
    """

    def __init__(self, folder: Path, level: Level, replicas: int = 0) -> None:
        command = chosen_command()
        self._level: Final = level
        self.primary = Server(command, folder / "primary", level, listens=replicas > 0)
        self.replicas: Final = [
            Server(command, folder / f"replica-{number}", level, listens=False) for number in range(replicas)
        ]
        self._certain: dict[Path, int] = {}
        self._seen: Final[list[tuple[float, dict[Path, int]]]] = []
        self._ending: Final = threading.Event()
        self._watching: Final = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start all servers, and wait until the replicas follow."""
        self.primary.start()
        for replica in self.replicas:
            replica.start()
            replica.follow(self.primary)
        self.flush()
        self._watching.start()

    def close(self) -> None:
        """End all servers."""
        self._ending.set()
        if self._watching.is_alive():
            self._watching.join()
        for server in (self.primary, *self.replicas):
            server.close()

    def _watch(self) -> None:
        """Remember how long the file was when. A size that is older than the window of the level is on the disk."""
        while not self._ending.wait(_BEAT):
            self._seen.append((time.monotonic(), self.primary.sizes()))

    def flush(self) -> None:
        """Write what was acknowledged to the disk, whatever the level is."""

        def written() -> bool:
            with self.primary.client() as client:
                return int(client.info("persistence")["aof_buffer_length"]) == 0

        await_until(written, "the end of the append-only file")
        sizes = self.primary.sizes()
        for path in sizes:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        self._certain = sizes

    def certain(self) -> dict[Path, int]:
        """Return how long the files are of which no loss of power can take anything now."""
        window = WINDOW[self._level]
        if window == 0:
            return self.primary.sizes()
        until = time.monotonic() - window
        old = [sizes for moment, sizes in self._seen if moment < until]
        latest = old[-1] if old else {}
        return {path: max(size, latest.get(path, 0)) for path, size in {**latest, **self._certain}.items()}

    def lose_power(self, share: float = 1.0) -> int:
        """Kill the primary and cut its file, and return the number of bytes that are lost.

        Args:
            share: of what the level leaves open, from 0 to 1.
        """
        certain = self.certain()
        self.primary.kill()
        self.primary.keep(self.primary.sizes() if WINDOW[self._level] == 0 else certain)
        lost, _ = self.primary.cut(share, max(self.primary.sizes().values()))
        return lost

    def restart(self) -> None:
        """Start the killed primary again on what its file holds."""
        self.primary.start()
        self.flush()

    def promote(self) -> Server:
        """Let the first replica become a primary, and return it."""
        self.replicas[0].ask("REPLICAOF", "NO", "ONE")
        return self.replicas[0]


@contextmanager
def durable(level: Level, replicas: int = 0) -> Iterator[Durable]:
    """Start a primary with its replicas, yield them, end them and delete their data.

    Args:
        level: `appendfsync`.
        replicas: how many.

    Raises:
        RuntimeError: a server does not start; its log is in the message.
    """
    with guarded("durable-") as folder:
        servers = Durable(folder, level, replicas)
        try:
            servers.start()
            yield servers
        finally:
            servers.close()
