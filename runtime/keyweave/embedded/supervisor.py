"""Runs the embedded server and stops it after its last user. A separate program: it imports nothing of Keyweave.

    python supervisor.py RUN_FOLDER KEEP SERVER_LOCK SERVER ARGUMENT...

Every process that uses the server holds a shared lock on the users file of RUN_FOLDER. The kernel releases that lock
however the process ends, SIGKILL included. This program waits for the exclusive lock. While it holds that lock, no
process uses the server and none can begin to; so it stops the server, and only then releases the lock.

KEEP is 1 if the data must survive (the server is stopped with SIGTERM: every acknowledged write reaches the disk) and 0
if it may be lost (SIGKILL). SERVER_LOCK is the descriptor of an inherited, locked file that only the server keeps open:
as long as the file is locked, the server is running.
"""

# Importing pathlib or contextlib would make every server start later.
# ruff: noqa: PTH108, PTH106, PTH208, SIM105

from __future__ import annotations

import fcntl
import os
import signal
import sys
from typing import NoReturn

USERS = "users.lock"
GRACE = 30
"""Seconds that a server may take to stop before it is killed."""


class _ServerEndedError(Exception):
    """The server ended before this program stopped it."""


class _GraceEndedError(Exception):
    """The server did not stop within `GRACE` seconds."""


def main() -> int:
    """Start the server, wait until it has no users, stop it, and remove the run folder."""
    folder, keep, lock, *command = sys.argv[1:]
    users = os.open(f"{folder}/{USERS}", os.O_RDWR | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _on_child)
    try:
        server = _start(int(lock), command)
        fcntl.flock(users, fcntl.LOCK_EX)
        _stop(server, signal.SIGTERM if keep == "1" else signal.SIGKILL)
    except _ServerEndedError:
        _reap()
    finally:
        _remove(folder)
    return 0


def _start(lock: int, command: list[str]) -> int:
    server = os.fork()
    if server == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.set_inheritable(lock, True)
            _die_with_parent()
            os.execv(command[0], command)  # noqa: S606
        finally:
            os._exit(127)
    os.close(lock)
    return server


def _die_with_parent() -> None:
    """Let the kernel stop the server when this program is killed. Linux only: elsewhere the server keeps its lock."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (ImportError, OSError, AttributeError):
        pass


def _stop(server: int, number: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, _on_alarm)
    os.kill(server, number)
    signal.alarm(GRACE)
    try:
        os.waitpid(server, 0)
    except _GraceEndedError:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def _reap() -> None:
    """Reap the ended server: not every container has an init process that reaps orphans."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass


def _remove(folder: str) -> None:
    """Remove a folder that has no subfolders."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    except OSError:
        pass


def _on_child(*_: object) -> NoReturn:
    raise _ServerEndedError


def _on_alarm(*_: object) -> NoReturn:
    raise _GraceEndedError


if __name__ == "__main__":
    sys.exit(main())
