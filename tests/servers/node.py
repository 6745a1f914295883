"""A server process on a port of loopback, which tests kill, stop and start again on its data."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.ports import Port, reserve_port
from tests.servers.redis8 import server_command
from tests.servers.running import chosen_server, embedded_binary

HOST: Final = "127.0.0.1"

PATIENCE: Final = 30.0
"""Seconds that the slowest machine may need for anything that a server does."""

_SETTINGS: Final = {
    "bind": HOST,
    "save": "",
    "loglevel": "notice",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
}


def chosen_command() -> list[str]:
    """Return the words that start a server of the kind under test."""
    return [embedded_binary()] if chosen_server() == "embedded" else server_command()


def await_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true. A server that does not answer meanwhile makes it false.

    Args:
        condition: asked again and again.
        what: is waited for, for the message.

    Raises:
        TimeoutError: it did not become true within `PATIENCE`.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except (redis.ConnectionError, redis.TimeoutError):
            pass
        if time.monotonic() > until:
            raise TimeoutError(f"servers: {what}: not within {PATIENCE:.0f} s")
        time.sleep(0.01)


class Node:
    """A server with its data in a folder of its own. It is not started yet.

    Args:
        folder: for its data and log; it must not exist. Inside a folder of `guarded`, the process ends in any case.
        options: settings of the server; their values are split at spaces.
        command: the words that start it; by default those of the kind under test.

    Attributes:
        folder: of its data.
        port: on which it listens.
        command: the words that start it, without settings.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, str], command: Sequence[str] | None = None
    ) -> None:
        folder.mkdir(parents=True)
        self.folder: Final = folder
        self._reserved: Final[Port] = reserve_port()
        self.port: Final = self._reserved.number
        self.command: Final = list(command or chosen_command())
        self._options: Final = {**_SETTINGS, **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Final = self.client()

    @property
    def name(self) -> str:
        """The address, as a cluster writes it."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the process that was started last.

        Raises:
            RuntimeError: it was never started.
        """
        if self._process is None:
            raise RuntimeError("servers: the node was not started")
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def words(self) -> list[str]:
        """Return the command line."""
        options = {"port": str(self.port), "dir": str(self.folder), **self._options}
        return [
            *self.command,
            *(word for name, value in options.items() for word in (f"--{name}", *(value.split() or [""]))),
        ]

    def launch(self) -> None:
        """Start the process, and do not wait for it."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.words(),
                cwd=self.folder,  # by which the guard finds it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the process that was started answers, with all its data loaded.

        Raises:
            RuntimeError: it ended; the end of its log is in the message.
            TimeoutError: it does not answer.
        """

        def ready() -> bool:
            if not self.runs:
                raise RuntimeError(f"servers: a server did not start:\n{self.log()[-2000:]}")
            found = self.info("server")
            return bool(found["process_id"] == self.pid and not self.info("persistence").get("loading"))

        await_until(ready, "the start of a server")

    def start(self) -> None:
        """Start the server on its data, and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of redis-py for this server alone, without retries."""
        return redis.Redis(
            host=HOST,
            port=self.port,
            **{"socket_timeout": PATIENCE, "retry": Retry(NoBackoff(), 0), **options},
        )

    def ask(self, *words: Any) -> Any:
        """Send one command, and return the reply."""
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]

    def info(self, section: str) -> dict[str, Any]:
        """Return a section of INFO."""
        found: dict[str, Any] = self._client.info(section)
        return found

    def log(self) -> str:
        """Return what the server logged."""
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._client.close()

    def pause(self) -> None:
        """Stop the process with SIGSTOP: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        """End the process, and give the port back."""
        self.kill()
        self._client.close()
        self._reserved.release()

    def __repr__(self) -> str:
        return f"Node({self.name})"
