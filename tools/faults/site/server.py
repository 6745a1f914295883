"""A server that the campaign kills, stops, damages and starts again. It listens on a unix socket."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.ports import reserve_port

WRITER: Final = "writer"
PASSWORD: Final = "on-loopback-only"  # noqa: S105 - of servers that live for one round
"""The user of the writers, who loses a permission in some rounds."""

_PATIENCE: Final = 20.0
_SETTINGS: Final = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "aof-load-truncated": "yes",
    "auto-aof-rewrite-percentage": "0",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
    "user": f"{WRITER} on >{PASSWORD} ~* &* +@all",
}


class Server:
    """A server with its data in a folder of its own. It is not started yet.

    Args:
        command: the words that start it.
        folder: for its data, socket and log.
        fsync: `always`, `everysec` or `no`.
        listens: whether it has a port of loopback, for a replica.
    """

    def __init__(self, command: Sequence[str], folder: Path, fsync: str, *, listens: bool) -> None:
        folder.mkdir(parents=True)
        self.folder: Final = folder
        self.socket: Final = folder / "server.sock"
        self._reserved: Final = reserve_port() if listens else None
        self.port: Final = 0 if self._reserved is None else self._reserved.number
        settings = {
            **_SETTINGS,
            "port": str(self.port),
            "dir": str(folder),
            "unixsocket": str(self.socket),
            "appendfsync": fsync,
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", *(value.split() or [""]))]
        self._words: Final = [*command, *words]
        self._floors: dict[Path, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server on its data, and wait until it has loaded them.

        Raises:
            RuntimeError: it does not start; the end of its log is in the message.
        """
        self.socket.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self.folder,  # by which the guard finds it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self.client().ping():
                    return
            except redis.RedisError:
                time.sleep(0.005)
        text = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.kill()
        raise RuntimeError(f"faults: a server did not start:\n{text}")

    def client(self) -> redis.Redis:
        """Return a client of its administrator, which is not subject to faults."""
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
        )

    def ask(self, *words: Any) -> Any:
        """Send one command as the administrator, and return the reply."""
        with self.client() as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the process, and give its port back."""
        self.kill()
        if self._reserved is not None:
            self._reserved.release()

    def pause(self) -> None:
        """Stop the process: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def keep_present(self) -> None:
        """Let no later cut reach what is in the append-only file now."""
        self.keep(self.sizes())

    def sizes(self) -> dict[Path, int]:
        """Return the sizes of the append-only files."""
        return {path: path.stat().st_size for path in self._files()}

    def keep(self, sizes: Mapping[Path, int]) -> None:
        """Let no later cut reach what was in the append-only files when they had these sizes."""
        self._floors = dict(sizes)

    def cut(self, share: float, most: int) -> tuple[int, int]:
        """Cut the end of the append-only file of a killed server.

        Args:
            share: of what may be cut, from 0 to 1.
            most: bytes that may be cut.

        Returns:
            The bytes that were cut and that are left.
        """
        path = self._files()[-1]
        size = path.stat().st_size
        length = round(share * min(most, size - self._floors.get(path, 0)))
        with path.open("r+b") as file:
            file.truncate(size - length)
        return length, size - length

    def _files(self) -> list[Path]:
        """Return the incremental files, the latest last."""
        found = (self.folder / "appendonlydir").glob("*.incr.aof")
        return sorted(found, key=lambda path: int(path.name.split(".")[-3]))

    def follow(self, primary: Server) -> None:
        """Become a replica of another server, and wait until all data are here."""
        self.ask("REPLICAOF", "127.0.0.1", primary.port)
        self.wait_for_link()

    def wait_for_link(self) -> None:
        """Wait until this replica is connected to its primary, and its append-only file holds what it received.

        Raises:
            RuntimeError: that takes too long.
        """
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with self.client() as client:
                found = {**client.info("replication"), **client.info("persistence")}
            rewriting = found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"]
            if found.get("master_link_status") == "up" and not rewriting:
                return
            time.sleep(0.01)
        raise RuntimeError("faults: a replica does not reach its primary")
